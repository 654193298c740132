//! What is published of a version: its package, what it is made of, and a signature of both.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use serde_json::Value;

use crate::support::{Said, repository, run, skip, variable};

fn sign(folder: &Path, key: &Path) -> Option<Said> {
    let Some(venv) = variable("LUX_TEST_VENV") else {
        skip("the virtual environment (LUX_TEST_VENV)");
        return None;
    };
    let mut command = Command::new("bash");
    command.arg(repository("deploy/release/release.sh")).arg(folder).arg(key);
    Some(run(command.env("LUX_RELEASE_PYTHON", format!("{venv}/bin/python"))))
}

/// As who downloads it checks it.
fn checked(folder: &Path, signers: &Path) -> bool {
    let mut verify = Command::new("ssh-keygen");
    verify.args(["-Y", "verify", "-I", "lux", "-n", "lux-release", "-s", "SHA256SUMS.sig", "-f"]);
    verify.arg(signers).current_dir(folder);
    let signed = run(verify.stdin(File::open(folder.join("SHA256SUMS")).unwrap())).code == Some(0);
    let sums = run(Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(folder));
    signed && sums.code == Some(0)
}

#[test]
fn a_release_is_signed_and_says_what_it_is_made_of() {
    let home = tempfile::tempdir().unwrap();
    let (key, signers) = (home.path().join("key"), home.path().join("signers"));
    let made =
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
    assert_eq!(made.code, Some(0), "{made:?}");
    let public = fs::read_to_string(home.path().join("key.pub")).unwrap();
    fs::write(&signers, format!("lux {public}")).unwrap();

    let folder = home.path().join("release");
    fs::create_dir(&folder).unwrap();
    let package = folder.join("lux_0.0.0-1_amd64.deb");
    fs::write(&package, "stands for the package, which has a test of its own").unwrap();
    let Some(said) = sign(&folder, &home.path().join("no such key")) else { return };
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("make one with: ssh-keygen"), "{said:?}");
    let said = sign(&folder, &key).unwrap();
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(checked(&folder, &signers));

    let text = fs::read_to_string(folder.join("lux.cdx.json")).unwrap();
    let bill: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&bill["specVersion"], &bill["metadata"]["component"]["name"]),
        (&"1.6".into(), &"lux".into())
    );
    let parts = bill["components"].as_array().unwrap();
    let part = |name: &str| parts.iter().find(|part| part["name"] == name);
    let lock: toml::Table = fs::read_to_string(repository("Cargo.lock")).unwrap().parse().unwrap();
    let locked = |name: &str| {
        let packages = lock["package"].as_array().unwrap();
        packages.iter().find(|it| it["name"].as_str() == Some(name)).unwrap().clone()
    };
    for name in ["axum", "rustls", "libsqlite3-sys", "async-openai"] {
        let (found, locked) = (part(name).unwrap(), locked(name));
        assert_eq!(found["version"], locked["version"].as_str().unwrap(), "{found}");
        assert_eq!(found["hashes"][0]["content"], locked["checksum"].as_str().unwrap(), "{found}");
        assert!(found["licenses"].is_array(), "{found}");
    }
    assert!(part("insta").is_none(), "what only tests use is not in the program");
    assert!(part("vendor/htmx-4.0.1.min.js").is_some(), "nor is all of it made of crates");

    // Another package, another bill, another's signature.
    for changed in [&package, &folder.join("lux.cdx.json")] {
        let before = fs::read(changed).unwrap();
        fs::write(changed, "something else").unwrap();
        assert!(!checked(&folder, &signers), "{}", changed.display());
        fs::write(changed, before).unwrap();
    }
    assert!(checked(&folder, &signers));
    let sums = fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    fs::write(folder.join("SHA256SUMS"), format!("{sums}\n")).unwrap();
    assert!(!checked(&folder, &signers));
}
