#!/usr/bin/env python3
"""Measures the running service from outside and prints one table.

    cargo build --release
    python3 benches/service.py [--rows 1000000] [--seconds 10] [--burst-mib 512] [--only NAME ...]

Needs `wrk` (Debian's package) and, for the rows about PostgreSQL, Debian's postgresql; its
cluster is the script's own and waits for the disk as a real one does. All traffic goes to
127.0.0.1, every loop is bounded, everything made is removed. Takes about six minutes.
"""

import argparse
import concurrent.futures
import contextlib
import datetime
import http.client
import json
import os
import pathlib
import platform
import shutil
import signal
import sqlite3
import statistics
import subprocess
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIMITS = {"LUX_REQUESTS_PER_MINUTE": "100000000", "LUX_EVENTS_PER_MINUTE": "1000000000"}


class Lux:
    """The program on a data directory of its own, watching one file."""

    def __init__(self, program, folder, database=None):
        self.program, self.folder = program, pathlib.Path(folder)
        self.log = self.folder / "bench.log"
        self.log.touch()
        config = self.folder / "lux.toml"
        # More events are kept than as it comes, or the million would be half of it.
        config.write_text(f'[[sources]]\nname = "bench"\nkind = "nginx-access"\npath = "{self.log}"\n'
                          "[capture]\nmax_events = 10000000\n")
        self.environment = {
            "PATH": os.environ["PATH"],
            "LUX_CONFIG": str(config),
            "LUX_DATA_DIR": str(self.folder / "data"),
            **LIMITS,
        }
        if database:
            self.environment["DATABASE_URL"] = database
        self.token = self.run("token", "create", "--role", "admin", "--name", "bench").strip()

    def run(self, *arguments):
        done = subprocess.run([self.program, *arguments], env=self.environment, check=True,
                              cwd=self.folder, capture_output=True, text=True)
        return done.stdout

    def start(self):
        with open(self.folder / "stderr", "a") as log:
            self.process = subprocess.Popen(
                [self.program, "serve", "--listen", "127.0.0.1:0"], env=self.environment,
                cwd=self.folder, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), (line, (self.folder / "stderr").read_text())
        self.base = line.split()[-1]
        self.address = urllib.parse.urlsplit(self.base).netloc
        return self

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0

    def connect(self):
        return http.client.HTTPConnection(self.address, timeout=120)

    def ask(self, connection, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection.request(method, path, body and json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status < 300, (method, path, answer.status, text[:500])
        return json.loads(text) if text[:1] in (b"{", b"[") else text

    def resident_mib(self, what="VmRSS"):
        """What it holds now; with VmHWM, the most that it has held."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return int(fields[what].split()[0]) / 1024

    def scalar(self, sql):
        """One number out of its database, read beside it."""
        if url := self.environment.get("DATABASE_URL"):
            done = subprocess.run(["psql", "-qAt", url, "-c", sql], check=True, capture_output=True, text=True)
            return int(done.stdout)
        with contextlib.closing(sqlite3.connect(self.folder / "data/lux.db", timeout=60)) as connection:
            return connection.execute(sql).fetchone()[0]


@contextlib.contextmanager
def lux(program, database=None):
    with tempfile.TemporaryDirectory(prefix="lux-bench") as folder:
        server = Lux(program, folder, database).start()
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.stop()


@contextlib.contextmanager
def postgres():
    """A cluster of its own; None where PostgreSQL is not installed."""
    if not list(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        yield None
        return
    # A unix socket's path has to be short.
    folder = tempfile.mkdtemp(prefix="lux-bench-pg", dir="/tmp")
    os.chmod(folder, 0o755)
    script = ["sh", str(ROOT / "tests/postgres.sh")]
    environment = {**os.environ, "FSYNC": "on"}
    try:
        yield subprocess.run([*script, "start", f"{folder}/pg"], env=environment, check=True,
                             capture_output=True, text=True).stdout.strip()
    finally:
        subprocess.run([*script, "stop", f"{folder}/pg"], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def milliseconds(values):
    """Median, 95th and 99th percentile of seconds."""
    p95, p99 = (percentile(values, share) * 1e3 for share in (0.95, 0.99))
    return f"p50 {statistics.median(values) * 1e3:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms"


def start_and_memory(options, report):
    times = {"new database": [], "existing database": []}
    for _ in range(10):
        with tempfile.TemporaryDirectory(prefix="lux-bench") as folder:
            server = Lux(options.lux, folder)
            # The token has made the database; the first of these starts is to make it itself.
            shutil.rmtree(folder + "/data")
            for kind in times:
                started = time.perf_counter()
                server.start()
                connection = server.connect()
                connection.request("GET", "/readyz")
                assert connection.getresponse().status == 200
                times[kind].append(time.perf_counter() - started)
                if kind == "existing database" and len(times[kind]) == 10:
                    time.sleep(5)
                    report("idle memory", f"{server.resident_mib():.1f} MiB")
                connection.close()
                server.stop()
    for kind, values in times.items():
        report(f"start to first answer, {kind}", milliseconds(values))


def event(number):
    """One of 200 kinds of errors, as an application reports it."""
    return {
        "error_type": f"Kind{chr(97 + number % 20)}Error",
        "error_message": f"order {number} of customer {number % 977} failed",
        "endpoint": f"/shop/{chr(97 + number % 10)}",
        "method": "POST",
        "user_id": f"user{number % 5000}",
    }


def wrk(options, server, connections, body):
    """Events are acknowledged after their commit; requests a second, latencies."""
    script = server.folder / "post.lua"
    script.write_text(
        f"wrk.method = 'POST'\nwrk.headers['Authorization'] = 'Bearer {server.token}'\n"
        f"wrk.headers['Content-Type'] = 'application/json'\nwrk.body = [==[{json.dumps(body)}]==]\n"
        "done = function(summary, latency)\n"
        "  io.write(string.format('RESULT %d %d %d %d\\n', summary.requests, summary.duration,\n"
        "    latency:percentile(99), summary.errors.status + summary.errors.timeout +\n"
        "    summary.errors.connect + summary.errors.read + summary.errors.write))\nend\n")
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{options.seconds}s", "--timeout", "30s",
         "-s", script, server.base + "/api/errors"], check=True, capture_output=True, text=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    requests, duration, p99, errors = map(int, line.split()[1:])
    assert errors == 0, done.stdout
    return requests / (duration / 1e6), p99 / 1e3


def capture(options, report, kind, url):
    with lux(options.lux, url) as server:
        for connections in (16, 64):
            rate, p99 = wrk(options, server, connections, event(1))
            report(f"{kind}: POST /api/errors, {connections} connections",
                   f"{rate:,.0f} events/s, p99 {p99:.1f} ms")
        rate, p99 = wrk(options, server, 16, [event(n) for n in range(100)])
        report(f"{kind}: POST /api/errors, arrays of 100",
               f"{rate * 100:,.0f} events/s, p99 {p99:.1f} ms")


def fill(server, rows):
    """Rows over the last day, in arrays of 1000."""
    now = datetime.datetime.now(datetime.timezone.utc)

    def post(first):
        connection = server.connect()
        for start in range(first, rows, 4000):
            events = []
            for number in range(start, min(start + 1000, rows)):
                at = now - datetime.timedelta(seconds=86_000 * (rows - number) / rows)
                # Ten thousand groups: a type for each thousandth event.
                kind = "".join(chr(97 + number % 10_000 // power % 10) for power in (1000, 100, 10, 1))
                events.append({**event(number), "error_type": f"{kind.title()}Error",
                               "created_at": at.isoformat()})
            server.ask(connection, "POST", "/api/errors", events)
        connection.close()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(post, range(0, 4000, 1000)))


def indexed(metrics):
    """Events that the indexer has put into the full-text index."""
    lines = (line.split() for line in metrics.decode().splitlines())
    return next((int(float(line[1])) for line in lines if line and line[0] == "lux_events_indexed_total"), 0)


def queries(options, report, kind, url):
    with lux(options.lux, url) as server:
        started = time.perf_counter()
        fill(server, options.rows)
        stored = time.perf_counter() - started
        connection = server.connect()
        while indexed(server.ask(connection, "GET", "/metrics")) < options.rows:
            assert time.perf_counter() - started < 1800, "the events are not indexed"
            time.sleep(0.2)
        report(f"{kind}: {options.rows:,} rows stored, and indexed for searches",
               f"{stored:.0f} s, {time.perf_counter() - started:.0f} s")
        for name, path in [
            ("/errors", "/api/diagnostics/errors"),
            ("/errors?q= (every event)", "/api/diagnostics/errors?q=customer+failed"),
            ("/errors?q= (one in a thousand)", "/api/diagnostics/errors?q=33+failed"),
            ("/errors?q= (none)", "/api/diagnostics/errors?q=zebra"),
            ("/groups", "/api/diagnostics/groups"),
            ("/groups?sort=count", "/api/diagnostics/groups?sort=count"),
            ("/groups?status=unresolved", "/api/diagnostics/groups?status=unresolved"),
            ("/groups?q=", "/api/diagnostics/groups?q=bcde"),
            ("/health", "/api/diagnostics/health"),
        ]:
            times = []
            for _ in range(300):
                started = time.perf_counter()
                server.ask(connection, "GET", path)
                times.append(time.perf_counter() - started)
            report(f"{kind}: GET {name} at {options.rows:,} rows", milliseconds(times))
        report(f"{kind}: memory after that", f"{server.resident_mib():.0f} MiB")


def line(number):
    return (f'203.0.113.{number % 250} - - [21/Nov/2026:10:{number // 60 % 60:02}:{number % 60:02} +0000] '
            f'"GET /shop/item/{number} HTTP/1.1" 200 {number % 9000} "-" "Mozilla/5.0 (X11; Linux x86_64)"\n')


def searchable(options, report):
    with lux(options.lux) as server:
        connection = server.connect()
        times = []
        with open(server.log, "a", buffering=1) as log:
            for number in range(300):
                path = f"/api/diagnostics/logs?source=bench&limit=1&q=item%2F{number}%20"
                log.write(line(number))
                written = time.perf_counter()
                while not server.ask(connection, "GET", path)["records"]:
                    assert time.perf_counter() - written < 30, f"line {number} is not found"
                times.append(time.perf_counter() - written)
        report("line written to found by search", milliseconds(times))


def burst(options, report):
    with lux(options.lux) as server:
        block = "".join(line(number) for number in range(50_000))
        blocks = max(1, (options.burst_mib << 20) // len(block))
        prepared = server.folder / "prepared"
        with open(prepared, "w") as file:
            for _ in range(blocks):
                file.write(block)
        wanted = blocks * 50_000
        connection = server.connect()
        started = time.perf_counter()
        subprocess.run(f"cat {prepared} >> {server.log}", shell=True, check=True)
        while True:
            sources = server.ask(connection, "GET", "/api/diagnostics/logs/sources")["sources"]
            if sources[0]["lines"] >= wanted:
                break
            assert time.perf_counter() - started < 600, sources
            time.sleep(0.02)
        rate = blocks * len(block) / (time.perf_counter() - started) / 1e6
        assert sources[0]["lines"] == wanted, sources
        report(f"burst of {options.burst_mib} MiB, written and read",
               f"{rate:.0f} MB/s, memory {server.resident_mib():.0f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lux", default=str(ROOT / "target/release/lux"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--burst-mib", type=int, default=512)
    parser.add_argument("--only", nargs="+",
                        choices=["start", "capture", "queries", "searchable", "burst"])
    options = parser.parse_args()
    options.lux = str(pathlib.Path(options.lux).resolve())
    assert options.rows <= 5_000_000 and options.seconds <= 60 and options.burst_mib <= 4096

    def wanted(name):
        return not options.only or name in options.only

    def report(what, value):
        print(f"| {what:58} | {value} |", flush=True)

    model = next((text.split(":")[1].strip() for text in open("/proc/cpuinfo")
                  if text.startswith("model name")), platform.machine())
    report("machine", f"{os.cpu_count()} cores, {model}, Linux {platform.release()}")
    if wanted("start"):
        start_and_memory(options, report)
    if wanted("searchable"):
        searchable(options, report)
    if wanted("burst"):
        burst(options, report)
    with postgres() as url:
        for kind, database in [("SQLite", None), ("PostgreSQL", url)]:
            if kind == "PostgreSQL" and not url:
                report(kind, "not installed")
                continue
            for name, measure in [("capture", capture), ("queries", queries)]:
                if wanted(name):
                    # Each begins with empty tables.
                    measure(options, report, kind, database and fresh(database, name))


def fresh(url, schema):
    """The same database with a new, empty schema to work in."""
    subprocess.run(["psql", "-q", url, "-c", f"create schema {schema}"], check=True)
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{schema}"


if __name__ == "__main__":
    main()
