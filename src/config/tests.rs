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
