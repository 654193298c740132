//! What becomes of events, without a server: real ones of the SDKs, and odd ones.

use serde_json::{Value, json};

use super::event::{Read, Sender, read};
use crate::{
    apps::Scrub,
    clock,
    errors::{Fingerprint, NewEvent, detail::Detail},
    logs::Severity,
};

fn sent(event: &Value) -> Read {
    let sender = Sender {
        app: "shop",
        scrub: &Scrub::default(),
        address: Some([203, 0, 113, 9].into()),
        event_id: None,
    };
    read(event.to_string().as_bytes(), &sender).unwrap()
}

fn detail(read: &Read) -> Detail<'static> {
    Detail::unpack(read.event.detail.as_deref().unwrap()).unwrap()
}

/// What the SDK sent and what the program printed of the same error.
#[track_caller]
fn are_one(pairs: &str) {
    let pairs: Value = serde_json::from_str(pairs).unwrap();
    for (name, pair) in pairs.as_object().unwrap() {
        let sdk = sent(&pair["event"]).event;
        let stack = sdk.error_stack.clone().unwrap();
        let printed = NewEvent {
            error_type: sdk.error_type.clone(),
            error_message: sdk.error_message.clone(),
            error_stack: Some(pair["traceback"].as_str().unwrap().to_owned()),
            ..NewEvent::default()
        };
        let now = clock::now();
        let sdk = Fingerprint::of(&sdk.check(now).unwrap());
        let printed = Fingerprint::of(&printed.check(now).unwrap());
        assert_eq!(sdk, printed, "{name}: rendered as\n{stack}");
    }
}

#[test]
fn an_error_of_the_sdk_and_its_traceback_are_one() {
    are_one(include_str!("../../../tests/sentry/python.json"));
    are_one(include_str!("../../../tests/sentry/node.json"));
}

#[test]
fn no_type_of_any_field_loses_an_event() {
    let whole = json!({
        "event_id": "9ec79c33ec9942ab8353589fcb2e04dc",
        "timestamp": 1_769_860_800.5,
        "level": "fatal",
        "platform": "python",
        "logger": "shop.cart",
        "transaction": "POST /checkout/{id}",
        "server_name": "web-1",
        "release": "shop@1",
        "dist": "7",
        "environment": "production",
        "message": "m",
        "logentry": { "message": "order %s of %d", "params": ["a", 7] },
        "exception": { "values": [{
            "type": "KeyError", "value": "'price'", "module": "shop",
            "mechanism": { "type": "flask", "handled": false, "data": { "a": 1 } },
            "stacktrace": { "frames": [{
                "function": "total", "filename": "cart.py", "abs_path": "/srv/shop/cart.py",
                "lineno": 7, "colno": 1, "in_app": true, "module": "cart",
                "pre_context": ["a"], "context_line": "b", "post_context": ["c"],
                "vars": { "x": "1" },
            }] },
        }] },
        "request": {
            "url": "https://shop.example/checkout/7?a=1", "method": "POST",
            "headers": { "Host": "shop.example" }, "query_string": "a=1", "data": { "b": 2 },
            "cookies": { "c": "d" }, "env": { "e": "f" },
        },
        "user": { "id": 7, "ip_address": "{{auto}}" },
        "tags": { "a": "b" },
        "extra": { "c": "d" },
        "contexts": { "trace": { "trace_id": "e" } },
        "breadcrumbs": { "values": [{ "message": "m", "category": "c", "data": {} }] },
        "fingerprint": ["{{ default }}", "x"],
        "modules": { "flask": "3" },
        "sdk": { "name": "sentry.python", "version": "2" },
    });
    let odd = [
        json!(null),
        json!(true),
        json!(-7),
        json!(1e300),
        json!("text"),
        json!(""),
        json!([]),
        json!({}),
        json!([null, 1, "x", [], {}]),
        json!({ "values": null }),
        json!({ "values": { "type": 5 } }),
        json!([["a", "b"], ["c"], [null, 1]]),
        json!({ "": null, "frames": "x", "a": [[[[[[[[1]]]]]]]] }),
    ];
    // Every value of the event, at any depth.
    let mut places = vec![String::new()];
    let mut at = 0;
    while at < places.len() {
        let place = places[at].clone();
        let inner = whole.pointer(&place).unwrap();
        if let Value::Object(fields) = inner {
            places.extend(fields.keys().map(|key| format!("{place}/{key}")));
        } else if let Value::Array(values) = inner {
            places.extend((0..values.len()).map(|n| format!("{place}/{n}")));
        }
        at += 1;
    }
    assert!(places.len() > 60, "{places:?}");
    for place in &places[1..] {
        for value in &odd {
            let mut event = whole.clone();
            *event.pointer_mut(place).unwrap() = value.clone();
            let read = sent(&event);
            let told = detail(&read);
            let checked = read.event.check(clock::now());
            let event = checked.unwrap_or_else(|why| panic!("{place} = {value}: {why}"));
            // What has nothing to do with the odd value is there.
            if !place.starts_with("/exception") {
                assert_eq!(event.error_message, "'price'", "{place} = {value}");
                assert!(event.error_stack.is_some(), "{place} = {value}");
                assert_eq!(told.exceptions.len(), 1, "{place} = {value}");
            }
            if !place.starts_with("/tags") {
                assert_eq!(event.tags["a"], "b", "{place} = {value}");
            }
            if !place.starts_with("/user") {
                assert_eq!(event.user_id.as_deref(), Some("7"), "{place} = {value}");
            }
        }
    }
}

#[test]
fn an_events_fields_are_read() {
    let read = sent(&json!({
        "timestamp": "2026-01-31T12:00:00.25Z", "level": "warning",
        "logentry": { "message": "order %s of %d: 100%", "params": ["a", 7] },
        "tags": [["request_id", "abc"], ["n", 5]], "release": 17,
        "request": { "url": "http://shop.example/cart?x=1", "method": "post",
            "headers": [["User-Agent", "curl/8"]] },
        "user": { "username": "ann", "ip_address": "{{auto}}" },
    }));
    let event = &read.event;
    assert_eq!(event.error_type, "Message");
    assert_eq!(event.error_message, "order a of 7: 100%");
    assert_eq!(event.severity, Some(Severity::Warning));
    assert_eq!(event.created_at.unwrap().timestamp_millis(), 1_769_860_800_250);
    assert_eq!(event.request_id.as_deref(), Some("abc"));
    assert_eq!((event.tags["n"].as_str(), event.release.as_deref()), ("5", Some("17")));
    assert_eq!(event.endpoint.as_deref(), Some("/cart"));
    assert_eq!(event.user_id.as_deref(), Some("ann"));
    assert_eq!(event.event_id.as_deref(), Some(read.id.as_str()));
    let told = detail(&read);
    assert_eq!(told.template.as_deref(), Some("order %s of %d: 100%"));
    assert_eq!(told.user.get("ip_address").unwrap().as_str(), Some("203.0.113.9"));

    let by_route = |transaction: &str| {
        let event = sent(&json!({ "transaction": transaction })).event;
        (event.method, event.endpoint)
    };
    let route = |method: Option<&str>, path: &str| (method.map(Into::into), Some(path.into()));
    assert_eq!(by_route("GET /orders/{id}"), route(Some("GET"), "/orders/{id}"));
    assert_eq!(by_route("/orders/:id"), route(None, "/orders/:id"));
    assert_eq!(by_route("orders.views.show"), (None, None));

    let probe = json!({ "request": { "headers": { "User-Agent": "Lux-Probe/0.1.0" } } });
    assert!(sent(&probe).event.is_of_probe());
    let probe = json!({ "request": { "headers": [["X-Lux-Probe", "1"]] } });
    assert!(sent(&probe).event.is_of_probe());
    let never = json!({ "user": { "ip_address": "{{auto}}" },
        "sdk": { "settings": { "infer_ip": "never" } } });
    assert_eq!(sent(&never).event.user_id, None);
}

#[test]
fn everything_is_bounded() {
    let frame = |n: usize| json!({ "function": format!("f{n}"), "filename": "a.py", "lineno": n });
    let frames: Vec<Value> = (0..1500).map(frame).collect();
    let vars: serde_json::Map<String, Value> =
        (0..200).map(|n| (format!("v{n}"), json!("x".repeat(5000)))).collect();
    let mut deep = json!("end");
    for _ in 0..50 {
        deep = json!({ "a": [deep] });
    }
    let steps: Vec<Value> = (0..300).map(|n| json!({ "message": format!("step {n}") })).collect();
    let mut event = json!({
        "platform": "python",
        "exception": { "values": [{ "type": "E", "value": "é".repeat(20_000),
            "stacktrace": { "frames": frames } }] },
        "extra": { "deep": deep },
        "breadcrumbs": steps,
    });
    event["exception"]["values"][0]["stacktrace"]["frames"][1499]["vars"] = json!(vars);
    let read = sent(&event);
    let told = detail(&read);
    let exception = &told.exceptions[0];
    assert_eq!((exception.frames.len(), exception.frames_cut), (250, 1250));
    assert_eq!(exception.frames[0].function.as_deref(), Some("f0"));
    assert_eq!(exception.frames[249].function.as_deref(), Some("f1499"));
    let vars = serde_json::to_value(&exception.frames[249].vars).unwrap();
    assert_eq!(vars.as_object().unwrap().len(), 51);
    assert!(vars["v0"].as_str().unwrap().ends_with("[4000 bytes cut]"));
    assert_eq!(told.breadcrumbs.len(), 100);
    assert_eq!(told.breadcrumbs[99].message.as_deref(), Some("step 299"));
    let extra = serde_json::to_string(&told.extra).unwrap();
    assert!(extra.contains("[cut]") && extra.len() < 100, "{extra}");
    let stack = read.event.error_stack.as_deref().unwrap();
    assert!(stack.contains("[1250 frames cut]") && stack.contains("in f1499"));
    read.event.check(clock::now()).unwrap();
}
