//! The OpenAPI document tells the truth: `schemathesis`, as it comes from PyPI, makes requests of
//! it, fitting ones and others, as an operator, and compares each answer with what is described.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use regex::Regex;

use serde_json::json;

use crate::support::{Database, Role, Server, Setup, on_both, repository, run, skip, variable};

/// What it checks; what a route does with strange values is looked at elsewhere.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,unsupported_method";

fn schemathesis(server: &Server) -> Option<Command> {
    let Some(venv) = variable("LUX_TEST_VENV").map(PathBuf::from) else {
        skip("schemathesis (LUX_TEST_VENV)");
        return None;
    };
    // 1000 before a release.
    let examples = variable("LUX_TEST_EXAMPLES").unwrap_or_else(|| "10".to_owned());
    let token = server.token(Role::Operator);
    let mut command = Command::new(venv.join("bin/schemathesis"));
    command
        .current_dir(server.folder())
        .args(["run", &format!("{}/openapi.json", server.base), "--checks", CHECKS])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        // Streams do not end.
        .args(["--exclude-path-regex", "/(stream|events)$"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", &examples])
        .args(["--generation-deterministic", "--continue-on-failure", "--no-color"])
        .args(["--request-timeout", "40", "--workers", "1", "--warnings", "off"])
        .env("PYTHONUTF8", "1");
    Some(command)
}

on_both!(answers_are_as_described);
async fn answers_are_as_described(database: Database) {
    let setup = Setup::new(&database).env("LUX_REQUESTS_PER_MINUTE", "100000000");
    let server = setup.env("LUX_GUESSES_PER_MINUTE", "100000000").start().await;
    // Something to be answered with.
    let event = json!({ "error_type": "KeyError", "error_message": "'sku'", "endpoint": "/buy" });
    assert_eq!(server.post("/api/errors", &event).await.status, 201);
    assert_eq!(server.post("/api/apps", &json!({ "name": "shop" })).await.status, 201);
    let Some(mut command) = schemathesis(&server) else { return };
    let said = tokio::task::spawn_blocking(move || run(&mut command)).await.unwrap();
    assert_eq!(said.code, Some(0), "{}\n{}", said.out, said.err);
    assert!(!server.log().contains("panicked"), "a handler panicked");
}

/// Types of one name would be one schema, and all but one of them described wrongly.
#[test]
fn no_two_schemas_share_a_name() {
    let kind = Regex::new(
        r"#\[derive\([^)]*ToSchema[^)]*\)\]((?:\s*#\[[^\]]*\]|\s*///[^\n]*)*)\s*(?:pub(?:\([^)]*\))? )?(?:struct|enum) (\w+)",
    )
    .unwrap();
    let named = Regex::new(r"schema\(as = (\w+)").unwrap();
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    each_source(&repository("src"), &mut |path, source| {
        for captures in kind.captures_iter(source) {
            let name = named
                .captures(&captures[1])
                .map_or(&captures[2], |name| name.get(1).unwrap().as_str());
            found.entry(name.to_owned()).or_default().push(path.to_owned());
        }
    });
    assert!(found.len() > 80, "{found:#?}");
    found.retain(|_, places| places.len() > 1);
    assert!(found.is_empty(), "add #[schema(as = …)] to all but one of each: {found:#?}");
}

fn each_source(folder: &Path, visit: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_source(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}
