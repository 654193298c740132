#!/usr/bin/env python3
"""The webhook side by side with a plain Flask service, and segments over many contacts.

    cargo build --release
    python3 benches/contacts/webhook.py [--seconds 10] [--rows 1000000] [--only sqlite|postgres]

Needs `wrk`, Debian's postgresql for its rows, and installs the reference service's packages into
a folder of its own. Both services take the same requests from the same program, in turns, on the
same machine; what is counted is what was answered with 200 or 201, and the rows that were there
afterwards are counted against it. All traffic goes to 127.0.0.1; everything made is removed.
"""

import argparse
import base64
import contextlib
import os
import pathlib
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import service  # noqa: E402

TURNS = 3


def venv(folder):
    python = folder / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "-r", HERE / "requirements.txt"], check=True)
    return python


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


@contextlib.contextmanager
def reference(python, url, who, workers, threads):
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": url, "ZAPIER_USERNAME": who[0],
                   "ZAPIER_PASSWORD": who[1]}
    subprocess.run([python, "reference.py"], cwd=HERE, env=environment, check=True)
    port = free_port()
    process = subprocess.Popen(
        [python, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "-w", str(workers), "--threads", str(threads),
         "--log-level", "error", "reference:app"], cwd=HERE, env=environment)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(30)


def load(base, who, seconds, connections, run):
    token = base64.b64encode(":".join(who).encode()).decode()
    done = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", HERE / "post.lua",
         "-H", f"Authorization: Basic {token}", "-H", "Content-Type: application/json",
         base + "/api/webhook/zapier-contact"],
        env={"PATH": os.environ["PATH"], "RUN": run}, check=True, capture_output=True, text=True)
    found = dict(re.findall(r"(\w+)=([\d.]+)", done.stdout.splitlines()[-1]))
    assert found["wrong"] == "0" and found["lost"] == "0", done.stdout
    return float(found["requests"]) / float(found["seconds"]), float(found["p99_ms"])


def memory(pid):
    """Of a process and its children, in MiB."""
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    total = 0
    for one in [str(pid), *children]:
        text = pathlib.Path(f"/proc/{one}/smaps_rollup").read_text()
        total += int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))
    return total / 1024


def side_by_side(options, kind, url, python, folder, report):
    who = ("bench", secrets.token_urlsafe(24))
    lux = service.Lux(options.program, tempfile.mkdtemp(dir=folder), url and service.fresh(url, "lux_contacts"))
    lux.environment |= {"ZAPIER_USERNAME": who[0], "ZAPIER_PASSWORD": who[1]}
    lux.start()
    if url:
        subprocess.run(["psql", "-q", url, "-c", "create schema if not exists reference"], check=True)
        split = url.replace("postgres://", "postgresql+psycopg://")
        flask = split + ("&" if "?" in split else "?") + "options=-csearch_path%3Dreference"
    else:
        flask = f"sqlite:///{folder}/reference.db"
    rates = {"lux": [], "flask": []}
    with reference(python, flask, who, options.workers, options.threads) as (base, pid):
        for turn in range(TURNS):
            for name, address in (("flask", base), ("lux", lux.base)):
                rates[name].append(load(address, who, options.seconds, options.connections, f"{turn}"))
        used = memory(pid)
    own = memory(lux.process.pid)
    best = {name: max(turns) for name, turns in rates.items()}
    for name in ("flask", "lux"):
        turns = ", ".join(f"{rate:,.0f}" for rate, _ in rates[name])
        report(f"{kind}: {name}, contacts a second in {TURNS} turns", f"{turns}; p99 {best[name][1]:.1f} ms; "
               f"{used if name == 'flask' else own:.0f} MiB")
    report(f"{kind}: Lux against Flask", f"{best['lux'][0] / best['flask'][0]:.1f} times")
    lux.stop()


def segments(options, kind, url, folder, report):
    lux = service.Lux(options.program, tempfile.mkdtemp(dir=folder), url and service.fresh(url, "lux_segments"))
    lux.start()
    connection = lux.connect()
    who = lux.run("webhook-credential", "create", "bench", "--json")
    import json
    made = json.loads(who)
    token = base64.b64encode(f"{made['username']}:{made['password']}".encode()).decode()
    started = time.perf_counter()
    for first in range(0, options.rows, 100):
        body = json.dumps([{"email": f"p{n}@example.com", "name": f"Ada L{n}", "source": ["webinar", "newsletter", "shop"][n % 3],
                            "spent": n % 1000} for n in range(first, first + 100)])
        headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        connection.request("POST", "/api/webhook/zapier-contact", body, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 201, answer.status
    report(f"{kind}: {options.rows:,} contacts in lists of 100 over one connection",
           f"{options.rows / (time.perf_counter() - started):,.0f} a second")
    rule = {"all": [{"field": "source", "op": "is", "value": "webinar"},
                    {"field": "attributes.spent", "op": "greater", "value": 500}]}
    started = time.perf_counter()
    segment = lux.ask(connection, "POST", "/api/segments", {"name": "Spenders", "rule": rule})
    while segment["next_rule"]:
        time.sleep(0.2)
        segment = lux.ask(connection, "GET", f"/api/segments/{segment['id']}")
    report(f"{kind}: a new rule counted out over all", f"{time.perf_counter() - started:.1f} s; {segment['members']:,} fit")
    times = []
    for _ in range(20):
        started = time.perf_counter()
        lux.ask(connection, "GET", f"/api/segments/{segment['id']}")
        times.append(time.perf_counter() - started)
    report(f"{kind}: the count of that segment", service.milliseconds(times))
    big = next(it for it in lux.ask(connection, "GET", "/api/segments")["segments"] if it["slug"] == "lead")
    times = []
    for _ in range(20):
        started = time.perf_counter()
        lux.ask(connection, "GET", f"/api/segments/{big['id']}")
        times.append(time.perf_counter() - started)
    report(f"{kind}: the count of one with {big['members']:,} members", service.milliseconds(times))
    for query in ("q=ada+l4711", f"segment={segment['id']}", "sort=active", "tag=zapier"):
        times = []
        for _ in range(20):
            started = time.perf_counter()
            lux.ask(connection, "GET", f"/api/contacts?{query}")
            times.append(time.perf_counter() - started)
        report(f"{kind}: /api/contacts?{query.split('=')[0]}=…", service.milliseconds(times))
    lux.stop()


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--program", default=str(service.ROOT / "target/release/lux"))
    options.add_argument("--seconds", type=int, default=10)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--workers", type=int, default=4)
    options.add_argument("--threads", type=int, default=4)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--only", choices=["sqlite", "postgres"])
    options = options.parse_args()

    def report(what, value):
        print(f"| {what} | {value} |", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        python = venv(folder)
        if options.only != "postgres":
            side_by_side(options, "SQLite", None, python, folder, report)
            segments(options, "SQLite", None, folder, report)
        if options.only != "sqlite":
            with service.postgres() as url:
                side_by_side(options, "PostgreSQL", url, python, folder, report)
                segments(options, "PostgreSQL", url, folder, report)


if __name__ == "__main__":
    main()
