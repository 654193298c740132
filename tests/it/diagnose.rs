//! `lux diagnose` and `lux eval`: what they read, what they print, how they end.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::Stdio,
};

use serde_json::json;

use crate::support::{Said, lux, run};

const HEALTHY: &str = r#"192.0.2.7 - - [21/Nov/2026:10:00:01 +0000] "GET / HTTP/1.1" 200 512 "-" "Mozilla/5.0"
192.0.2.7 - - [21/Nov/2026:10:00:02 +0000] "GET /style.css HTTP/1.1" 304 0 "-" "Mozilla/5.0"
192.0.2.8 - - [21/Nov/2026:10:00:09 +0000] "POST /cart HTTP/1.1" 302 0 "-" "Mozilla/5.0"
"#;

const BROKEN: &str = r#"[2026-11-21 10:00:00 +0000] [100] [INFO] Starting gunicorn 23.0.0
[2026-11-21 10:00:00 +0000] [100] [INFO] Listening at: http://127.0.0.1:8000 (100)
[2026-11-21 10:00:00 +0000] [101] [INFO] Booting worker with pid: 101
[2026-11-21 10:00:00 +0000] [101] [ERROR] Exception in worker process
Traceback (most recent call last):
  File "/srv/shop/venv/lib/python3.11/site-packages/gunicorn/arbiter.py", line 608, in spawn_worker
    worker.init_process()
  File "/srv/shop/shop.py", line 3, in <module>
    import tariffs
ModuleNotFoundError: No module named 'tariffs'
[2026-11-21 10:00:00 +0000] [101] [INFO] Worker exiting (pid: 101)
[2026-11-21 10:00:00 +0000] [100] [ERROR] Worker (pid:101) exited with code 3
[2026-11-21 10:00:00 +0000] [100] [ERROR] Shutting down: Master
[2026-11-21 10:00:00 +0000] [100] [ERROR] Reason: Worker failed to boot.
"#;

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("lux-diagnose").tempdir().unwrap()
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn diagnose(folder: &Path, arguments: &[&str]) -> Said {
    run(lux(folder).arg("diagnose").args(arguments))
}

/// The report is that of a broken host: one cause, quoted from the file.
fn names_the_module(said: &Said, source: &str) {
    assert_eq!(said.code, Some(1), "{said:?}");
    let report = said.json();
    assert_eq!(report["version"], 1);
    assert_eq!(report["healthy"], false);
    assert_eq!(report["scanned"]["files"], 1, "{report:#}");
    assert_eq!(report["scanned"]["lines"], BROKEN.lines().count(), "{report:#}");
    assert!(report["notes"].is_array(), "{report:#}");
    let first = &report["findings"][0];
    assert_eq!(first["cause"], "missing_python_module", "{report:#}");
    assert_eq!(first["confidence"], "confirmed", "{report:#}");
    for key in ["title", "component", "explanation", "first_seen", "last_seen"] {
        assert!(first[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {first:#}");
    }
    assert!(first["count"].as_u64().unwrap() >= 1, "{first:#}");
    for key in ["evidence", "effects", "fix", "probes"] {
        assert!(first[key].is_array(), "{key}: {first:#}");
    }
    assert!(!first["fix"].as_array().unwrap().is_empty(), "{first:#}");
    let evidence = first["evidence"].as_array().unwrap();
    assert!(evidence.iter().any(|quote| quote.to_string().contains("tariffs")), "{first:#}");
    for quote in evidence {
        assert!(quote["source"].as_str().unwrap().ends_with(source), "{quote}");
        let number = usize::try_from(quote["line"].as_u64().unwrap()).unwrap();
        let line = BROKEN.lines().nth(number - 1).unwrap();
        assert!(line.contains(quote["text"].as_str().unwrap()), "line {number} is {line}: {quote}");
    }
}

#[test]
fn diagnose_tells_by_its_exit_code() {
    let folder = folder();
    write(folder.path(), "healthy/access.log", HEALTHY);
    write(folder.path(), "broken/gunicorn.err", BROKEN);

    let said = diagnose(folder.path(), &["healthy", "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let report = said.json();
    assert_eq!((&report["healthy"], &report["findings"]), (&json!(true), &json!([])), "{report:#}");
    assert_eq!(report["scanned"], json!({ "files": 1, "lines": 3, "bytes": HEALTHY.len() }));

    names_the_module(&diagnose(folder.path(), &["broken", "--json"]), "gunicorn.err");
    names_the_module(&diagnose(folder.path(), &["broken/gunicorn.err", "--json"]), "gunicorn.err");

    for wrong in [&["nowhere"][..], &["--nonsense"], &["healthy", "nowhere"]] {
        let said = diagnose(folder.path(), wrong);
        assert_eq!(said.code, Some(2), "{wrong:?}: {said:?}");
        assert!(!said.err.is_empty(), "{wrong:?}: {said:?}");
    }
    let said = diagnose(folder.path(), &["nowhere", "--json"]);
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
    // It reads: nothing is made beside the logs.
    assert!(!folder.path().join("data").exists());
}

#[test]
fn diagnose_speaks_to_people_too() {
    let folder = folder();
    write(folder.path(), "healthy.log", HEALTHY);
    write(folder.path(), "gunicorn.err", BROKEN);
    let said = diagnose(folder.path(), &["gunicorn.err"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("No module named 'tariffs'"), "{}", said.out);
    assert!(said.out.contains("gunicorn.err:10"), "the line is not cited: {}", said.out);
    assert!(!said.out.contains('\u{1b}'), "colours belong on a terminal: {}", said.out);
    let said = diagnose(folder.path(), &["healthy.log"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!said.out.trim().is_empty());
}

#[test]
fn diagnose_reads_stdin_and_compressed_files() {
    let folder = folder();
    let pipe = |text: &[u8], arguments: &[&str]| {
        let mut command = lux(folder.path());
        command.args(["diagnose", "--json"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text).unwrap();
        let output = child.wait_with_output().unwrap();
        Said {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    };
    names_the_module(&pipe(BROKEN.as_bytes(), &["-"]), "");
    assert_eq!(pipe(HEALTHY.as_bytes(), &["-"]).code, Some(0));
    assert_eq!(pipe(b"", &["-"]).code, Some(0));

    let file = File::create(folder.path().join("gunicorn.err.2.gz")).unwrap();
    let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    packed.write_all(BROKEN.as_bytes()).unwrap();
    packed.finish().unwrap();
    names_the_module(&diagnose(folder.path(), &["gunicorn.err.2.gz", "--json"]), ".gz");
    // A file that was cut off in the middle is read as far as it goes, and it is said.
    let whole = fs::read(folder.path().join("gunicorn.err.2.gz")).unwrap();
    fs::write(folder.path().join("cut.gz"), &whole[..whole.len() / 2]).unwrap();
    let said = diagnose(folder.path(), &["cut.gz", "--json"]);
    assert!(matches!(said.code, Some(0..=2)), "{said:?}");
    assert!(said.out.contains("cut.gz") || said.err.contains("cut.gz"), "{said:?}");
}

#[test]
fn diagnose_bears_any_bytes() {
    let folder = folder();
    let mut noise = vec![0_u8; 3 << 20];
    fs::write(folder.path().join("nul.log"), &noise).unwrap();
    noise.fill(b'x');
    fs::write(folder.path().join("no-newline.log"), &noise).unwrap();
    let mut byte = 0_u8;
    for place in &mut noise {
        byte = byte.wrapping_mul(37).wrapping_add(11);
        *place = byte;
    }
    fs::write(folder.path().join("random.log"), &noise).unwrap();
    fs::write(folder.path().join("empty.log"), "").unwrap();
    let said = diagnose(folder.path(), &[".", "--json"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert_eq!(said.json()["findings"], json!([]));
}

#[test]
fn eval_scores_recordings() {
    let folder = folder();
    write(folder.path(), "1/gunicorn.err", BROKEN);
    let truth = json!({
        "cause": "missing_python_module",
        "evidence": ["No module named 'tariffs'"],
        "evidence_in": ["gunicorn.err"],
    });
    write(folder.path(), "1/truth.json", &truth.to_string());
    write(folder.path(), "2/nginx-access.log", HEALTHY);
    write(folder.path(), "2/truth.json", r#"{"cause": "none"}"#);
    let said = run(lux(folder.path()).args(["eval", "."]));
    assert_eq!(said.code, Some(0), "{said:?}");
    for word in ["missing_python_module", "top-1", "top-3", "evidence", "false alarm"] {
        assert!(said.out.contains(word), "{word} is missing: {}", said.out);
    }
    let report = run(lux(folder.path()).args(["eval", ".", "--json"])).json();
    assert!(report.is_object(), "{report:#}");

    // One that cannot be right shows as wrong.
    write(folder.path(), "3/nginx-access.log", HEALTHY);
    write(folder.path(), "3/truth.json", r#"{"cause": "redis_down", "evidence": ["x"]}"#);
    let worse = run(lux(folder.path()).args(["eval", ".", "--json"])).json();
    assert_ne!(report, worse);
    let said = run(lux(folder.path()).args(["eval", "nowhere"]));
    assert_eq!(said.code, Some(2), "{said:?}");
}
