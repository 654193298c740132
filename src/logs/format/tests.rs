use super::*;
use crate::logs::Joiner;

const UTC: Zone = Zone::Named(chrono_tz::UTC);

fn parse(text: &str) -> Record<'_> {
    Parser::new(Kind::Plain, UTC).parse(text, 1)
}

fn time(record: &Record<'_>) -> String {
    record.at.map(|at| at.format("%Y-%m-%dT%H:%M:%S%.3f").to_string()).unwrap_or_default()
}

/// Kind, severity, time and message of what real programs wrote.
#[test]
fn heads_of_every_format() {
    use Kind::{
        Gunicorn, Journal, Json, Kernel, NginxAccess, NginxError, Plain, Postgres, Python, Redis,
    };
    use Severity::{Critical, Debug, Error, Info, Notice, Warning};
    let all = [
        (
            "2026/11/20 12:50:28 [crit] 2098#2098: *3 connect() to unix:/run/lux/lux.sock failed (13: Permission denied)",
            NginxError,
            Critical,
            "2026-11-20T12:50:28.000",
            "connect() to",
        ),
        (
            "[21-Nov-2026 10:00:03 UTC] PHP Fatal error:  Uncaught PDOException: x in /srv/a.php:1",
            Plain,
            Error,
            "2026-11-21T10:00:03.000",
            "PHP Fatal error:",
        ),
        (
            "[21-Nov-2026 10:00:03 UTC] PHP Deprecated:  Optional parameter before required",
            Plain,
            Notice,
            "2026-11-21T10:00:03.000",
            "PHP Deprecated:",
        ),
        (
            "[21-Nov-2026 10:00:03] WARNING: [pool www] server reached pm.max_children setting (5)",
            Python,
            Warning,
            "2026-11-21T10:00:03.000",
            "[pool www]",
        ),
        (
            "[2026-11-18 19:52:46] production.ERROR: Unknown column {\"exception\":\"[object]\"}",
            Python,
            Error,
            "2026-11-18T19:52:46.000",
            "Unknown column",
        ),
        (
            "2026/11/24 02:34:41 http: panic serving 127.0.0.1:51206: assignment to entry in nil map",
            Plain,
            Error,
            "2026-11-24T02:34:41.000",
            "http: panic serving",
        ),
        (
            "2026/11/24 02:34:41 listening on 127.0.0.1:8080",
            Plain,
            Info,
            "2026-11-24T02:34:41.000",
            "listening on",
        ),
        (
            "nginx: [emerg] unknown directive \"proxy_pas\" in /etc/nginx/x:9",
            NginxError,
            Critical,
            "",
            "unknown directive",
        ),
        (
            "172.24.0.1 - - [01/Feb/2019:18:33:59 +0000] \"GET / HTTP/1.0\" 504 167 \"-\" \"ApacheBench/2.3\"",
            NginxAccess,
            Error,
            "2019-02-01T18:33:59.000",
            "\"GET /",
        ),
        (
            "53.126.150.246 - - [01/Oct/2020:11:25:58 -0400] \"GET /disintermediate HTTP/2.0\" 401 20308",
            NginxAccess,
            Info,
            "2020-10-01T15:25:58.000",
            "\"GET /dis",
        ),
        (
            "127.0.0.1 - - [23/Aug/2024 14:39:36] \"POST /rosgpt HTTP/1.1\" 500 -",
            NginxAccess,
            Error,
            "2024-08-23T14:39:36.000",
            "\"POST",
        ),
        (
            "INFO:     127.0.0.1:61465 - \"GET /sse HTTP/1.1\" 200 OK",
            NginxAccess,
            Info,
            "",
            "\"GET /sse",
        ),
        (
            "127.0.0.1:61465 - \"GET /sse HTTP/1.1\" 500 Internal Server Error",
            NginxAccess,
            Error,
            "",
            "\"GET /sse",
        ),
        (
            "{\"time\":\"2026-11-20T12:00:00+00:00\",\"status\":502,\"request\":\"GET /x HTTP/1.1\",\"request_time\":0.5}",
            NginxAccess,
            Error,
            "2026-11-20T12:00:00.000",
            "{",
        ),
        (
            "[2024-01-09 13:24:39 +0000] [1637] [CRITICAL] WORKER TIMEOUT (pid:7214)",
            Gunicorn,
            Critical,
            "2024-01-09T13:24:39.000",
            "WORKER TIMEOUT",
        ),
        (
            "2010-07-28 23:01:19 [5869] [CRITICAL] WORKER TIMEOUT (pid:5870)",
            Gunicorn,
            Critical,
            "2010-07-28T23:01:19.000",
            "WORKER TIMEOUT",
        ),
        (
            "2026-11-20 12:53:05,783 INFO [app] [2969] application started",
            Python,
            Info,
            "2026-11-20T12:53:05.783",
            "application started",
        ),
        (
            "2026-11-20 12:53:05,783 - shop.views - ERROR - it broke",
            Python,
            Error,
            "2026-11-20T12:53:05.783",
            "it broke",
        ),
        (
            "2026-11-20 12:53:05.783 | WARNING  | shop:view:12 - slow",
            Python,
            Warning,
            "2026-11-20T12:53:05.783",
            "slow",
        ),
        (
            "[2026-11-20 12:53:05,783] ERROR in app: Exception on /x [GET]",
            Python,
            Error,
            "2026-11-20T12:53:05.783",
            "Exception on",
        ),
        (
            "ERROR 2026-11-20 13:22:06,336 log 21131 140426819551936 Internal Server Error: /api/products",
            Python,
            Error,
            "2026-11-20T13:22:06.336",
            "Internal Server",
        ),
        (
            "ERROR 2015-04-16 05:23:14,510 Internal Server Error: /robots.txt",
            Python,
            Error,
            "2015-04-16T05:23:14.510",
            "Internal Server",
        ),
        (
            "22:31:37 ERROR Invalid HTTP_HOST header: 'www.decomp.me'.",
            Python,
            Error,
            "",
            "Invalid HTTP_HOST",
        ),
        ("ERROR:    Exception in ASGI application", Python, Error, "", "Exception in"),
        ("WARNING:root:watch out", Python, Warning, "", "watch out"),
        (
            "Traceback (most recent call last):\n  File \"x\", line 1\nKeyError: 'a'",
            Python,
            Error,
            "",
            "Traceback",
        ),
        (
            "{\"asctime\": \"2026-11-20 13:11:18,653\", \"levelname\": \"ERROR\", \"message\": \"Exception on /api/orders [POST]\"}",
            Json,
            Error,
            "2026-11-20T13:11:18.653",
            "Exception on",
        ),
        (
            "{\"level\":50,\"time\":1795179191768,\"msg\":\"pino\"}",
            Json,
            Error,
            "2026-11-20T12:53:11.768",
            "pino",
        ),
        (
            "{\"event\":\"x\",\"level\":\"warning\",\"timestamp\":\"2024-04-06T07:51:37-07:00\"}",
            Json,
            Warning,
            "2024-04-06T14:51:37.000",
            "x",
        ),
        (
            "2026-11-20 13:23:35.530 UTC [17038] LOG:  shutting down",
            Postgres,
            Info,
            "2026-11-20T13:23:35.530",
            "shutting down",
        ),
        (
            "2026-11-20 13:23:35.530 UTC [17038] lux@lux FATAL:  password authentication failed",
            Postgres,
            Critical,
            "2026-11-20T13:23:35.530",
            "password",
        ),
        (
            "1234:M 20 Nov 2026 12:53:11.123 # Can't save in background: fork: Cannot allocate memory",
            Redis,
            Error,
            "2026-11-20T12:53:11.123",
            "Can't save",
        ),
        (
            "1234:M 20 Nov 2026 12:53:11.123 * Ready to accept connections",
            Redis,
            Notice,
            "2026-11-20T12:53:11.123",
            "Ready",
        ),
        (
            "2026-11-20T12:53:20,003510+00:00 Memory cgroup out of memory: Killed process 32362 (gunicorn)",
            Kernel,
            Error,
            "2026-11-20T12:53:20.003",
            "Memory cgroup",
        ),
        ("[   12.345678] gunicorn[664]: segfault at 0 ip 0", Kernel, Error, "", "gunicorn[664]"),
        (
            "2026-11-20T12:53:11.768291+0000 systemd[1]: lux.service: Failed with result 'exit-code'.",
            Journal,
            Warning,
            "2026-11-20T12:53:11.768",
            "lux.service",
        ),
        (
            "2026-02-08T00:40:07.136582+00:00 large2 systemd[1]: user-1021.slice: A process of this unit has been killed by the OOM killer.",
            Journal,
            Warning,
            "2026-02-08T00:40:07.136",
            "user-1021",
        ),
        (
            "2026-02-08T00:40:07.136582+00:00 host kernel: Out of memory: Killed process 1483 (uvicorn)",
            Journal,
            Error,
            "2026-02-08T00:40:07.136",
            "Out of",
        ),
        ("2024-01-01T12:00:00Z INFO module: text", Python, Info, "2024-01-01T12:00:00.000", "text"),
        (
            "[Django] ERROR (EXTERNAL IP): Invalid HTTP_HOST header: '(...)'.",
            Plain,
            Error,
            "",
            "[Django]",
        ),
        ("time=\"x\" level=warning msg=\"y\"", Plain, Warning, "", "time="),
        ("error: cannot open it", Plain, Error, "", "error"),
        ("GET /errors/critical.html", Plain, Info, "", "GET"),
        ("DEBUG:app:fine", Python, Debug, "", "fine"),
    ];
    for (text, kind, severity, at, message) in all {
        let record = parse(text);
        assert_eq!((record.kind, record.severity), (kind, severity), "{text}");
        assert_eq!(time(&record), at, "{text}");
        assert!(record.message().starts_with(message), "{text}: {}", record.message());
    }
}

#[test]
fn syslog_lines_hold_others() {
    let text = "Jul 05 09:13:44 webapps wsgi.sh[3129704]: [2024-07-05 09:13:44 +0200] [3129704] [ERROR] Worker (pid:3129714) exited with code 1";
    let parser =
        Parser::new(Kind::Journal, UTC).written_before("2024-08-01T00:00:00Z".parse().unwrap());
    let record = parser.parse(text, 1);
    assert_eq!((record.kind, record.said_kind()), (Kind::Journal, Kind::Gunicorn));
    assert_eq!(record.severity, Severity::Error);
    assert_eq!(time(&record), "2024-07-05T09:13:44.000");
    assert_eq!(record.message(), "Worker (pid:3129714) exited with code 1");
    let journal = record.journal().unwrap();
    assert_eq!((journal.identifier, journal.pid), (Some("wsgi.sh"), Some(3_129_704)));
}

#[test]
fn fields_of_nginx() {
    let record = parse(
        "2026/11/20 12:48:26 [error] 1122#1122: *60 connect() failed (111: Connection refused) while connecting to upstream, client: 198.51.100.28, server: shop.example.com, request: \"GET /api/price?items=a:1,b:2 HTTP/1.1\", upstream: \"http://127.0.0.1:8000/api\", host: \"shop.example.com\", referrer: \"x\"",
    );
    let nginx = record.nginx().unwrap();
    assert_eq!((nginx.pid, nginx.errno), (1122, Some(111)));
    assert_eq!(nginx.action, Some("connecting to upstream"));
    assert_eq!((nginx.client, nginx.server), (Some("198.51.100.28"), Some("shop.example.com")));
    assert_eq!(nginx.request, Some("GET /api/price?items=a:1,b:2 HTTP/1.1"));
    assert_eq!(nginx.upstream, Some("http://127.0.0.1:8000/api"));
    assert_eq!(nginx.host, Some("shop.example.com"));
}

#[test]
fn a_client_cannot_forge_what_nginx_said() {
    let record = parse(
        "2026/11/20 12:48:26 [error] 7#7: *60 open() \"/x\" failed (2: No such file or directory), client: 1.2.3.4, server: s, request: \"GET /(13: Permission denied) while eating, upstream: \"http://evil/\" HTTP/1.1\", host: \"s\"",
    );
    let nginx = record.nginx().unwrap();
    assert_eq!((nginx.errno, nginx.action), (Some(2), None));
    assert_eq!(nginx.client, Some("1.2.3.4"));
    // cut at 2048 bytes: what is there is taken
    let record = parse(
        "2026/11/20 12:48:26 [error] 7#7: *60 x, client: 1.2.3.4, server: , request: \"GET /aaaa",
    );
    let nginx = record.nginx().unwrap();
    assert_eq!((nginx.server, nginx.request), (None, Some("GET /aaaa")));
}

#[test]
fn fields_of_access_logs() {
    let record = parse(
        "203.0.113.10 - bob [20/Nov/2026:12:53:11 +0000] \"GET /api/export?rows=4 HTTP/1.1\" 200 19 \"https://e.org/\\x22\" \"curl/7.88.1\" 0.123 \"0.120\"",
    );
    let access = record.access().unwrap();
    assert_eq!((access.client, access.method), ("203.0.113.10", "GET"));
    assert_eq!((access.target, access.path()), ("/api/export?rows=4", "/api/export"));
    assert_eq!((access.status, access.bytes), (200, 19));
    assert_eq!((access.referrer, access.agent), ("https://e.org/\\x22", "curl/7.88.1"));
    assert_eq!(access.duration, Some(0.123));

    let record =
        parse("1.2.3.4 - - [20/Nov/2026:12:53:11 +0000] \"\\x16\\x03\\x01\" 400 150 \"-\" \"-\"");
    let access = record.access().unwrap();
    assert_eq!((access.method, access.status, access.agent), ("", 400, ""));

    let record = parse(
        "shop.example.com:80 2001:db8::1 - - [20/Nov/2026:12:53:11 +0000] \"GET / HTTP/1.1\" 499 0",
    );
    assert_eq!(record.access().unwrap().client, "2001:db8::1");
    assert_eq!(record.severity, Severity::Warning);
}

#[test]
fn requests_named_by_records() {
    let all = [
        (
            "2026-11-20 12:53:05,783 ERROR [app] [1] Exception on /api/cart [POST]\nTraceback",
            Some("POST"),
            Some("/api/cart"),
        ),
        (
            "ERROR 2026-11-20 13:22:06,336 log 2 1 Internal Server Error: /api/products",
            None,
            Some("/api/products"),
        ),
        (
            "WARNING 2026-11-20 13:22:06,336 log 2 1 Method Not Allowed (POST): /x",
            Some("POST"),
            Some("/x"),
        ),
        (
            "[2024-01-09 13:24:39 +0000] [7] [ERROR] Error handling request /slow\nTraceback",
            None,
            Some("/slow"),
        ),
        ("{\"message\": \"Exception on /a [GET]\", \"level\": \"error\"}", Some("GET"), Some("/a")),
        (
            "{\"message\": \"m\", \"path\": \"/b\", \"method\": \"PUT\", \"request_id\": \"r1\"}",
            Some("PUT"),
            Some("/b"),
        ),
    ];
    for (text, method, endpoint) in all {
        let record = parse(text);
        let logger = record.logger().unwrap();
        assert_eq!((logger.method, logger.endpoint), (method, endpoint), "{text}");
    }
}

/// What a runtime prints past the logger is a record of its own, and stays together.
#[test]
fn crashes_stand_apart() {
    let node = "{\"level\":30,\"time\":1795291889594,\"msg\":\"SIGTERM received\"}\nnode:internal/modules/cjs/loader:1210\n  throw err;\n  ^\n\nError: Cannot find module 'x'\n";
    assert_eq!(
        records(Kind::Json, node),
        [
            "{\"level\":30,\"time\":1795291889594,\"msg\":\"SIGTERM received\"}",
            "node:internal/modules/cjs/loader:1210\n  throw err;\n  ^\n\nError: Cannot find module 'x'",
        ]
    );
    let heap = "2026-11-16T05:29:58.939Z [INFO] heap 8 MB\n\n<--- Last few GCs --->\nFATAL ERROR: Reached heap limit\n";
    assert_eq!(
        records(Kind::Python, heap),
        [
            "2026-11-16T05:29:58.939Z [INFO] heap 8 MB",
            "<--- Last few GCs --->",
            "FATAL ERROR: Reached heap limit",
        ]
    );
    // An error's own text goes on.
    let error = "2026-11-16 05:29:58,939 ERROR [app] failed\nTypeError: x\n";
    assert_eq!(records(Kind::Python, error), [error.trim_end()]);
    let go = "2026/11/24 02:34:41 http: panic serving 1.2.3.4:5: nil map\ngoroutine 22 [running]:\nmain.f()\n\t/srv/a.go:4\n2026/11/24 02:34:42 next\n";
    assert_eq!(
        records(Kind::Python, go),
        [
            "2026/11/24 02:34:41 http: panic serving 1.2.3.4:5: nil map\ngoroutine 22 [running]:\nmain.f()\n\t/srv/a.go:4",
            "2026/11/24 02:34:42 next",
        ]
    );
}

fn records(kind: Kind, text: &str) -> Vec<String> {
    let mut joiner = Joiner::new(Parser::new(kind, UTC));
    let mut records = Vec::new();
    let mut emit = |record: &Record<'_>| records.push(record.text.to_string());
    for (line, number) in text.lines().zip(1..) {
        joiner.push(line.as_bytes(), number, &mut emit);
    }
    joiner.flush(&mut emit);
    records
}

#[test]
fn requests_are_read_from_objects() {
    let ecs = r#"{"@timestamp":"2026-11-19T11:00:08+00:00","client":{"ip":"198.51.100.18"},"http":{"request":{"method":"POST","path":"/entries"},"response":{"status_code":"409","bytes":"10"}},"nginx":{"rt":"0.054"},"user_agent":"curl/8"}"#;
    let caddy = r#"{"level":"info","ts":1795080000.1,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"198.51.100.18","method":"POST","uri":"/entries"},"duration":0.054,"size":10,"status":409}"#;
    let pino = r#"{"level":30,"time":1795080000100,"req":{"id":7,"method":"POST","url":"/entries","remoteAddress":"198.51.100.18"},"res":{"statusCode":409},"responseTime":54,"msg":"request completed"}"#;
    for text in [ecs, caddy, pino] {
        let record = Parser::new(Kind::Json, Zone::Local).parse(text, 1);
        let access = record.access().unwrap_or_else(|| panic!("no access: {text}"));
        assert_eq!(
            (access.client, access.method, access.path(), access.status),
            ("198.51.100.18", "POST", "/entries", 409)
        );
        assert!(record.at.is_some());
    }
    // What an error is told with is no request that was answered.
    let error = r#"{"level":50,"time":1795080000100,"req":{"method":"GET","url":"/api/search?q=sock"},"err":{"message":"getaddrinfo ENOTFOUND search-01"},"msg":"search failed"}"#;
    let record = Parser::new(Kind::Json, Zone::Local).parse(error, 1);
    assert!(record.access().is_none());
    assert_eq!(record.logger().unwrap().endpoint, Some("/api/search?q=sock"));
    // Objects without end are opened three deep.
    let deep = format!("{}{}", r#"{"http":"#.repeat(20_000), "}".repeat(20_000));
    assert!(Parser::new(Kind::Json, Zone::Local).parse(&deep, 1).access().is_none());
}

#[test]
fn json_is_unescaped() {
    let record = parse(
        "{\"msg\": \"größe \\\"x\\\"\", \"exc_info\": \"Traceback (most recent call last):\\n  File\\nValueError: x\", \"error\": {\"type\": \"ValueError\", \"n\": 5}}",
    );
    assert_eq!(record.severity, Severity::Error);
    assert_eq!(
        record.message(),
        "größe \"x\"\nTraceback (most recent call last):\n  File\nValueError: x\nValueError"
    );
    // not an object after all, or nested too deep: still a record
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    for text in ["{\"a\": 1", "{\"a\"}", "{}", deep.as_str()] {
        assert_eq!(parse(text).text, text);
    }
}

fn joined(kind: Kind, lines: &[&str]) -> Vec<(u64, Kind, Severity, String)> {
    let mut joiner = Joiner::new(Parser::new(kind, UTC));
    let mut seen = Vec::new();
    let mut keep = |record: &Record<'_>| {
        seen.push((record.line, record.said_kind(), record.severity, record.text.to_string()));
    };
    for (line, number) in lines.iter().zip(1..) {
        joiner.push(line.as_bytes(), number, &mut keep);
    }
    joiner.flush(&mut keep);
    seen
}

#[test]
fn chained_tracebacks_are_one_record() {
    let lines = [
        "ERROR 2026-11-20 13:22:06,336 log 21131 140426819551936 Internal Server Error: /api/products",
        "Traceback (most recent call last):",
        "  File \"/v/db/backends/utils.py\", line 105, in _execute",
        "           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
        "psycopg2.errors.UndefinedTable: relation \"shop_product\" does not exist",
        "LINE 1: ...id\" AS \"id\", \"shop_product\".\"name\" AS \"name\" FROM \"shop_prod...",
        "                                                             ^",
        "",
        "",
        "The above exception was the direct cause of the following exception:",
        "",
        "Traceback (most recent call last):",
        "  File \"x\", line 1",
        "django.db.utils.ProgrammingError: relation \"shop_product\" does not exist",
        "",
    ];
    for kind in [Kind::Python, Kind::Gunicorn, Kind::NginxError] {
        let records = joined(kind, &lines);
        assert_eq!(records.len(), 1, "{records:#?}");
        assert!(records[0].3.ends_with("does not exist"));
    }
}

#[test]
fn a_traceback_is_apart_from_mere_information() {
    let lines = [
        "[2026-11-20 12:53:02 +0000] [2968] [INFO] Booting worker with pid: 2968",
        "Traceback (most recent call last):",
        "  File \"x\", line 1",
        "ModuleNotFoundError: No module named 'shop'",
        "[2026-11-20 12:53:02 +0000] [2968] [INFO] Worker exiting (pid: 2968)",
    ];
    let records = joined(Kind::Gunicorn, &lines);
    let heads: Vec<_> = records.iter().map(|(line, _, severity, _)| (*line, *severity)).collect();
    assert_eq!(heads, [(1, Severity::Info), (2, Severity::Error), (5, Severity::Info)]);
}

#[test]
fn container_prefixes_are_taken_off() {
    let compose = [
        "web-1  | [2026-11-20 12:53:02 +0000] [1] [ERROR] Exception in worker process",
        "web-1  | Traceback (most recent call last):",
        "web-1  |   File \"x\", line 1",
        "web-1  | KeyError: 'A'",
    ];
    let docker = [
        "2026-11-20T12:53:02.123456789Z ERROR:    Exception in ASGI application",
        "2026-11-20T12:53:02.123456790Z Traceback (most recent call last):",
        "2026-11-20T12:53:02.123456791Z KeyError: 'A'",
    ];
    let json = [
        "{\"log\":\"[2026-11-20 12:53:02 +0000] [1] [ERROR] x\\n\",\"stream\":\"stderr\",\"time\":\"2026-11-20T12:53:02.1Z\"}",
        "{\"log\":\"KeyError: 'A'\\n\",\"stream\":\"stderr\",\"time\":\"2026-11-20T12:53:02.1Z\"}",
    ];
    for lines in [&compose[..], &docker, &json] {
        let kind = detect("", lines.join("\n").as_bytes());
        let records = joined(kind, lines);
        assert_eq!(records.len(), 1, "{records:#?}");
        assert!(records[0].3.ends_with("KeyError: 'A'"));
    }
}

#[test]
fn journal_entries_are_joined_by_stream() {
    let entry = |pid: u32, time: u64, message: &str| {
        format!(
            "{{\"__CURSOR\":\"c\",\"__REALTIME_TIMESTAMP\":\"{time}\",\"_TRANSPORT\":\"stdout\",\"PRIORITY\":\"6\",\"_PID\":\"{pid}\",\"_STREAM_ID\":\"s{pid}\",\"_SYSTEMD_UNIT\":\"lux.service\",\"MESSAGE\":{message}}}"
        )
    };
    let at = 1_795_179_191_768_310;
    let lines = [
        entry(1, at, "\"2026-11-20 12:53:11,768 ERROR [app] [1] Exception on /x [GET]\""),
        entry(2, at, "\"[2026-11-20 12:53:11 +0000] [2] [INFO] Booting\""),
        entry(1, at, "\"Traceback (most recent call last):\""),
        entry(1, at, "[32,32,70,105,108,101,27]"),
        entry(1, at + 900, "\"KeyError: 'A'\""),
        entry(1, at + 2000, "\"a print\""),
        entry(1, at + 3_000_000, "null"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(detect("x.log", lines.join("\n").as_bytes()), Kind::Journal);
    let mut records = joined(Kind::Journal, &lines);
    records.sort_by_key(|record| record.0);
    let heads: Vec<_> =
        records.iter().map(|(line, kind, severity, _)| (*line, *kind, *severity)).collect();
    assert_eq!(
        heads,
        [
            (1, Kind::Python, Severity::Error),
            (2, Kind::Gunicorn, Severity::Info),
            (6, Kind::Journal, Severity::Info),
        ]
    );
    assert!(
        records[0].3.ends_with("[GET]\nTraceback (most recent call last):\n  File\nKeyError: 'A'")
    );
}

#[test]
fn units_cannot_be_forged() {
    let line = |uid: u32| {
        format!(
            "{{\"UNIT\":\"nginx.service\",\"_UID\":\"{uid}\",\"_SYSTEMD_UNIT\":\"evil.service\",\"MESSAGE\":\"x\",\"PRIORITY\":\"3\"}}"
        )
    };
    for (uid, unit) in [(0, "nginx.service"), (1000, "evil.service")] {
        let entry = Entry::from_json(line(uid).as_bytes(), 1).unwrap();
        let record = Parser::new(Kind::Journal, UTC).entry(&entry, "x", Vec::new());
        assert_eq!(record.journal().unwrap().unit, Some(unit));
        assert_eq!(record.severity, Severity::Error);
    }
}

#[test]
fn exports_are_read() {
    let mut bytes = b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1795179191768310\n_TRANSPORT=journal\nPRIORITY=4\nSYSLOG_IDENTIFIER=systemd\nMESSAGE=one=1\n\n\n__CURSOR=s=2\nMESSAGE\n".to_vec();
    bytes.extend_from_slice(&10_u64.to_le_bytes());
    bytes.extend_from_slice(b"two\nthree!\n_PID=7\n\n__CURSOR=s=3\nMESSAGE=cut");
    let mut export = Export::new(&bytes[..]);
    let mut seen = Vec::new();
    while let Some(entry) = export.next().unwrap() {
        seen.push((entry.line, entry.message));
    }
    let lines = bytes.split(|byte| *byte == b'\n').collect::<Vec<_>>();
    assert_eq!(seen[0], (6, "one=1".to_owned()));
    assert_eq!(seen[1].1, "two\nthree!");
    // the eight bytes of length hold a line end themselves
    assert!(lines[usize::try_from(seen[1].0).unwrap() - 1].ends_with(b"two"));
    assert_eq!(seen[2].1, "cut");
}

#[test]
fn kinds_are_found_out() {
    let all = [
        ("error.log", "2026/11/20 12:48:26 [error] 1122#1122: *60 x\n", Kind::NginxError),
        (
            "x",
            "1.1.1.1 - - [20/Nov/2026:12:53:11 +0000] \"GET / HTTP/1.1\" 200 1\n",
            Kind::NginxAccess,
        ),
        ("x", "hello\nworld\n", Kind::Plain),
        ("nginx/error.log", "", Kind::NginxError),
        ("journal.txt", "-- No entries --\n", Kind::Journal),
        ("x", "__CURSOR=a\n", Kind::Journal),
        ("x", "{\"level\":\"info\"}\n", Kind::Json),
        ("x", "2026-11-20 13:23:35.530 UTC [17038] LOG:  x\n", Kind::Postgres),
        ("kern.log", "Nov 20 12:00:00 host kernel: [    1.000000] x\n", Kind::Journal),
    ];
    for (name, head, kind) in all {
        assert_eq!(detect(name, head.as_bytes()), kind, "{name} {head}");
    }
}
