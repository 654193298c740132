use proptest::prelude::*;

use super::*;
use crate::{clock, errors::NewEvent};

fn of(error_type: &str, message: &str, stack: Option<&str>) -> Fingerprint {
    let event = NewEvent {
        error_type: error_type.into(),
        error_message: message.into(),
        error_stack: stack.map(str::to_owned),
        endpoint: Some("/api/orders?page=2".into()),
        method: Some("post".into()),
        ..NewEvent::default()
    };
    Fingerprint::of(&event.fit(clock::now()))
}

/// A Flask application's traceback with everything that varies as a parameter.
fn flask(root: &str, venv: &str, python: &str, line: u32, message: &str) -> String {
    format!(
        "Traceback (most recent call last):\n  \
           File \"{venv}/lib/{python}/site-packages/flask/app.py\", line {line}, in wsgi_app\n    \
             response = self.full_dispatch_request()\n               \
             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n  \
           File \"{root}/orders/views.py\", line {line}, in create\n    \
             return price(order)\n  \
           File \"{root}/orders/pricing.py\", line {}, in price\n    \
             return TABLE[currency]\n           ~~~~~^^^^^^^^^^\n\
         KeyError: {message}\n",
        line + 7
    )
}

#[test]
fn what_varies_between_hosts_and_releases_does_not_count() {
    let first = of(
        "KeyError",
        "'GBP'",
        Some(&flask("/srv/shop", "/srv/shop/venv", "python3.11", 10, "'GBP'")),
    );
    assert_eq!(first.title, "KeyError: 'GBP'");
    assert_eq!(first.culprit.as_deref(), Some("orders/pricing.py in price"));
    for (root, venv, python) in [
        ("/srv/shop/releases/20260131120000", "/srv/shop/shared/.venv", "python3.12"),
        ("/srv/shop/current", "/opt/venvs/shop-3f2a", "python3.13"),
        ("/home/deploy/shop", "/home/deploy/.virtualenvs/shop", "python3.11"),
        ("/var/www/shop", "/var/www/shop/env", "python3.11"),
        ("/app", "/usr/local", "python3.11"),
        ("/opt/shop/releases/v1.2.3", "/opt/shop/venv", "python3.9"),
    ] {
        let other = of("KeyError", "'USD'", Some(&flask(root, venv, python, 99, "'USD'")));
        assert_eq!(other.value, first.value, "{root} {venv}");
    }
}

#[test]
fn different_bugs_differ() {
    let stack = flask("/srv/shop", "/srv/shop/venv", "python3.11", 10, "'GBP'");
    let other_function = stack.replace("in price", "in discount");
    let other_file = stack.replace("orders/views.py", "users/views.py");
    let other_type = stack.replace("KeyError:", "ValueError:");
    let shorter: String =
        stack.replace("  File \"/srv/shop/orders/pricing.py\", line 17, in price\n", "");
    let mut seen = std::collections::BTreeSet::new();
    for stack in [&stack, &other_function, &other_file, &other_type, &shorter] {
        assert!(seen.insert(of("KeyError", "x", Some(stack)).value), "{stack}");
    }
}

#[test]
fn one_call_that_fails_for_two_reasons_is_two_errors() {
    let stack = |message: &str| {
        format!(
            "Traceback (most recent call last):\n  File \"/var/www/lux/app/app.py\", line 43, in db\n\
             psycopg2.OperationalError: connection to server at \"127.0.0.1\", port 5432 failed: {message}\n"
        )
    };
    let of = |message| of("OperationalError", "m", Some(&stack(message)));
    let password = of("FATAL:  password authentication failed for user \"lux\"");
    let missing = of("FATAL:  database \"lux_prod\" does not exist");
    assert_ne!(password.value, missing.value);
    assert_ne!(password.cause_key, missing.cause_key);
    assert_eq!(password.value, of("FATAL:  password authentication failed for user \"lux\"").value);
}

#[test]
fn the_same_cause_under_two_endpoints_shares_its_key() {
    let stack = |function: &str| {
        format!(
            "Traceback (most recent call last):\n  File \"/srv/shop/app.py\", line 4, in {function}\n  \
             File \"/srv/shop/app.py\", line 43, in db\n\
             psycopg2.OperationalError: connection to server at \"127.0.0.1\", port 5432 failed: Connection refused\n\
             \tIs the server running on that host and accepting TCP/IP connections?\n"
        )
    };
    let (users, orders) =
        (of("E", "m", Some(&stack("users"))), of("E", "m", Some(&stack("orders"))));
    assert_ne!(users.value, orders.value);
    assert_eq!(users.cause_key, orders.cause_key);
}

#[test]
fn a_crawler_finds_one_error() {
    let mut groups = std::collections::BTreeSet::new();
    for i in 0..5000 {
        let path = match i % 5 {
            0 => format!("/wp-content/plugins/p{i}/readme.txt"),
            1 => format!("/{i}.php?cmd={i}"),
            2 => format!("/.git/objects/{i:02x}/{}", "abcdef0".repeat(5)),
            3 => format!("/shop/%2e%2e/{i}/index.html#top"),
            _ => format!("/{}", ["admin", "login", "backup.zip", ".env", "phpmyadmin/"][i / 5 % 5]),
        };
        groups.insert(of("NotFound", &format!("Not Found: {path}"), None).value);
        groups.insert(
            of("NotFound", &format!("404 Not Found: GET http://shop.example{path}"), None).value,
        );
    }
    assert_eq!(groups.len(), 2, "one for each of the two wordings");
}

#[test]
fn messages_are_told_apart_by_their_words() {
    let of = |message: &str| of("RuntimeError", message, None);
    let first = of("order 17 of user 550e8400-e29b-41d4-a716-446655440000 at 10.0.0.1 failed");
    let second =
        of("order 9123 of user 7d444840-9dc0-11d1-b245-5ffdce74fad2 at 192.168.1.77 failed");
    assert_eq!(first.value, second.value);
    assert_ne!(first.value, of("order 17 was paid twice").value);
    assert_eq!(first.culprit.as_deref(), Some("POST /api/orders"));
    assert!(
        !first.title.contains("17"),
        "the title of many shows no one's number: {}",
        first.title
    );
}

#[test]
fn errors_of_loading_are_told_by_their_message() {
    let stack = |name: &str| {
        format!(
            "Traceback (most recent call last):\n  File \"/srv/shop/wsgi.py\", line 1, in <module>\n    \
             import {name}\nModuleNotFoundError: No module named '{name}'\n"
        )
    };
    let (one, two) =
        (of("E", "m", Some(&stack("psycopg2"))), of("E", "m", Some(&stack("flask_cors"))));
    assert_ne!(one.value, two.value);
}

#[test]
fn log_and_sdk_agree() {
    let stack = "Traceback (most recent call last):\n  File \"/srv/shop/app.py\", line 3, in f\n\
                 redis.exceptions.ConnectionError: Error 111 connecting to localhost:6379. Connection refused.\n";
    let from_log = of("redis.exceptions.ConnectionError", "Exception on /cart [GET]", Some(stack));
    let from_sdk = of("ConnectionError", "Error 111 connecting to localhost:6379.", Some(stack));
    assert_eq!(from_log.value, from_sdk.value);
    assert_eq!(from_log.cause_key, from_sdk.cause_key);
}

#[test]
fn what_the_build_names_does_not_count() {
    let stack = |function: &str, file: &str| {
        format!("TypeError: no\n    at {function} (https://shop.example/assets/{file}:3:4)")
    };
    let of = |function, file| {
        let event = NewEvent {
            error_type: "TypeError".into(),
            error_message: "no".into(),
            error_stack: Some(stack(function, file)),
            ..NewEvent::default()
        };
        let event = event.fit(clock::now());
        let value = Fingerprint::of(&event).value;
        let older = older(&event, &value);
        (value, older)
    };
    let (plain, none) = of("total", "index.js");
    assert_eq!(none, [""; 0], "version 1 makes the same of it");
    let (other, older) = of("Object.total", "index-DfGhJkLm.js");
    assert_eq!(other, plain);
    assert_eq!(older.len(), 1);
    assert_ne!(older[0], plain);
    assert_eq!(super::older(&NewEvent::default().fit(clock::now()), "custom:00"), [""; 0]);
}

#[test]
fn what_was_a_text_to_older_versions_leads_on() {
    let of = |line: u32, id: u32| {
        let stack = format!(
            "PHP Fatal error:  Uncaught PDOException: no order {id} in /srv/shop/db.php:{line}\nStack trace:\n#0 /srv/shop/index.php({line}): order()\n#1 {{main}}"
        );
        let event = NewEvent {
            error_type: "PDOException".into(),
            error_message: format!("no order {id}"),
            error_stack: Some(stack),
            ..NewEvent::default()
        };
        let event = event.fit(clock::now());
        let value = Fingerprint::of(&event);
        (older(&event, &value.value), value)
    };
    let (before, now) = of(3, 7);
    assert_eq!(now.culprit.as_deref(), Some("db.php in order"));
    assert_eq!(before.len(), 1, "versions 1 and 2 made the same of it");
    assert_ne!(before[0], now.value);
    assert_eq!(of(4, 8).1.value, now.value, "lines and ids do not count");
}

/// The fingerprints of version 1: a change here is a new version.
#[test]
fn fingerprints_are_stable() {
    let stack = flask("/srv/shop", "/srv/shop/venv", "python3.11", 10, "'GBP'");
    insta::assert_snapshot!(of("KeyError", "'GBP'", Some(&stack)).value);
    insta::assert_snapshot!(of("Timeout", "no answer from upstream", None).value);
}

proptest! {
    #[test]
    fn any_stack_is_taken(text in "(?s).{0,400}") {
        let first = of("E", &text, Some(&text));
        prop_assert_eq!(&first.value, &of("E", &text, Some(&text)).value);
        prop_assert!(first.title.len() <= MAX_TITLE);
    }

    #[test]
    fn stacks_made_of_their_parts_are_taken(
        lines in prop::collection::vec(prop_oneof![
            Just("Traceback (most recent call last):".to_owned()),
            Just("  + Exception Group Traceback (most recent call last):".to_owned()),
            Just("  +-+---------------- 1 ----------------".to_owned()),
            Just("    +------------------------------------".to_owned()),
            Just("The above exception was the direct cause of the following exception:".to_owned()),
            Just("  [Previous line repeated 962 more times]".to_owned()),
            "  File \"[a-z/.]{0,20}\", line [0-9]{1,4}, in [a-z_<>]{1,9}",
            "[A-Z][a-zA-Z.]{0,12}: [a-z ]{0,20}",
            "   at [a-zA-Z.$]{1,20}\\([A-Za-z]{1,8}.java:[0-9]{1,3}\\)",
            "    at [a-z]{1,6} \\(/[a-z/]{1,12}.js:[0-9]{1,3}:[0-9]{1,3}\\)",
            Just(String::new()),
        ], 0..60)
    ) {
        let text = lines.join("\n");
        let trace = Trace::parse(&text);
        if let Some(trace) = trace {
            prop_assert!(trace.exceptions.iter().all(|exception| exception.frames.len() <= 50));
        }
        of("E", "m", Some(&text));
    }

    #[test]
    fn numbers_ids_and_lines_never_count(
        n in 1_u64..1_000_000_000, m in 1_u64..1_000_000_000, line in 1_u32..99_999, id in any::<u128>(),
    ) {
        let message = |n: u64| format!("row {n} of {} took {n} ms from 10.1.{}.{}",
            uuid::Uuid::from_u128(id.wrapping_mul(u128::from(n))), n % 256, n % 199);
        prop_assert_eq!(of("E", &message(n), None).value, of("E", &message(m), None).value);
        let stack = |line| flask("/srv/shop", "/srv/shop/venv", "python3.11", line, &format!("{n}"));
        prop_assert_eq!(
            of("KeyError", "k", Some(&stack(line))).value,
            of("KeyError", "k", Some(&stack(line / 2 + 1))).value
        );
    }

    #[test]
    fn the_depth_of_a_recursion_never_counts(a in 1_usize..400, b in 1_usize..400) {
        let stack = |depth: usize| {
            let pair = "  File \"/srv/shop/tree.py\", line 4, in walk\n    visit(n)\n  \
                        File \"/srv/shop/tree.py\", line 9, in visit\n    walk(n)\n";
            format!("Traceback (most recent call last):\n{}  [Previous line repeated {depth} more times]\n\
                     RecursionError: maximum recursion depth exceeded\n", pair.repeat(depth))
        };
        prop_assert_eq!(
            of("RecursionError", "m", Some(&stack(a))).value,
            of("RecursionError", "m", Some(&stack(b))).value
        );
    }
}
