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

#[test]
fn php_is_read() {
    let text = r"[24-Nov-2026 02:34:40 UTC] PHP Fatal error:  Uncaught PDOException: could not find driver in /srv/shop/cart.php:11
Stack trace:
#0 /srv/shop/cart.php(11): PDO->__construct()
#1 /srv/shop/cart.php(10): Shop\Cart::one()
#2 [internal function]: Shop\Cart->Shop\{closure}()
#3 /srv/shop/cart.php(10): array_map()
#4 /srv/shop/cart.php(7): Shop\Cart->load()
#5 /srv/shop/vendor/slim/App.php(13): Shop\Cart->total()
#6 /srv/shop/index.php(14): Slim\App->run()
#7 {main}

Next Shop\StockError: no stock for cart 4711 in /srv/shop/cart.php:8
Stack trace:
#0 /srv/shop/index.php(13): Shop\Cart->total()
#1 {main}
  thrown in /srv/shop/cart.php on line 8";
    let trace = Trace::parse(text).unwrap();
    assert_eq!(names(&trace), ["PDOException", "StockError"]);
    assert_eq!(trace.exceptions[0].message, "could not find driver");
    assert_eq!(
        own(&trace.exceptions[0]),
        [
            "index.php {main}",
            "cart.php Shop\\Cart->total",
            "cart.php Shop\\Cart->load",
            "cart.php {closure}",
            "cart.php Shop\\Cart::one",
            "cart.php PDO->__construct",
        ]
    );
    assert_eq!(own(&trace.exceptions[1]), ["index.php {main}", "cart.php Shop\\Cart->total"]);

    let monolog = r#"[2026-11-18 19:52:46] production.ERROR: x {"exception":"[object] (Shop\\CartError(code: 0): x at /srv/shop/src/Cart.php:18)
[stacktrace]
#0 /srv/shop/src/Shop.php(7): Shop\\Cart->total()
#1 {main}

[previous exception] [object] (PDOException(code: 2002): Connection refused at /srv/shop/src/Db.php:3)
[stacktrace]
#0 /srv/shop/src/Cart.php(17): Shop\\Db->query()
#1 {main}
"}"#;
    let trace = Trace::parse(monolog).unwrap();
    assert_eq!(names(&trace), ["PDOException", "CartError"]);
    assert_eq!(trace.exceptions[0].message, "Connection refused");
    assert_eq!(
        own(trace.raised().unwrap()),
        ["src/Shop.php {main}", "src/Cart.php Shop\\Cart->total"]
    );
}

#[test]
fn ruby_is_read() {
    // As Ruby 3.1 prints it; 3.4 has other quotes.
    let text = "app.rb:9:in `rescue in total': no stock for cart 4711 (Shop::StockError)
\tfrom app.rb:4:in `total'
\tfrom /usr/lib/ruby/gems/3.1.0/gems/puma-5.6.5/lib/puma/server.rb:12:in `run'
\tfrom app.rb:15:in `<main>'
app.rb:11:in `/': divided by 0 (ZeroDivisionError)
\tfrom app.rb:11:in `load'
\tfrom app.rb:6:in `block (2 levels) in total'
\tfrom app.rb:15:in `<main>'";
    for text in [text.to_owned(), text.replace('`', "'")] {
        let trace = Trace::parse(&text).unwrap();
        assert_eq!(names(&trace), ["ZeroDivisionError", "StockError"]);
        assert_eq!(trace.exceptions[0].message, "divided by 0");
        assert_eq!(own(&trace.exceptions[1]), ["app.rb <main>", "app.rb total"]);
        assert_eq!(
            own(&trace.exceptions[0]),
            ["app.rb <main>", "app.rb block (2 levels) in total", "app.rb load", "app.rb /"]
        );
    }
    let rails = "F, [2026-11-24T02:34:40.245326 #11257] FATAL -- : [0f1e] NoMethodError (undefined method `price' for nil:NilClass):
  
app/models/cart.rb:11:in `total'
app/controllers/carts_controller.rb:7:in `show'";
    let trace = Trace::parse(rails).unwrap();
    assert_eq!(names(&trace), ["NoMethodError"]);
    assert_eq!(trace.exceptions[0].message, "undefined method `price' for nil:NilClass");
    assert_eq!(trace.exceptions[0].frames.last().unwrap().function, "total");
    assert_eq!(Trace::parse("seen at 10:30:in 'the' morning"), None);
}

#[test]
fn go_is_read() {
    let text = "2026/11/24 02:34:41 http: panic serving 127.0.0.1:51206: runtime error: index out of range [5] with length 1
goroutine 22 [running]:
net/http.(*conn).serve.func1()
\t/usr/lib/go-1.19/src/net/http/server.go:1850 +0xbf
panic({0x6793e0, 0x736db0})
\t/usr/lib/go-1.19/src/runtime/panic.go:890 +0x262
main.(*Cart).Add(...)
\t/srv/shop/main.go:4
main.checkout({0x4a66e0?, 0xc0000fe280?}, 0x7f15f1613fc8?)
\t/srv/shop/main.go:5 +0x2f
net/http.HandlerFunc.ServeHTTP(0x0?, {0x739aa8?, 0xc000124000?}, 0x46380e?)
\t/usr/lib/go-1.19/src/net/http/server.go:2109 +0x2f
created by net/http.(*Server).Serve
\t/usr/lib/go-1.19/src/net/http/server.go:3102 +0x4db

goroutine 1 [chan receive]:
main.main()
\t/srv/shop/main.go:9 +0x2b";
    let trace = Trace::parse(text).unwrap();
    assert_eq!(names(&trace), ["runtime error"]);
    assert_eq!(trace.exceptions[0].message, "index out of range [5] with length 1");
    assert_eq!(
        own(&trace.exceptions[0]),
        ["main.go main.checkout", "main.go main.(*Cart).Add"],
        "outermost first"
    );
    let trimmed = "panic: first [recovered]\n\tpanic: again: first\n\ngoroutine 1 [running]:\ngithub.com/acme/shop/cart.Run()\n\tgithub.com/acme/shop/cart/cart.go:9 +0x2b\ngithub.com/go-chi/chi/v5.(*Mux).ServeHTTP()\n\tgithub.com/go-chi/chi/v5@v5.0.8/mux.go:90 +0x1\n";
    let trace = Trace::parse(trimmed).unwrap();
    assert_eq!((names(&trace), &*trace.exceptions[0].message), (vec!["panic"], "again: first"));
    assert_eq!(own(&trace.exceptions[0]), ["shop/cart/cart.go github.com/acme/shop/cart.Run"]);
}
