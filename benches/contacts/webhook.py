#!/usr/bin/env python3
"""The webhook side by side with a plain Flask service.

    cargo build --release
    python3 benches/contacts/webhook.py [--seconds 10] [--connections 64] [--only sqlite|postgres]

Needs `wrk`, Debian's postgresql for its rows, and installs the reference service's packages into
a folder of its own. Both services take the same requests over as many connections from the same
program, in turns, on the same machine; nine of ten bring somebody new. What is counted is what was
answered with 200 or 201, which both do after the commit, and afterwards the contacts in the
database, each in a segment, are held against it. The load costs processor time as well: with 2
cores the faster service is slowed most by it. All traffic goes to 127.0.0.1; everything made is
removed.
"""

import argparse
import base64
import contextlib
import os
import pathlib
import re
import secrets
import socket
import sqlite3
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
    return float(found["requests"]) / float(found["seconds"]), float(found["p99_ms"]), int(found["requests"])


def check(name, turns, connections, contacts, members):
    """Nine of ten requests are a new contact; what was under way at the end of a turn may be more."""
    answered = sum(requests for _, _, requests in turns)
    least, most = 0.9 * answered - 2 * TURNS, 0.9 * answered + TURNS * (connections + 2)
    assert least <= contacts <= most, (name, answered, contacts)
    assert members == contacts, (name, contacts, members)


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
        own = service.fresh(url, "reference")
        flask = own.replace("postgres://", "postgresql+psycopg://")
    else:
        own, flask = folder / "reference.db", f"sqlite:///{folder}/reference.db"

    def flask_has(sql):
        if url:
            told = subprocess.run(["psql", "-qAt", own, "-c", sql], check=True, capture_output=True, text=True)
            return int(told.stdout)
        with contextlib.closing(sqlite3.connect(own)) as connection:
            return connection.execute(sql).fetchone()[0]

    turns = {"lux": [], "flask": []}
    with reference(python, flask, who, options.workers, options.threads) as (base, pid):
        for turn in range(TURNS):
            for name, address in (("flask", base), ("lux", lux.base)):
                turns[name].append(load(address, who, options.seconds, options.connections, f"{turn}"))
        used = {"flask": memory(pid), "lux": memory(lux.process.pid)}
    everybody, placed = "select count(*) from contact", "select count(distinct contact_id) from segment_member"
    check("flask", turns["flask"], options.connections, flask_has(everybody), flask_has(placed))
    check("lux", turns["lux"], options.connections, lux.scalar(everybody), lux.scalar(placed))
    best = {name: max(of) for name, of in turns.items()}
    for name in ("flask", "lux"):
        rates = ", ".join(f"{rate:,.0f}" for rate, _, _ in turns[name])
        report(f"{kind}: {name}, contacts a second in {TURNS} turns",
               f"{rates}; p99 {best[name][1]:.1f} ms; {used[name]:.0f} MiB")
    report(f"{kind}: Lux against Flask", f"{best['lux'][0] / best['flask'][0]:.1f} times")
    lux.stop()


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--program", default=str(service.ROOT / "target/release/lux"))
    options.add_argument("--seconds", type=int, default=10)
    options.add_argument("--connections", type=int, default=64)
    options.add_argument("--workers", type=int, default=4)
    options.add_argument("--threads", type=int, default=4)
    options.add_argument("--only", choices=["sqlite", "postgres"])
    options = options.parse_args()

    def report(what, value):
        print(f"| {what} | {value} |", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        python = venv(folder)
        if options.only != "postgres":
            side_by_side(options, "SQLite", None, python, folder, report)
        if options.only != "sqlite":
            with service.postgres() as url:
                side_by_side(options, "PostgreSQL", url, python, folder, report)


if __name__ == "__main__":
    main()
