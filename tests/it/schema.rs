//! Migrations: by whoever comes first, once; and never backwards.

use std::process::Stdio;

use crate::support::{Database, Server, lux, on_both, run};

const VERSIONS: &str =
    "select cast(m.version as text) from _sqlx_migrations as m order by m.version";

on_both!(who_start_together_migrate_once);
async fn who_start_together_migrate_once(database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    database.lose(&data).await;
    let starting: Vec<_> = (0..6)
        .map(|n| {
            let mut command = lux(folder.path());
            if let Database::Postgres(url) = &database {
                command.env("DATABASE_URL", url);
            }
            command.args([
                "token",
                "create",
                "--role",
                "read",
                "--name",
                &format!("one of many {n}"),
            ]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for program in starting {
        let ended = program.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    let names = "select name from api_token where name like 'one of many%'";
    assert_eq!(database.column(&data, names).await.len(), 6);
    let versions = database.column(&data, VERSIONS).await;
    assert_eq!(versions.last(), Some(&lux::db::newest_migration().to_string()));
}

on_both!(what_a_newer_lux_made_is_left_alone);
async fn what_a_newer_lux_made_is_left_alone(database: Database) {
    let mut server = Server::plain(&database).await;
    server.stop().await;
    let nothing = match database {
        Database::Sqlite => "x'00'",
        Database::Postgres(_) => "'\\x00'",
    };
    let newer = format!(
        "insert into _sqlx_migrations
             (version, description, success, checksum, execution_time)
         values (9999, 'of a later year', true, {nothing}, 0)"
    );
    database.execute(&server.data(), &newer).await;
    for command in [&["serve", "--listen", "127.0.0.1:0"][..], &["token", "list"]] {
        let said = run(server.command().args(command));
        assert_ne!(said.code, Some(0), "{said:?}");
        assert!(said.err.contains("made by a newer Lux"), "{said:?}");
        assert!(said.err.contains("9999") && said.err.contains("lux restore"), "{said:?}");
    }
    let versions = database.column(&server.data(), VERSIONS).await;
    assert_eq!(versions.last().map(String::as_str), Some("9999"));
    // As if the newer one had been taken back by restoring what was before.
    let older = "delete from _sqlx_migrations where version = 9999";
    database.execute(&server.data(), older).await;
    server.start().await;
    server.get("/api/diagnostics/health").await;
}
