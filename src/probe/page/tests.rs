use super::*;

fn html(title: &str, body: &str) -> String {
    format!("<!doctype html><html><head><title>{title}</title></head><body>{body}</body></html>")
}

#[test]
fn pages_of_errors_are_recognised() {
    let filler = "<p>Lorem ipsum dolor sit amet, consetetur sadipscing elitr.</p>".repeat(20);
    for page in [
        // nginx, gunicorn, Werkzeug, Flask, Django, Rails, Express, Tomcat, Spring, IIS, Heroku
        html("502 Bad Gateway", "<center><h1>502 Bad Gateway</h1></center><hr>nginx/1.22.1"),
        html("504 Gateway Time-out", ""),
        html("503 Service Temporarily Unavailable", ""),
        html("Error", "<h1>An error occurred.</h1><p>Sorry, the page you are looking for is currently unavailable."),
        html("Internal Server Error", "<h1><p>Internal Server Error</p></h1>"),
        "<!doctype html>\n<html lang=en>\n<title>500 Internal Server Error</title>\n<h1>Internal Server Error</h1>\n<p>The server encountered an internal error".to_owned(),
        html("KeyError: 'price' // Werkzeug Debugger", "<h1>KeyError</h1>"),
        html("KeyError at /checkout", &filler),
        html("ProgrammingError at /orders/", &filler),
        html("Server Error (500)", "<h1>Server Error (500)</h1>"),
        html("We're sorry, but something went wrong (500)", &filler),
        html("Action Controller: Exception caught", "<h1>NoMethodError in ShopController#show</h1>"),
        html("Error", "<pre>TypeError: Cannot read properties of undefined<br> &nbsp; &nbsp;at /app/server.js:12:9</pre>"),
        html("HTTP Status 500 – Internal Server Error", ""),
        html("Shop", "<h1>Whitelabel Error Page</h1>"),
        html("Application Error", ""),
        html("Application error: a client-side exception has occurred", ""),
        html("500: Internal Server Error", ""),
        html("500", "<h1>Oops</h1>"),
        html("Whoops, looks like something went wrong.", ""),
        html("Oops! An Error Occurred", ""),
        html("Internal Server Error | Shop", &filler),
        html("Shop - Error 500", &filler),
        html("Shop", &format!("<h1>Something went wrong</h1>{filler}")),
        html("Shop", &format!("<h2>Internal Server Error</h2>{filler}")),
        html("Shop", &format!("<h1>We&rsquo;ll be back soon!</h1>{filler}")),
        html("Shop", &format!("<h1>Error establishing a database connection</h1>{filler}")),
        html("404 Not Found", &filler),
        html("Shop", &format!("<pre>Traceback (most recent call last):\n  File x</pre>{filler}")),
        html("Shop", &format!("{filler}<b>Fatal error</b>:  Uncaught Error: x in /srv/shop/a.php:3 on line <b>3</b>")),
        html("Shop", &format!("{filler}<p>SQLSTATE[HY000] [2002] Connection refused</p>")),
        html("Shop", "<p>Sorry, something went wrong. Please try again later.</p>"),
        "Internal Server Error".to_owned(),
        "internal server error\n".to_owned(),
        "ERROR: could not connect".to_owned(),
        "upstream: bad gateway".to_owned(),
        "Error: boom\n    at Layer.handle (/app/node_modules/express/lib/router/layer.js:95:5)".to_owned(),
        "java.lang.NullPointerException\n\tat com.shop.Cart.total(Cart.java:42)".to_owned(),
        format!("{}\nTraceback (most recent call last):\n  File \"x\"", "x\n".repeat(1000)),
    ] {
        assert!(failure(&page, "").is_some(), "{page}");
        assert!(failure(&page, "text/html; charset=utf-8").is_some(), "{page}");
    }
}

#[test]
fn documents_that_say_they_failed_are_recognised() {
    for body in [
        r#"{"error": "boom"}"#,
        r#"{"error": {"code": 5, "message": "boom"}}"#,
        r#"{"error": true}"#,
        r#"{"Error": "boom", "data": null}"#,
        r#"{"errors": [{"message": "boom"}], "data": null}"#,
        r#"{"errors": {"price": ["is missing"]}}"#,
        r#"{"success": false}"#,
        r#"{"success": "false"}"#,
        r#"{"success": 0}"#,
        r#"{"ok": false, "description": "x"}"#,
        r#"{"status": "error"}"#,
        r#"{"status": "FAILED"}"#,
        r#"{"status": "down"}"#,
        r#"{"status": 500, "path": "/x"}"#,
        r#"{"statusCode": 500, "message": "Internal server error"}"#,
        r#"{"code": 503}"#,
        r#"{"result": "failure"}"#,
        r#"{"message": "Internal Server Error"}"#,
        r#"{"detail": "Something went wrong."}"#,
        r#"{"traceback": "Traceback …"}"#,
        r#"{"healthy": false}"#,
        "\u{feff}{\"ok\": false}",
        "\"Internal Server Error\"",
    ] {
        assert!(failure(body, "application/json").is_some(), "{body}");
        assert!(failure(body, "").is_some(), "{body}");
    }
    assert!(failure(r#"{"title": "x"}"#, "application/problem+json").is_some());
}

#[test]
fn what_is_well_is_let_be() {
    let story = "<p>A long text about many things, as shops have them. </p>".repeat(20);
    for (body, kind) in [
        (html("Shop", "<h1>Your cart</h1>"), "text/html"),
        (html("Order 500", "<h1>Order 500</h1><h2>500</h2>"), "text/html"),
        (
            html(
                "How to fix an Internal Server Error in nginx",
                &format!("<h1>Fixing 502 Bad Gateway with gunicorn</h1>{story}"),
            ),
            "text/html",
        ),
        (html("Error handling in Python", &story), "text/html"),
        (html("Errors", &format!("<h1>Errors of today</h1>{story}")), "text/html"),
        (
            html(
                "Shop",
                &format!("{story}<p>If something went wrong with your order, call us.</p>"),
            ),
            "text/html",
        ),
        (
            html(
                "Shop",
                &format!(
                    "<script>window.onerror = function() {{ show('Internal Server Error'); throw new Error('Traceback (most recent call last)') }}</script>{story}"
                ),
            ),
            "text/html",
        ),
        (
            html(
                "Shop",
                &format!("<!-- Internal Server Error --><style>.error {{}}</style>{story}"),
            ),
            "text/html",
        ),
        (html("Shop", "<p>Error-free since 2019</p>"), "text/html"),
        (r#"{"error": null, "data": 1}"#.to_owned(), "application/json"),
        (r#"{"error": false}"#.to_owned(), "application/json"),
        (r#"{"error": ""}"#.to_owned(), "application/json"),
        (r#"{"errors": []}"#.to_owned(), "application/json"),
        (r#"{"errors": 7, "window": "24h"}"#.to_owned(), "application/json"),
        (r#"{"success": true, "errors": [{"id": 1}]}"#.to_owned(), "application/json"),
        (r#"{"status": "ok"}"#.to_owned(), "application/json"),
        (r#"{"status": 200}"#.to_owned(), "application/json"),
        (r#"{"status": "shipped", "ok": true}"#.to_owned(), "application/json"),
        (r#"{"order": {"status": "error"}}"#.to_owned(), "application/json"),
        (r#"[{"error": "boom"}]"#.to_owned(), "application/json"),
        (r#"{"error_count": 3, "message": "3 items"}"#.to_owned(), "application/json"),
        (r#"{"code": 42}"#.to_owned(), "application/json"),
        ("ok".to_owned(), "text/plain"),
        ("OK: no errors".to_owned(), "text/plain"),
        ("pong".to_owned(), ""),
        (String::new(), ""),
        ("a,b\n1,2\n".repeat(100), "text/csv"),
        (format!("{}\nan error occurred yesterday", "log line\n".repeat(100)), "text/plain"),
    ] {
        assert_eq!(failure(&body, kind), None, "{body}");
    }
}

#[test]
fn the_known_error_is_found_in_a_body() {
    let page = html("Shop", "<p>Sorry: relation &quot;orders&quot; does not exist (42)</p>");
    let says = |body: &str, kind: &str, message: &str| tells_of(body, kind, message).is_some();
    assert!(says(&page, "E", "relation \"orders\" does not exist (17)\nLINE 1"));
    assert!(says(&html("x", "<code>KeyError</code>: &#x27;GBP&#x27;"), "KeyError", "'GBP'"));
    assert!(says("{\"note\": \"KeyError: 'GBP'\"}", "builtins.KeyError", "'GBP'"));
    assert!(says(&html("x", "<p>psycopg2.OperationalError</p>"), "psycopg2.OperationalError", "x"));
    assert!(says("caught OperationalError", "psycopg2.OperationalError", "x"));
    // Short messages and everyday words are in many good pages.
    assert!(!says(&html("x", "<p>the price in GBP</p>"), "KeyError", "'price'"));
    assert!(!says(&html("x", "<p>GBP</p>"), "KeyError", "GBP"));
    assert!(!says("an Error", "Error", "x"));
    assert!(!says("timeout", "Timeout", "timeout"));
    assert!(!says("MyOperationalErrors", "OperationalError", "x"));
    assert!(!says(
        &html("x", "<script>catch (e) { if (e instanceof OperationalError) {} }</script>"),
        "OperationalError",
        "x"
    ));
    assert!(!says("", "KeyError", "'GBP'"));
    assert!(!says("all is well", "", ""));
}

#[test]
fn a_hash_ignores_what_varies() {
    let same = |a: &str, b: &str| hash(a) == hash(b);
    assert!(same("order 17 at 12:00:01", "order  18 at 12:44:59\n"));
    assert!(same(
        "<meta name=csrf content=\"aGVsbG8gd29ybGQhIQ8x\">Shop",
        "<meta name=csrf content=\"Zm9vYmFyYmF6cXV4eA9k\">Shop"
    ));
    assert!(same(
        "id 3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "id 7d44e840-9dc0-11d1-b245-5ffdce74fad2"
    ));
    assert!(!same("your cart is empty", "your cart is full"));
    assert!(!same("", "x"));
    assert!(!same("{\"ok\": true}", "{\"ok\": false}"));
}

#[test]
fn paths_that_lead_to_logins_and_errors() {
    for path in [
        "/login",
        "/accounts/login/",
        "/users/sign_in",
        "/Login.aspx",
        "/wp-login.php",
        "/oauth2/start",
        "/auth",
    ] {
        assert!(is_login(path), "{path}");
    }
    for path in ["/", "/catalog", "/author/5", "/loginov", "/blog/sign-in-sheets"] {
        assert!(!is_login(path), "{path}");
    }
    for path in ["/error", "/500.html", "/shop/oops", "/maintenance/"] {
        assert!(is_error(path), "{path}");
    }
    for path in ["/", "/terror", "/error-handling", "/orders/5000"] {
        assert!(!is_error(path), "{path}");
    }
}

#[test]
fn login_forms_are_told_from_pages_with_a_password_field() {
    let form = "<form><input name=u><input type=\"password\" name=p></form>";
    assert!(is_login_form(&html("Log in", form)));
    assert!(is_login_form(&html("Shop", &format!("<h1>Sign in</h1>{form}"))));
    assert!(!is_login_form(&html("Shop", &format!("<h1>Catalog</h1>{form}"))));
    assert!(!is_login_form(&html("Log in", "<p>log in by mail</p>")));
}

#[test]
fn nothing_makes_it_panic() {
    for body in [
        "<",
        "<!",
        "<!--",
        "</",
        "<title",
        "<title>",
        "<h1>",
        "<h1><h2></h1>",
        "<script>",
        "&",
        "&#",
        "&#x;",
        "&#xffffffff;",
        "<h1>é",
        "<é>",
        "< h1>",
        "<html>\u{0}",
        "<html>&\u{1F600};",
        "{",
        "[",
        "\"",
        "\u{feff}",
        "<html><h1>İ</h1></html>",
        "<html>K\u{0130}<title>İ</title>",
    ] {
        for kind in ["", "text/html", "application/json"] {
            let _ = (
                failure(body, kind),
                hash(body),
                tells_of(body, "KeyError", "é"),
                is_login_form(body),
            );
        }
    }
}
