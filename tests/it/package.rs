//! The Debian package: made by cargo-deb, installed into a clean root, and run there behind nginx
//! with TLS. All of it is what an operator gets.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::IpAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use reqwest::{Certificate, Client, Method, RequestBuilder, StatusCode, redirect};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::support::{Answer, PATIENCE, free_port, repository, run, say, skip, until, variable};

const NAME: &str = "lux.example.com";

/// The package of the program that is tested, without building it anew.
fn package(folder: &Path) -> Option<PathBuf> {
    let Some(cargo_deb) = variable("LUX_TEST_CARGO_DEB") else {
        skip("cargo-deb (LUX_TEST_CARGO_DEB)");
        return None;
    };
    // Where cargo-deb looks for what a release build would have made.
    let target = folder.join("target");
    fs::create_dir_all(target.join("release")).unwrap();
    let program = target.join("release/lux");
    fs::copy(env!("CARGO_BIN_EXE_lux"), &program).unwrap();
    let stripped = run(Command::new("strip").arg(&program));
    assert_eq!(stripped.code, Some(0), "{stripped:?}");
    let deb = folder.join("lux.deb");
    let said = run(Command::new(cargo_deb)
        .args(["deb", "--no-build", "--no-strip", "--fast", "--locked", "--offline", "--output"])
        .arg(&deb)
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(repository("")));
    assert_eq!(said.code, Some(0), "{said:?}");
    Some(deb)
}

fn field(deb: &Path, name: &str) -> String {
    let said = run(Command::new("dpkg-deb").arg("--field").arg(deb).arg(name));
    assert_eq!(said.code, Some(0), "{said:?}");
    said.out.trim().to_owned()
}

/// Lux and nginx in their root, which ends with them.
struct Host {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Host {
    fn start(deb: &Path, folder: &Path, ports: [u16; 3]) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "bash"]);
        command.arg(repository("tests/package.sh")).arg(deb).arg(folder);
        command.args(ports.map(|port| port.to_string()));
        command.env("PATH", format!("{}:/usr/sbin:/sbin", variable("PATH").unwrap_or_default()));
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut host = Self { child, stdin, stdout };
        host.says("ready");
        host
    }

    fn says(&mut self, expected: &str) {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), expected);
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        // It may have ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn it_installs_and_runs_behind_nginx_on_a_clean_root() {
    let folder = tempfile::Builder::new().prefix("lux-deb").tempdir_in("/tmp").unwrap();
    let folder = folder.path();
    let Some(deb) = package(folder) else { return };
    assert_eq!(field(&deb, "Package"), "lux");
    assert_eq!(field(&deb, "Version"), format!("{}-1", env!("CARGO_PKG_VERSION")));
    assert!(field(&deb, "Depends").contains("libc6"), "{}", field(&deb, "Depends"));
    let conffiles = run(Command::new("dpkg-deb").arg("--info").arg(&deb).arg("conffiles")).out;
    assert_eq!(
        conffiles.split_whitespace().collect::<Vec<_>>(),
        ["/etc/lux/lux.toml", "/etc/lux/lux.env", "/etc/polkit-1/rules.d/50-lux.rules"]
    );
    if !rustix::process::geteuid().is_root() {
        say("skipped: a root of one's own needs root; the package itself was made");
        return;
    }
    let signed = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), signed.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), signed.signing_key.serialize_pem()).unwrap();
    let ports = [free_port(), free_port(), free_port()];
    let mut host = Host::start(&deb, folder, ports);

    let token = fs::read_to_string(folder.join("token")).unwrap().trim().to_owned();
    let certificate = Certificate::from_pem(signed.cert.pem().as_bytes()).unwrap();
    let client = Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .redirect(redirect::Policy::none())
        .tls_certs_only([certificate])
        .resolve(NAME, ([127, 0, 0, 1], ports[2]).into())
        // Somebody who is not the proxy.
        .local_address("127.0.0.9".parse::<IpAddr>().unwrap())
        .build()
        .unwrap();
    let url = |path: &str| format!("https://{NAME}:{}{path}", ports[2]);
    let request = |method: Method, path: &str| -> RequestBuilder {
        client.request(method, url(path)).bearer_auth(&token)
    };
    until("it answers", async || {
        let ready = client.get(url("/readyz")).send().await.ok()?;
        ready.status().is_success().then_some(())
    })
    .await;
    // In the clear there is only the way to TLS.
    let plain = format!("http://127.0.0.1:{}/api/audit?limit=1", ports[1]);
    let answer = Answer::of(client.get(plain)).await;
    assert_eq!(answer.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(answer.headers["location"], format!("https://{NAME}/api/audit?limit=1"));

    Answer::of(client.get(url("/api/audit"))).await.problem(401);
    let event = json!({ "error_type": "KeyError", "error_message": "price" });
    let answer = Answer::of(request(Method::POST, "/api/errors").json(&event)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    // It is known who calls, whatever they say about it.
    let mark = json!({ "app": "shop", "release": "r1" });
    let forged = request(Method::POST, "/api/deploys").header("x-forwarded-for", "203.0.113.7");
    assert_eq!(Answer::of(forged.json(&mark)).await.status, 201);
    let audit = Answer::of(request(Method::GET, "/api/audit?limit=1")).await.json();
    assert_eq!(audit["entries"][0]["address"], "127.0.0.9", "{audit:#}");
    // As large as Lux takes it, nginx lets it through; what is larger, neither takes.
    let large = request(Method::POST, "/api/errors").body(vec![b' '; 4 << 20]);
    assert_eq!(Answer::of(large).await.status, 413);

    // A line of the log arrives as it is written: nothing waits for a buffer to be full.
    let stream = request(Method::GET, "/api/diagnostics/logs/stream").send().await;
    let mut stream = stream.unwrap();
    assert_eq!(stream.status(), 200);
    let mut seen = String::new();
    let mut told = 0;
    while !seen.contains("the basket is empty") {
        told += 1;
        host.tell(&format!("log ERROR the basket is empty {told}"));
        let next = tokio::time::timeout(std::time::Duration::from_secs(5), stream.chunk()).await;
        if let Ok(chunk) = next {
            seen.push_str(&String::from_utf8_lossy(&chunk.unwrap().expect("the stream ended")));
        }
        assert!(told < 20, "{seen}");
    }
    drop(stream);

    let doctor = fs::read_to_string(folder.join("doctor.json")).unwrap();
    let doctor: Value = serde_json::from_str(&doctor).unwrap();
    assert_eq!(doctor["mistakes"], json!([]), "{doctor:#}");
    let failed = doctor["checks"].as_array().unwrap().iter();
    let failed: Vec<_> = failed.filter(|check| check["outcome"] == "fail").collect();
    assert!(failed.is_empty(), "{failed:#?}");
    host.tell("modes");
    host.says("done");
    let modes = fs::read_to_string(folder.join("modes")).unwrap();
    assert!(modes.contains("master.key") && modes.contains("lux.db"), "{modes}");
    for line in modes.lines() {
        assert!(line.contains("00 lux "), "not the service's alone: {line}");
    }
    host.tell("purge");
    host.says("done");
}
