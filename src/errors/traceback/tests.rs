use std::fmt::Write;

use super::*;

fn names(trace: &Trace) -> Vec<&str> {
    trace.exceptions.iter().map(|exception| exception.name.as_str()).collect()
}

fn own(exception: &Exception) -> Vec<String> {
    let own = exception.frames.iter().filter(|frame| frame.in_app);
    own.map(|frame| format!("{} {}", frame.file, frame.function)).collect()
}

#[test]
fn a_chain_is_read_in_order() {
    let text = "2026-01-31 12:00:00,123 ERROR [app] Exception on /cart [GET]
Traceback (most recent call last):
  File \"/srv/shop/venv/lib/python3.11/site-packages/redis/connection.py\", line 1, in connect
    sock = self._connect()
           ^^^^^^^^^^^^^^^
ConnectionRefusedError: [Errno 111] Connection refused

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File \"/srv/shop/cart.py\", line 12, in load
    return client.get(key)
redis.exceptions.ConnectionError: Error 111 connecting to localhost:6379. Connection refused.

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File \"/srv/shop/views.py\", line 3, in cart
    load(user)
shop.errors.CartError: the cart cannot be read
DETAIL:  more text: of the message
";
    let trace = Trace::parse(text).unwrap();
    assert_eq!(names(&trace), ["ConnectionRefusedError", "ConnectionError", "CartError"]);
    assert_eq!(trace.exceptions[0].message, "[Errno 111] Connection refused");
    assert!(own(&trace.exceptions[0]).is_empty());
    assert_eq!(own(&trace.exceptions[1]), ["cart.py load"]);
    assert_eq!(trace.raised().unwrap().name, "CartError");
}

#[test]
fn an_exception_group_is_told_by_its_first_member() {
    let text = "  + Exception Group Traceback (most recent call last):
  |   File \"/srv/shop/main.py\", line 8, in serve
  |     async with asyncio.TaskGroup() as group:
  | ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File \"/srv/shop/rates.py\", line 3, in fetch
    |     return RATES[currency]
    |            ~~~~~^^^^^^^^^^
    | KeyError: 'GBP'
    +---------------- 2 ----------------
    | ValueError: never raised
    +------------------------------------
";
    let trace = Trace::parse(text).unwrap();
    assert_eq!(names(&trace), ["ExceptionGroup", "KeyError", "ValueError"]);
    let raised = trace.raised().unwrap();
    assert_eq!((raised.name.as_str(), raised.message.as_str()), ("KeyError", "'GBP'"));
    assert_eq!(own(raised), ["rates.py fetch"]);
}

#[test]
fn a_syntax_error_names_its_file() {
    let text = "Traceback (most recent call last):
  File \"/srv/shop/venv/bin/gunicorn\", line 8, in <module>
    sys.exit(run())
  File \"<frozen importlib._bootstrap>\", line 1204, in _gcd_import
  File \"/srv/shop/app.py\", line 10
    def broken(:
               ^
SyntaxError: invalid syntax
";
    let trace = Trace::parse(text).unwrap();
    assert_eq!(names(&trace), ["SyntaxError"]);
    assert_eq!(own(&trace.exceptions[0]), ["app.py <syntax>"]);
}

#[test]
fn ten_thousand_frames_are_bounded() {
    let mut text = "Traceback (most recent call last):\n".to_owned();
    for i in 0..10_000 {
        writeln!(text, "  File \"/srv/shop/f{i}.py\", line {i}, in f{i}\n    f()").unwrap();
    }
    text.push_str("RecursionError: maximum recursion depth exceeded\n");
    let trace = Trace::parse(&text).unwrap();
    assert_eq!(trace.exceptions[0].frames.len(), MAX_FRAMES);
    assert_eq!(trace.raised().unwrap().name, "RecursionError");
    let chain = format!("{}\n", "Traceback (most recent call last):\nE: x\n").repeat(5000);
    assert!(Trace::parse(&chain).unwrap().exceptions.len() <= MAX_EXCEPTIONS);
}

#[test]
fn a_stack_cut_off_still_says_where() {
    let text =
        "Traceback (most recent call last):\n  File \"/srv/shop/app.py\", line 1, in f\n    g()";
    assert_eq!(own(&Trace::parse(text).unwrap().exceptions[0]), ["app.py f"]);
}

#[test]
fn javascript_is_read() {
    let text = "TypeError: Cannot read properties of undefined (reading 'id')
    at price (/srv/shop/lib/price.js:10:15)
    at async Cart.total [as sum] (file:///srv/shop/lib/cart.js:3:9)
    at /srv/shop/server.js:20:3
    at Layer.handle (/srv/shop/node_modules/express/lib/router/layer.js:95:5)
    at process.processTicksAndRejections (node:internal/process/task_queues:95:5) {
  [cause]: Error: connect ECONNREFUSED 127.0.0.1:5432
      at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1555:16)
}";
    let trace = Trace::parse(text).unwrap();
    assert_eq!(names(&trace), ["Error", "TypeError"]);
    let raised = trace.raised().unwrap();
    assert_eq!(raised.message, "Cannot read properties of undefined (reading 'id')");
    assert_eq!(
        own(raised),
        ["server.js <anonymous>", "lib/cart.js Cart.total", "lib/price.js price"]
    );
    let browser = "ReferenceError: x is not defined\nrender@https://shop.example/assets/main.8f3a2b1c.js:1:2345\n@https://shop.example/assets/main.8f3a2b1c.js:1:99\n";
    let trace = Trace::parse(browser).unwrap();
    assert_eq!(own(&trace.exceptions[0])[1], "assets/main.js render");
}

#[test]
fn java_is_read() {
    let text = "Exception in thread \"main\" com.shop.OrderException: order 17 failed
\tat com.shop.Orders.create(Orders.java:31)
\tat com.shop.Orders.lambda$all$3(Orders.java:12)
\tat java.base/java.util.stream.ReferencePipeline.collect(ReferencePipeline.java:682)
\tat com.shop.Proxy$$EnhancerBySpringCGLIB$$ab12cd.run(<generated>)
Caused by: java.sql.SQLException: Connection refused
\tat org.postgresql.Driver.connect(Driver.java:100)
\t... 12 more
";
    let trace = Trace::parse(text).unwrap();
    assert_eq!(names(&trace), ["SQLException", "OrderException"]);
    assert_eq!(own(&trace.exceptions[1]), ["com.shop.Orders lambda$all", "com.shop.Orders create"]);
}

#[test]
fn other_text_is_no_trace() {
    for text in ["", "at noon", "ValueError: x", "File \"x\"", "at f (x)", "user@host: 1", "\0\0"] {
        assert_eq!(Trace::parse(text), None, "{text}");
    }
}
