use std::{collections::BTreeMap, fs};

use super::{Config, LogFormat, Origin, Overrides};

fn overrides(file: &str, environment: &[(&str, &str)]) -> (tempfile::TempDir, Overrides) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lux.toml");
    fs::write(&path, file).unwrap();
    let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    (folder, Overrides { environment, flags: BTreeMap::new(), file: Some(path) })
}

fn origin(config: &Config, key: &str) -> Origin {
    config.settings.iter().find(|setting| setting.key == key).unwrap().origin.clone()
}

#[test]
fn each_layer_beats_the_one_below() {
    let file = "listen = \"127.0.0.1:1111\"\n[log]\nformat = \"json\"\n";
    let (_folder, mut from) = overrides(file, &[]);
    let config = Config::load(from.clone()).unwrap();
    assert_eq!((config.listen.port(), config.log_format), (1111, LogFormat::Json));
    assert!(matches!(origin(&config, "listen"), Origin::File(_)));

    from.environment.insert("LUX_LISTEN".into(), "127.0.0.1:2222".into());
    let config = Config::load(from.clone()).unwrap();
    assert_eq!(config.listen.port(), 2222);
    assert_eq!(origin(&config, "listen"), Origin::Environment("LUX_LISTEN".into()));

    from.flags.insert("listen", "127.0.0.1:3333".into());
    let config = Config::load(from).unwrap();
    assert_eq!(config.listen.port(), 3333);
    assert_eq!(origin(&config, "listen"), Origin::Flag("--listen".into()));
}

#[test]
fn port_moves_the_default_address() {
    let (_folder, from) = overrides("", &[("PORT", "8123")]);
    assert_eq!(Config::load(from).unwrap().listen.to_string(), "127.0.0.1:8123");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let file = r#"
        listn = "127.0.0.1:1"
        [http]
        max_body_bytes = "many"
        request_timeout = "soon"
        [[sources]]
        name = "a"
        path = "/x.log"
        unit = "x.service"
        [[sources]]
        name = "a"
        path = "/y.log"
        knd = "json"
        [[actions]]
        name = "restart"
        argv = ["systemctl", "restart", "{unit}"]
        policy = "approve"
    "#;
    let (_folder, from) = overrides(file, &[("DATABASE_URL", "mysql://x"), ("LUX_LISTN", "y")]);
    let mistakes = Config::load(from).unwrap_err();
    let keys: Vec<_> = mistakes.0.iter().map(|mistake| mistake.key.as_str()).collect();
    for key in [
        "listn",
        "http.max_body_bytes",
        "http.request_timeout",
        "sources \"a\"",
        "actions \"restart\"",
        "database_url",
        "LUX_LISTN",
    ] {
        assert!(keys.contains(&key), "{key} is missing from {keys:?}");
    }
    let text = mistakes.to_string();
    assert!(text.contains("did you mean listen?") && text.contains("did you mean LUX_LISTEN?"));
}

#[test]
fn a_broken_file_names_its_line() {
    let (_folder, from) = overrides("listen = \"127.0.0.1:1\"\n[http\n", &[]);
    let mistakes = Config::load(from).unwrap_err();
    assert!(mistakes.to_string().contains("line 2"), "{mistakes}");
}

#[test]
fn secrets_do_not_show() {
    let (folder, mut from) = overrides("", &[("DATABASE_URL", "postgres://lux:hunter22@db/lux")]);
    let secret = folder.path().join("key");
    fs::write(&secret, "sk-very-secret-key\n").unwrap();
    from.environment.insert("OPENAI_API_KEY_FILE".into(), secret.display().to_string());
    let config = Config::load(from).unwrap();
    let shown = serde_json::to_string(&config.settings).unwrap() + &format!("{config:?}");
    assert!(!shown.contains("hunter22") && !shown.contains("sk-very-secret"), "{shown}");
    assert!(config.model.key.is_some());
}

#[test]
fn a_public_address_must_be_meant() {
    let (_folder, mut from) = overrides("listen = \"0.0.0.0:5000\"", &[]);
    assert!(Config::load(from.clone()).unwrap_err().to_string().contains("allow_public"));
    from.environment.insert("LUX_ALLOW_PUBLIC".into(), "true".into());
    assert!(Config::load(from).is_ok());
}

#[test]
fn mistakes_of_probes_are_all_told() {
    let file = r#"
        [[apps]]
        name = "shop"
        base_url = "http://127.0.0.1:8000"
        [[probes]]
        name = "http"
        app = "shpo"
        kind = "http"
        path = "//evil/x"
        method = "get"
        target = "x"
        headers = { Host = "evil" }
        timeout = "1h"
        expect = { regex = "(", status = 99, json = { "a" = 1 } }
        [[probes]]
        name = "tcp"
        kind = "tcp"
        target = "somewhere"
        path = "/x"
        [[probes]]
        name = "database"
        kind = "database"
        url = "postgres://u:hunter22@h/d"
        url_env = "NOT_SET"
        query = "delete from orders"
        [[probes]]
        name = "key"
        kind = "api-key"
        target = "ftp://x"
        [[probes]]
        name = "config"
        kind = "config"
        [[probes]]
        name = "unit"
        kind = "unit"
        target = "--help"
        [[probes]]
        name = "port"
        kind = "port"
        target = "many"
        [[probes]]
        name = "dns"
        kind = "dns"
        target = "http://x"
        [[probes]]
        name = "disk"
        kind = "disk"
        target = "var"
        expect = { min_free_percent = 100 }
        [repair]
        never_probe = ["logout"]
        probes_per_second = 0
    "#;
    let (_folder, from) = overrides(file, &[]);
    let mistakes = Config::load(from).unwrap_err();
    let of = |name: &str| {
        let key = format!("probes \"{name}\"");
        mistakes
            .0
            .iter()
            .filter(|it| it.key == key)
            .map(|it| it.problem.as_str())
            .collect::<Vec<_>>()
    };
    for (name, words) in [
        (
            "http",
            &[
                "[[apps]]",
                "begins with //",
                "GET or POST",
                "no target",
                "Host is set",
                "25s",
                "valid expression",
                "100 to 599",
                "JSON pointer",
            ][..],
        ),
        ("tcp", &["host:port", "path means nothing"]),
        ("database", &["one of url_file", "holds a password", "begins with select", "NOT_SET"]),
        ("key", &["base URL", "key_file and key_env"]),
        ("config", &["target", "variables"]),
        ("unit", &["shop.service"]),
        ("port", &["8000"]),
        ("dns", &["db.local"]),
        ("disk", &["/var", "1 to 99"]),
    ] {
        let told = of(name);
        for word in words {
            assert!(told.iter().any(|it| it.contains(word)), "{name}, {word}: {told:#?}");
        }
        assert_eq!(told.len(), words.len(), "{name}: {told:#?}");
    }
    let text = mistakes.to_string();
    assert!(text.contains("repair.never_probe") && text.contains("repair.probes_per_second"));
    assert!(!text.contains("hunter22"), "{text}");
}

#[test]
fn good_probes_are_taken() {
    let file = r#"
        [[apps]]
        name = "shop"
        base_url = "http://127.0.0.1:8000"
        [[probes]]
        name = "checkout"
        app = "shop"
        kind = "http"
        method = "POST"
        path = "/checkout"
        body = '{"dry_run": true}'
        expect = { status = 200, contains = "ok", max_ms = 2000 }
        covers = ["POST /checkout"]
        [[probes]]
        name = "database"
        kind = "database"
        url_env = "SHOP_DATABASE"
        tables = ["alembic_version"]
        [repair]
        never_probe = ["/logout", "*cron*"]
        probes_per_second = 5
    "#;
    let (_folder, from) = overrides(file, &[("SHOP_DATABASE", "postgres://u:hunter22@h/d")]);
    let config = Config::load(from).unwrap();
    assert_eq!(config.probes.len(), 2);
    assert_eq!(config.repair.never_probe, ["/logout", "*cron*"]);
    assert_eq!(config.repair.probes_per_second, 5);
    assert!(config.probe_variables.contains_key("SHOP_DATABASE"));
    assert!(!format!("{config:?}").contains("hunter22"));
}
