#!/usr/bin/env python3
"""Measures a repair of many groups from outside, on both databases, and prints a table.

    cargo build --release
    python3 benches/repair.py [--groups 500] [--probes-per-second 20] [--lux target/release/lux]

The groups have about 20 causes; all settings that matter are the defaults, 3 passes 2 s apart.
Everything that was broken is mended before the repair, so that each group needs all its passes.
The rows about PostgreSQL need Debian's postgresql. All traffic goes to 127.0.0.1.
"""

import argparse
import http.server
import pathlib
import tempfile
import threading
import time

from service import ROOT, Lux, postgres

# What each cause raises.
RAISED = [
    ("KeyError", "'apple'"),
    ("TypeError", "unsupported operand type(s) for +: 'int' and 'str'"),
    ("AttributeError", "'NoneType' object has no attribute 'upper'"),
    ("ZeroDivisionError", "division by zero"),
    ("IndexError", "list index out of range"),
    ("ValueError", "invalid literal for int() with base 10: 'a'"),
    ("UnboundLocalError", "local variable 'total' referenced before assignment"),
    ("RecursionError", "maximum recursion depth exceeded"),
    ("ModuleNotFoundError", "No module named 'tariffs'"),
    ("jinja2.exceptions.TemplateNotFound", "basket.html"),
    ("FileNotFoundError", "[Errno 2] No such file or directory: '/srv/shop/terms.txt'"),
    ("PermissionError", "[Errno 13] Permission denied: '/srv/shop/uploads/a.png'"),
    ("OSError", "[Errno 28] No space left on device"),
    ("psycopg.errors.UndefinedTable", 'relation "item" does not exist'),
    ("psycopg.errors.UndefinedColumn", 'column "colour" does not exist'),
    ("psycopg.OperationalError", 'FATAL:  password authentication failed for user "shop"'),
    ("psycopg.errors.DeadlockDetected", "deadlock detected"),
    ("openai.AuthenticationError", "Error code: 401 - Incorrect API key provided"),
    ("openai.RateLimitError", "Error code: 429 - You exceeded your current quota"),
    ("redis.exceptions.ConnectionError", "Error 111 connecting to 127.0.0.1:6379. Connection refused."),
]


class Site(http.server.ThreadingHTTPServer):
    """Each page answers 500 until all are mended."""

    daemon_threads = True
    request_queue_size = 256
    mended = False
    asked = 0

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Page)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked += 1
        body = b"<h1>Welcome</h1>" if self.server.mended else b"<h1>Internal Server Error</h1>"
        self.send_response(200 if self.server.mended else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def letters(number):
    """Numbers would be masked."""
    return "".join(chr(ord("a") + int(digit)) for digit in f"{number:04d}")


def event(number):
    raised, message = RAISED[number % len(RAISED)]
    page = f"page_{letters(number)}"
    stack = (f'Traceback (most recent call last):\n  File "/srv/shop/{page}.py", line 7, in {page}\n'
             f"    return render()\n{raised}: {message}\n")
    return {"app": "site", "error_type": raised.rsplit(".", 1)[-1], "error_message": message,
            "error_stack": stack, "endpoint": f"/{page}", "method": "GET"}


def repair(server, connection, limit):
    """The report, and the seconds until it was there."""
    started = time.perf_counter()
    run = server.ask(connection, "POST", "/api/auto-repair/start", {"dry_run": False})["run_id"]
    while True:
        report = server.ask(connection, "GET", f"/api/auto-repair/runs/{run}")
        if report["finished_at"]:
            return report, time.perf_counter() - started
        assert time.perf_counter() - started < limit, report["results"]
        time.sleep(0.1)


def measure(options, database):
    site = Site()
    with tempfile.TemporaryDirectory(prefix="lux-bench") as folder:
        server = Lux(options.lux, folder, database)
        with open(pathlib.Path(folder) / "lux.toml", "a", encoding="utf-8") as config:
            config.write(f'[[apps]]\nname = "site"\nbase_url = "{site.url}"\n'
                         '[schedule]\nrepair = "off"\n')
            if options.probes_per_second:
                config.write(f"[repair]\nprobes_per_second = {options.probes_per_second}\n")
        server.start()
        try:
            connection = server.connect()
            events = [event(number) for number in range(options.groups)]
            for at in range(0, len(events), 1000):
                server.ask(connection, "POST", "/api/errors", events[at:at + 1000])
            rows = []
            for mended in (False, True):
                site.mended, before = mended, site.asked
                report, seconds = repair(server, connection, 600)
                results = report["results"]
                rows.append((
                    "mended" if mended else "failing", len(report["causes"]),
                    results["total_errors"], results["resolved"], site.asked - before,
                    f"{seconds:.1f} s"))
            return rows
        finally:
            server.stop()
            site.shutdown()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=500)
    parser.add_argument("--probes-per-second", type=int, help="instead of the default")
    parser.add_argument("--lux", default=str(ROOT / "target/release/lux"))
    options = parser.parse_args()
    form = "{:<12} {:<8} {:>6} {:>7} {:>9} {:>9} {:>9}"
    print(form.format("database", "pages", "causes", "groups", "resolved", "requests", "time"))
    for row in measure(options, None):
        print(form.format("SQLite", *row))
    with postgres() as url:
        if url:
            for row in measure(options, url):
                print(form.format("PostgreSQL", *row))


if __name__ == "__main__":
    main()
