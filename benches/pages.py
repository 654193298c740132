#!/usr/bin/env python3
"""Measures the dashboard's pages and prints one table.

    cargo build --release
    python3 benches/pages.py [--rows 1000000] [--asks 300] [--only sqlite|postgres] [--lighthouse]

For each database: so many events are stored over the API, then every page is asked for again and
again over one connection: server time as a browser on this host sees it, and its weight over the
wire, compressed. The first page's weight is told with all it loads, fonts apart. With
--lighthouse (npm and Chromium are needed; the package is installed beside this script) each page
is judged as well. All traffic goes to 127.0.0.1; everything made is removed but that package.
"""

import argparse
import gzip
import json
import os
import pathlib
import re
import secrets
import subprocess
import time

import service

HERE = pathlib.Path(__file__).resolve().parent
PAGES = ["/", "/errors", "/errors?q=order", "/errors?state=all&sort=events", "/errors/{group}", "/chat",
         "/logs", "/repairs", "/approvals", "/health", "/settings", "/setup"]


def fetch(server, connection, path):
    """Status, bytes on the wire, and the text."""
    headers = {"Authorization": f"Bearer {server.token}", "Accept": "text/html", "Accept-Encoding": "gzip"}
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    zipped = answer.getheader("Content-Encoding") == "gzip"
    return answer.status, len(body), gzip.decompress(body) if zipped else body


def weigh(server, connection):
    """The first page with what it loads, fonts apart, in KiB over the wire."""
    _, total, text = fetch(server, connection, "/")
    loaded = sorted(set(re.findall(r'(?:src|href)="(/assets/[^"#]+)', text.decode())))
    for path in loaded:
        if not path.split("?")[0].endswith(".woff2"):
            total += fetch(server, connection, path)[1]
    return total / 1024, len(loaded)


def time_pages(server, options, kind, report):
    connection = server.connect()
    groups = server.ask(connection, "GET", "/api/diagnostics/groups?limit=1")["groups"]
    for page in PAGES:
        path = page.replace("{group}", str(groups[0]["id"]) if groups else "1")
        times = []
        for _ in range(options.asks):
            started = time.perf_counter()
            status, size, _ = fetch(server, connection, path)
            times.append(time.perf_counter() - started)
            assert status == 200, (path, status)
        report(f"{kind}: {page} at {options.rows:,} events",
               f"{service.milliseconds(times)}; {size / 1024:.1f} KiB")
    weight, files = weigh(server, connection)
    report(f"{kind}: the first page with {files} files, fonts apart", f"{weight:.1f} KiB")


def judge(server, report):
    """Lighthouse, as a signed-in person of a browser on a desk."""
    package = HERE / "pages"
    if not (package / "node_modules/lighthouse").is_dir():
        subprocess.run(["npm", "ci", "--prefix", package, "--ignore-scripts", "--no-audit", "--no-fund"], check=True)
    # A token is no cookie: the set-up link lets the browser in.
    link = server.run("setup-link").strip().split()[-1]
    path = "/" + link.split("/", 3)[3]
    connection = server.connect()
    connection.request("POST", path, "next=/", {"Content-Type": "application/x-www-form-urlencoded",
                                                "Origin": server.base, "Sec-Fetch-Site": "same-origin"})
    answer = connection.getresponse()
    answer.read()
    cookie = answer.getheader("Set-Cookie").split(";")[0]
    headers = package / f"headers-{secrets.token_hex(4)}.json"
    headers.write_text(json.dumps({"Cookie": cookie}))
    headers.chmod(0o600)
    try:
        for page in [page for page in PAGES if "{" not in page and "?" not in page]:
            told = subprocess.run(
                [package / "node_modules/.bin/lighthouse", server.base + page, "--quiet", "--output=json",
                 "--preset=desktop", f"--extra-headers={headers}",
                 "--only-categories=performance,accessibility,best-practices",
                 "--chrome-flags=--headless=new --no-sandbox --disable-gpu"],
                env={**os.environ, "CHROME_PATH": "/usr/bin/chromium"}, check=True, capture_output=True, text=True).stdout
            found = json.loads(told)
            scores = " ".join(f"{name} {round(it['score'] * 100)}" for name, it in found["categories"].items())
            audits = found["audits"]
            first = audits["first-contentful-paint"]["displayValue"]
            blocked = audits["total-blocking-time"]["displayValue"]
            report(f"Lighthouse: {page}", f"{scores}; first paint {first}, blocked {blocked}")
    finally:
        headers.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lux", type=pathlib.Path, default=service.ROOT / "target/release/lux")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--asks", type=int, default=300)
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    parser.add_argument("--lighthouse", action="store_true")
    options = parser.parse_args()
    assert options.rows <= 5_000_000 and options.asks <= 10_000

    def report(name, value):
        print(f"| {name} | {value} |", flush=True)

    with service.postgres() as url:
        for kind, database in [("SQLite", None), ("PostgreSQL", url)]:
            if not kind.lower().startswith(options.only or "") or (kind == "PostgreSQL" and not url):
                continue
            with service.lux(options.lux, database) as server:
                service.fill(server, options.rows)
                connection = server.connect()
                while service.indexed(server.ask(connection, "GET", "/metrics")) < options.rows:
                    time.sleep(0.5)
                time_pages(server, options, kind, report)
                if options.lighthouse and kind == "SQLite":
                    judge(server, report)


if __name__ == "__main__":
    main()
