use super::*;

/// (text, what must not be left of it)
const LEAKS: &[(&str, &str)] = &[
    // Addresses with passwords.
    ("could not connect to postgres://shop:s3cr3t-pw@db.internal:5432/shop", "s3cr3t-pw"),
    ("redis://:hunter2x@127.0.0.1:6379/0 refused", "hunter2x"),
    ("amqp://guest:p%40ss@mq/vhost", "p%40ss"),
    ("clone https://oauth2:abcDEF123456@git.example.com/x.git failed", "abcDEF123456"),
    ("mysql+pymysql://root:toor99@localhost/db", "toor99"),
    ("mongodb+srv://ann:p:w@cluster0.example.net", "p:w@"),
    (
        "SENTRY_DSN=https://0123456789abcdef:fedcba9876543210@o1.ingest.example.io/42",
        "fedcba9876543210",
    ),
    ("'DATABASE_URL': 'postgres://u:qwertz77@h/d'", "qwertz77"),
    // Headers.
    ("Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
    ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ("{'Authorization': 'Bearer tok_123456789'}", "tok_123456789"),
    (r#"{"authorization":"Token 9944b09199c62bcf9418"}"#, "9944b09199c62bcf9418"),
    (r#"{\"Authorization\": \"Bearer zzz-9988-yyy\"}"#, "zzz-9988-yyy"),
    ("curl -H 'Authorization: Bearer qqq111www222' https://x", "qqq111www222"),
    ("Proxy-Authorization: Basic cHJveHk6cHJveHk=", "cHJveHk6cHJveHk"),
    ("sent Bearer eyabc123DEF456ghi789 to upstream", "eyabc123DEF456ghi789"),
    ("Cookie: sessionid=38afes7a8; csrftoken=u32t4o3tb3gg43", "38afes7a8"),
    ("Cookie: sessionid=38afes7a8; csrftoken=u32t4o3tb3gg43", "u32t4o3tb3gg43"),
    ("Set-Cookie: session=eyJfcGVybWFuZW50.Zk.abc; Path=/", "eyJfcGVybWFuZW50"),
    ("{'Cookie': 'auth=9f8e7d6c5b; theme=dark'}", "9f8e7d6c5b"),
    ("X-Api-Key: 5f4dcc3b5aa765d61d83", "5f4dcc3b5aa765d61d83"),
    ("'x-goog-auth-token': 'AbC-123-xYz'", "AbC-123-xYz"),
    // Names and values.
    ("password=hunter2", "hunter2"),
    ("PASSWORD='correct horse battery'", "correct horse battery"),
    ("password: Sommer2024!", "Sommer2024!"),
    ("\"password\": \"hunter2\"", "hunter2"),
    ("{\"user\": \"ann\", \"passwd\": \"abc123xyz\"}", "abc123xyz"),
    ("{'db_password': 'pa ss wd'}", "pa ss wd"),
    ("{\\\"api_key\\\": \\\"k-778899\\\"}", "k-778899"),
    ("POSTGRES_PASSWORD=geheim99", "geheim99"),
    ("client_secret=1f2e3d4c-0000-4444-8888-abcdefabcdef", "1f2e3d4c"),
    ("SECRET_KEY = 'django-insecure-^x&2(ab)c=d'", "django-insecure"),
    ("access_token=ya-7788-abc&expires=10", "ya-7788-abc"),
    ("GET /reset?token=8c1d2e3f4a5b HTTP/1.1", "8c1d2e3f4a5b"),
    ("GET /cb?code=4/0AX4XfWjE9pQrStUv&state=xyz HTTP/1.1", "4/0AX4XfWjE9pQrStUv"),
    ("refresh_token: 1//0gabcDEF123", "1//0gabcDEF123"),
    ("connection failed: host=db user=shop password=tiger7 dbname=shop", "tiger7"),
    ("Server=db;User Id=sa;Password=Str0ng!Pass;", "Str0ng!Pass"),
    ("AccountName=x;AccountKey=abcdEFGH0123456789+/==;EndpointSuffix=core", "abcdEFGH0123456789"),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI"),
    ("the password is Tr0ub4dor&3", "Tr0ub4dor&3"),
    ("mysqldump --password=abc!def shop", "abc!def"),
    ("sshpass -p letmein99 ssh host", "letmein99"),
    ("curl -s -u ann:pw12345 https://x", "pw12345"),
    ("alter role shop with password 'n3w-pw'", "n3w-pw"),
    ("create user x identified by 'maria9'", "maria9"),
    ("otp=493021", "493021"),
    ("csrfmiddlewaretoken=Zk3jH8sLq0", "Zk3jH8sLq0"),
    ("ZAPIER_PASSWORD=zap!zap1", "zap!zap1"),
    ("api-key: 7f7f-2b2b-9c9c", "7f7f-2b2b-9c9c"),
    ("token => 'abc.def.987'", "abc.def.987"),
    ("password=b'byte5tring'", "byte5tring"),
    ("encryption_key: \"q8w7e6r5\"", "q8w7e6r5"),
    ("redirect?access_token%3Dabc999xyz", "abc999xyz"),
    // Keys that show whose they are.
    (
        "Incorrect API key provided: sk-proj-abcDEF0123456789abcDEF.",
        "sk-proj-abcDEF0123456789abcDEF",
    ),
    ("key sk-abcdefghijklmnopqrstuvwxyz012345 is wrong", "sk-abcdefghijklmnopqrstuvwxyz012345"),
    ("Incorrect API key provided: sk-abcd***********wxyz", "wxyz"),
    ("sk-ant-api03-AAAAbbbbCCCCdddd1111", "sk-ant-api03-AAAAbbbbCCCCdddd1111"),
    ("stripe sk_live_51H8abcDEFghi", "sk_live_51H8abcDEFghi"),
    ("ghp_0123456789abcdefABCDEF0123456789abcd", "ghp_0123456789abcdef"),
    ("glpat-AbCdEf0123456789xyzA", "glpat-AbCdEf0123456789xyzA"),
    ("xoxb-123456789012-abcdefABCDEF", "xoxb-123456789012"),
    ("AIzaSyA0123456789abcdefghijklmnopqrstuv", "AIzaSyA0123456789"),
    ("SG.abcdefghijklmnop.qrstuvwxyzABCDEFGHIJKL", "SG.abcdefghijklmnop"),
    ("AKIAIOSFODNN7EXAMPLE was denied", "AKIAIOSFODNN7EXAMPLE"),
    ("npm_abcdefghijklmnopqrstuvwxyzABCDEF0123", "npm_abcdefghij"),
    ("lux_abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG", "lux_abcdefghij"),
    ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N", "eyJzdWIi"),
    ("POST https://hooks.slack.com/services/T000/B000/XXXXabcd1234", "XXXXabcd1234"),
    ("https://hooks.zapier.com/hooks/catch/12345/abcdef/", "catch/12345/abcdef"),
    (
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabcdef\n-----END RSA PRIVATE KEY-----",
        "MIIEpAIBAAKCAQEA",
    ),
    ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA", "b3BlbnNzaC1rZXktdjEA"),
    ("card 4111 1111 1111 1111 declined", "1111 1111"),
    ("card=5555555555554444", "5555555555554444"),
    ("amex 3782-822463-10005", "822463"),
    ("PGPASSWORD=qwErtz77 psql -h db", "qwErtz77"),
    ("SIGNER_KEY=q1W2e3R4t5Z6u7I8o9P0aSdF", "q1W2e3R4t5"),
    ("key-0123456789abcdef0123456789abcdef", "0123456789abcdef"),
    ("https://0123456789abcdef0123456789abcdef@o1.ingest.example.io/2", "0123456789abcdef"),
];

const HARMLESS: &[&str] = &[
    "commit 3f786850e387550fdab836ed7e6dc881de23001b by ann",
    "request 550e8400-e29b-41d4-a716-446655440000 took 12 ms",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "password authentication failed for user \"shop\"",
    "FATAL:  password authentication failed for user \"lux\"",
    "fe_sendauth: no password supplied",
    "KeyError: 'password'",
    "the token is expired",
    "invalid token: expected ')'",
    "SyntaxError: Unexpected token < in JSON at position 0",
    "CSRF token missing or incorrect.",
    "The CSRF token is missing.",
    "secret=None",
    "password=null&token=",
    "password: str",
    "api_key: Optional[str] = None",
    "Missing credentials. Please pass an `api_key`, or set the `OPENAI_API_KEY` environment variable.",
    "token = os.environ['TOKEN']",
    "password=****",
    "Authorization header is missing",
    "Basic authentication required",
    "basic usage: see the manual",
    "Bearer of bad news",
    "2026/01/31 12:00:00 [error] 12#12: *3 connect() failed (111: Connection refused) while connecting to upstream",
    "127.0.0.1 - - [31/Jan/2026:12:00:00 +0000] \"GET /keys/4 HTTP/1.1\" 200 12",
    "File \"/srv/shop/app.py\", line 10, in checkout",
    "http://127.0.0.1:8000/checkout",
    "postgres://db.internal:5432/shop",
    "sqlite:///var/lib/lux/lux.db",
    "order 1234567890123456 not found",
    "timestamp 1769860800123456",
    "elapsed 4111.1111 seconds at 1111:1111",
    "duplicate key value violates unique constraint \"users_email_key\"",
    "DETAIL:  Key (user_id)=(99) is not present in table \"users\".",
    "redis.exceptions.ConnectionError: Error 111 connecting to localhost:6379. Connection refused.",
    "max_tokens=4096 temperature=0.2",
    "openai.RateLimitError: Error code: 429 - You exceeded your current quota",
    "primary key: id",
    "cookie policy updated",
    "session closed for user root",
    "pam_unix(sshd:session): session opened for user ann(uid=1000)",
    "author: Ann Other",
    "passing 3 arguments, bypass=1",
    "sk-learn 1.4 is not installed",
    "task-queue: monkey=7",
    "10.0.0.1:443 upstream timed out (110: Connection timed out)",
    "[2026-01-31 12:00:00 +0000] [1637] [CRITICAL] WORKER TIMEOUT (pid:7214)",
    "version 4.5.10.2026-build.4111",
];

#[test]
fn secrets_are_struck_out() {
    let mut left = Vec::new();
    for (text, secret) in LEAKS {
        assert!(text.contains(secret), "{text}");
        let struck = secrets(text);
        if struck.contains(secret) || !struck.contains("[redacted]") {
            left.push(format!("{text}\n    {struck}"));
        }
    }
    assert!(left.is_empty(), "{} of {} leak:\n{}", left.len(), LEAKS.len(), left.join("\n"));
    assert!(LEAKS.len() >= 60);
}

#[test]
fn harmless_text_stays() {
    let mut eaten = Vec::new();
    for text in HARMLESS {
        if let Cow::Owned(struck) = secrets(text) {
            eaten.push(format!("{text}\n    {struck}"));
        }
    }
    assert!(eaten.is_empty(), "{} of {}:\n{}", eaten.len(), HARMLESS.len(), eaten.join("\n"));
    assert!(HARMLESS.len() >= 40);
}

#[test]
fn striking_twice_changes_nothing_more() {
    for (text, _) in LEAKS {
        let once = secrets(text).into_owned();
        assert_eq!(secrets(&once), once);
    }
}

#[test]
fn what_surrounds_a_secret_stays() {
    let text = "connect to postgres://shop:s3cr3t@db:5432/shop failed";
    assert_eq!(secrets(text), "connect to postgres://shop:[redacted]@db:5432/shop failed");
    let text = r#"{"user": "ann", "password": "p,w", "plan": "gold"}"#;
    assert_eq!(secrets(text), r#"{"user": "ann", "password": "[redacted]", "plan": "gold"}"#);
}

#[test]
fn every_rule_compiles() {
    let rules = RULES.len() + PERSONAL.len() + 1;
    assert_eq!(COMPILED.rules.len(), rules);
    for ready in &COMPILED.rules {
        assert!(!ready.pattern().as_str().is_empty());
    }
    assert!(rules < 64, "the set of rules is a u64");
}

#[test]
fn equal_values_have_equal_placeholders() {
    let mut redactor = Redactor::default();
    let text = "ann@example.com wrote to bob@example.com, ann@example.com: password=hunter2";
    let hidden = redactor.hide(text);
    assert_eq!(hidden, "‹email-1› wrote to ‹email-2›, ‹email-1›: password=‹secret-1›");
    assert_eq!(redactor.hide("again bob@example.com"), "again ‹email-2›");
    let shown = redactor.reveal("tell ‹email-2› that ‹secret-1› and ‹email-9› ‹");
    assert_eq!(shown, "tell bob@example.com that ‹secret-1› and ‹email-9› ‹");
    let ibans = redactor.hide("pay DE89 3704 0044 0532 0130 00 or call +49 30 901820");
    assert_eq!(ibans, "pay ‹iban-1› or call ‹phone-1›");
}

proptest::proptest! {
    #[test]
    fn any_text_is_taken(text in ".{0,300}") {
        let struck = secrets(&text);
        proptest::prop_assert_eq!(secrets(&struck).into_owned(), struck.clone().into_owned());
        let mut redactor = Redactor::default();
        redactor.hide(&text);
    }

    #[test]
    fn a_password_of_any_letters_is_struck_out(password in "[A-Za-z0-9!#$%*+]{8,40}") {
        let bare = password.trim_start_matches(['$', '%', '*']);
        proptest::prop_assume!(bare.len() == password.len());
        for text in [
            format!("password={password}"),
            format!("{{\"password\": \"{password}\"}}"),
            format!("{{'DB_PASSWORD': '{password}'}}"),
            format!("postgres://shop:{password}@db/shop"),
        ] {
            let struck = secrets(&text).into_owned();
            proptest::prop_assert!(!struck.contains(&password), "{} → {}", text, struck);
        }
    }
}
