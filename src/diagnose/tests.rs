//! The advisor on messages as programs write them (`logs-fixtures/cases.txt`), and on
//! texts that only look like trouble.

use super::{Advisor, Confidence, Diagnosis, Scanned, report};
use crate::logs::{Joiner, Parser, format, time::Zone};

fn advisor() -> Advisor {
    Advisor::new(None).unwrap()
}

/// Diagnoses logs given as (file name, text).
fn diagnose(advisor: &Advisor, logs: &[(&str, String)]) -> Diagnosis {
    let mut scan = advisor.scan();
    for (name, text) in logs {
        let kind = format::detect(name, text.as_bytes());
        let mut joiner = Joiner::new(Parser::new(kind, Zone::Named(chrono_tz::UTC)));
        for (index, line) in text.lines().enumerate() {
            joiner.push(line.as_bytes(), index as u64 + 1, &mut |record| scan.feed(name, record));
        }
        joiner.flush(&mut |record| scan.feed(name, record));
    }
    let mut diagnosis = scan.finish(Scanned::default(), Vec::new());
    let before: usize = diagnosis.findings.iter().map(|finding| finding.evidence.len()).sum();
    diagnosis.verify(&mut |source, line| {
        let (_, text) = logs.iter().find(|(name, _)| *name == source)?;
        Some(text.lines().nth(usize::try_from(line).unwrap() - 1).unwrap_or_default().to_owned())
    });
    let after: usize = diagnosis.findings.iter().map(|finding| finding.evidence.len()).sum();
    assert_eq!(before, after, "a quotation is not in its line");
    diagnosis
}

fn app(lines: &str) -> Vec<(&'static str, String)> {
    vec![("app.log", lines.to_owned())]
}

#[test]
fn every_case_leads_to_its_cause() {
    let advisor = advisor();
    let cases = include_str!("../../logs-fixtures/cases.txt");
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in cases.split("\n== ").skip(1) {
        let (head, body) = case.split_once('\n').unwrap();
        let accepted: Vec<&str> = head.split(' ').collect();
        let logs: Vec<(&str, String)> = format!("\n{body}")
            .split("\n-- ")
            .skip(1)
            .map(|log| log.split_once('\n').unwrap())
            .map(|(name, text)| (&*name.to_owned().leak(), text.to_owned()))
            .collect();
        let diagnosis = diagnose(&advisor, &logs);
        count += 1;
        let first = diagnosis.findings.first();
        let right = if accepted[0] == "none" {
            diagnosis.healthy
        } else {
            first.is_some_and(|finding| {
                accepted.contains(&&*finding.cause) && !finding.evidence.is_empty()
            }) && diagnosis.findings.iter().all(|finding| {
                finding.confidence < Confidence::Confirmed || accepted.contains(&&*finding.cause)
            })
        };
        if !right {
            let found: Vec<_> = diagnosis
                .findings
                .iter()
                .map(|f| format!("{} {:?}", f.cause, f.confidence))
                .collect();
            wrong.push(format!("case {count} {head}: {found:?}"));
        }
    }
    assert!(count >= 150, "only {count} cases");
    assert!(wrong.is_empty(), "{} of {count} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_a_client_sends_proves_nothing() {
    let line = "2026/11/20 12:48:26 [error] 1#1: *6 open() \"/srv/x.css\" failed (2: No such file or directory), client: 198.51.100.2, server: s, request: \"GET /x.css?q=worker_connections are not enough no live upstreams while connecting to upstream HTTP/1.1\", host: \"KeyError: 'x'\"\n";
    let diagnosis = diagnose(&advisor(), &[("nginx-error.log", line.repeat(3))]);
    assert!(diagnosis.healthy, "{:?}", diagnosis.findings);
}

#[test]
fn gunicorns_guess_of_memory_after_a_timeout_is_a_timeout() {
    let log = "[2026-11-20 13:18:54 +0000] [18723] [CRITICAL] WORKER TIMEOUT (pid:18725)\n[2026-11-20 13:18:55 +0000] [18723] [ERROR] Worker (pid:18725) was sent SIGKILL! Perhaps out of memory?\n";
    let diagnosis = diagnose(&advisor(), &[("gunicorn.err", log.to_owned())]);
    let causes: Vec<_> = diagnosis.findings.iter().map(|f| &*f.cause).collect();
    assert_eq!(causes, ["gunicorn_worker_timeout"]);

    let log = log.replace("WORKER TIMEOUT (pid:18725)", "WORKER TIMEOUT (pid:1)");
    let diagnosis = diagnose(&advisor(), &[("gunicorn.err", log)]);
    let oom = diagnosis.findings.iter().find(|f| f.cause == "worker_oom_killed").unwrap();
    assert_eq!(oom.confidence, Confidence::Likely, "without the kernel's line it is a guess");
}

#[test]
fn effects_are_told_under_their_cause() {
    let gunicorn = "[2026-11-20 12:48:15 +0000] [1119] [INFO] Listening at: http://127.0.0.1:8000 (1119)\n[2026-11-20 12:48:22 +0000] [1119] [INFO] Handling signal: term\n[2026-11-20 12:48:25 +0000] [1119] [INFO] Shutting down: Master\n";
    let nginx = "2026/11/20 12:48:26 [error] 1#1: *60 connect() failed (111: Connection refused) while connecting to upstream, client: 198.51.100.28, server: s, request: \"GET /health HTTP/1.1\", upstream: \"http://127.0.0.1:8000/health\", host: \"s\"\n".repeat(3);
    let logs = [("gunicorn.err", gunicorn.to_owned()), ("nginx-error.log", nginx)];
    let diagnosis = diagnose(&advisor(), &logs);
    assert_eq!(diagnosis.findings.len(), 1, "{:?}", diagnosis.findings);
    let finding = &diagnosis.findings[0];
    assert_eq!((&*finding.cause, finding.confidence), ("app_not_running", Confidence::Confirmed));
    assert_eq!(finding.probes[0].path, "/health");
    assert!(finding.effects[0].contains("connection refused"), "{:?}", finding.effects);
    assert!(finding.explanation.contains("127.0.0.1:8000"));
}

#[test]
fn the_frame_to_blame_is_named() {
    let log = "2026-11-20 13:29:53,660 ERROR [app] [24669] Exception on /api/price [GET]\nTraceback (most recent call last):\n  File \"/srv/venv/lib/python3.11/site-packages/flask/app.py\", line 1511, in wsgi_app\n    response = self.full_dispatch_request()\n  File \"/srv/app/pricing.py\", line 41, in price\n    return total / count\n           ~~~~~~^~~~~~~\nZeroDivisionError: division by zero\n";
    let diagnosis = diagnose(&advisor(), &app(log));
    let finding = &diagnosis.findings[0];
    assert_eq!(finding.cause, "code_bug_zero_division");
    assert!(finding.explanation.contains("/srv/app/pricing.py line 41 in price"));
    assert_eq!((&*finding.probes[0].method, &*finding.probes[0].path), ("GET", "/api/price"));
}

#[test]
fn an_error_without_a_playbook_is_a_note_not_a_cause() {
    let log = "2026-11-20 13:29:53,660 ERROR [app] [24669] the frobnicator is unwell (code 17)\n";
    let diagnosis = diagnose(&advisor(), &app(log));
    assert!(diagnosis.findings.is_empty());
    assert!(diagnosis.notes[0].contains("the frobnicator is unwell"), "{:?}", diagnosis.notes);
}

#[test]
fn a_report_is_calm_and_printable() {
    let log = "2026-11-20 13:29:53,660 ERROR [app] [24669] Exception on /api/price [GET]\nTraceback (most recent call last):\n  File \"/srv/app/pricing.py\", line 41, in price\n    return PRICES[sku]\nKeyError: 'c\u{1b}[31m'\n";
    let mut text = Vec::new();
    report(&diagnose(&advisor(), &app(log)), &mut anstream::StripStream::new(&mut text)).unwrap();
    insta::assert_snapshot!(String::from_utf8(text).unwrap());

    let mut text = Vec::new();
    report(&diagnose(&advisor(), &[]), &mut anstream::StripStream::new(&mut text)).unwrap();
    assert!(String::from_utf8(text).unwrap().starts_with("Nothing wrong found."));
}

#[test]
fn merging_parts_is_the_same_as_reading_in_one_go() {
    let advisor = advisor();
    let line = |n: u32| {
        format!(
            "2026/11/20 12:48:{n:02} [error] 1#1: *60 limiting requests, excess: 3.9 by zone \"api\", client: 1.2.3.4, server: s, request: \"GET /a HTTP/1.1\", host: \"s\""
        )
    };
    let parser = Parser::new(
        format::detect("nginx-error.log", line(1).as_bytes()),
        Zone::Named(chrono_tz::UTC),
    );
    let (mut whole, mut first, mut second) = (advisor.scan(), advisor.scan(), advisor.scan());
    for n in 0..60 {
        let text = line(n);
        let record = parser.parse(&text, u64::from(n) + 1);
        whole.feed("e", &record);
        if n < 30 { first.feed("e", &record) } else { second.feed("e", &record) }
    }
    first.merge(second);
    let one = whole.finish(Scanned::default(), Vec::new());
    assert_eq!(one, first.finish(Scanned::default(), Vec::new()));
    assert_eq!((one.findings[0].cause.as_str(), one.findings[0].count), ("nginx_limit_req", 60));
}
