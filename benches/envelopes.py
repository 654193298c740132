#!/usr/bin/env python3
"""Events of a real SDK until they are stored, in Lux and in Bugsink side by side.

    cargo build --release
    python3 benches/envelopes.py [--seconds 10] [--lux target/release/lux] [--only lux|bugsink]

Installs sentry-sdk and Bugsink by pip into a folder that is removed. Both servers run on this
machine in turn, each on its default embedded database, with its quotas raised and all else as
it comes; the load comes from processes of this script, so it shares the cores with the server
alike. All traffic goes to 127.0.0.1. Takes about six minutes.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import pathlib
import random
import selectors
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import uuid
import zlib

from service import ROOT, Lux, percentile

GROUPS = 200
# As many as a few application servers hold.
CONNECTIONS = 64
# Processes that hold them.
WORKERS = 2

# Run in the SDK's environment: prints one event of about so many bytes, as the SDK would send it.
# Each frame is a function of its own with lines, names and values of its own.
EVENT = '''
import importlib, json, pathlib, random, sys, tempfile, sentry_sdk
size, taken, rng = int(sys.argv[1]), [], random.Random(1)
sentry_sdk.init(dsn="http://k@127.0.0.1:9/1", release="shop@1.4.2", environment="production",
                before_send=lambda event, hint: taken.append(event) or event,
                transport=lambda *_: None)
folder = tempfile.TemporaryDirectory()
sys.path.insert(0, folder.name)
words = ["basket", "order", "customer", "invoice", "rate", "tax", "stock", "parcel", "label", "quote"]
def word():
    return rng.choice(words) + "_" + rng.choice(words)
def module(depth):
    lines = ["def price(order):", "    rates = {'EUR': 1.0, 'USD': 1.08}", "    return rates[order]"]
    for n in range(depth):
        below = f"step_{n - 1}" if n else "price"
        lines += [f"def step_{n}(order):", f"    {word()} = '{rng.getrandbits(160):x}'",
                  f"    {word()} = {{'sku': '{rng.getrandbits(48):x}', 'amount': {rng.random():.4f}, '{word()}': {rng.randrange(10**6)}}}",
                  f"    {word()} = [{', '.join(str(rng.randrange(10**5)) for _ in range(6))}]",
                  f"    # {' '.join(word() for _ in range(6))}", f"    return {below}(order)"]
    pathlib.Path(folder.name, f"shop_{depth}.py").write_text(chr(10).join(lines))
    importlib.invalidate_caches()
    return importlib.import_module(f"shop_{depth}")
def made(depth):
    shop = module(depth)
    taken.clear()
    with sentry_sdk.isolation_scope() as scope:
        scope.set_user({"id": "42", "username": "ann"})
        scope.set_tag("shop.region", "eu-west")
        for n in range(depth):
            sentry_sdk.add_breadcrumb(category="query", message=f"SELECT * FROM {word()} WHERE id = {n}",
                                      data={"rows": n, "took_ms": rng.random()})
        try:
            getattr(shop, f"step_{depth - 1}")("GBP")
        except KeyError as error:
            sentry_sdk.capture_exception(error)
    return taken[0]
depth, event = 1, ""
while len(event) < size and depth < 95:
    depth += 1
    event = json.dumps(made(depth), default=str)
print(event)
'''


def bodies(event, count, seed):
    """Events of many groups, each with an id of its own, packed as SDKs pack them."""
    base = json.loads(event)
    base["timestamp"] = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    text = json.dumps(base).replace(base["event_id"], "@ID@").replace('"function": "price"', '"function": "price_@N@"')
    rng = random.Random(seed)
    for _ in range(count):
        ident = uuid.UUID(int=rng.getrandbits(128), version=4).hex
        payload = text.replace("@ID@", ident).replace("@N@", str(rng.randrange(GROUPS))).encode()
        head = json.dumps({"event_id": ident, "sent_at": base["timestamp"]}).encode()
        item = b'{"type":"event","content_type":"application/json","length":%d}' % len(payload)
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        yield ident, packer.compress(b"\n".join([head, item, payload, b""])) + packer.flush()


class Connection:
    """A connection that asks, and asks again as soon as it is answered, or at a rate."""

    def __init__(self, address, requests, began, rate, first):
        self.address, self.requests, self.began, self.rate = address, requests, began, rate
        self.number, self.first = 0, first
        self.socket, self.answer, self.at, self.idle_until = None, b"", None, 0.0

    def due(self):
        """When the next request is to be sent."""
        planned = self.began + self.first + self.number / self.rate if self.rate else 0.0
        return max(planned, self.idle_until)

    def send(self, selector):
        if self.socket is None:
            self.socket = socket.create_connection(self.address, timeout=120)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(self.socket, selectors.EVENT_READ, self)
        # A request that had to wait for the answer before it counts from when it was due.
        self.at = self.began + self.first + self.number / self.rate if self.rate else time.perf_counter()
        self.answer, self.ident = b"", self.requests[self.number][0]
        self.number += 1
        self.socket.sendall(self.requests[self.number - 1][1])

    def receive(self):
        """The status and whether the server closes, once the answer is whole."""
        more = self.socket.recv(65536)
        if not more:
            raise ConnectionError
        self.answer += more
        head, end, rest = self.answer.partition(b"\r\n\r\n")
        if not end:
            return None
        fields = head.lower().split(b"\r\n")
        length = next(int(f[15:]) for f in fields if f.startswith(b"content-length:"))
        return (int(head[9:12]), b"connection: close" in fields) if len(rest) >= length else None

    def close(self, selector):
        if self.socket is not None:
            selector.unregister(self.socket)
            self.socket.close()
        self.socket, self.at = None, None


def work(target, event, count, seed, ready, go, until, rate, results):
    """Several connections in one process, for a process each would cost the server its cores."""
    prepared = []
    for ident, body in bodies(event, count, seed):
        head = (f"POST {target['path']} HTTP/1.1\r\nHost: {target['host']}\r\n"
                f"X-Sentry-Auth: Sentry sentry_version=7, sentry_key={target['key']}, sentry_client=bench/1\r\n"
                f"Content-Type: application/x-sentry-envelope\r\nContent-Encoding: gzip\r\n"
                f"{target['extra']}Content-Length: {len(body)}\r\n\r\n").encode()
        prepared.append((ident, head + body))
    address = (target["host"].split(":")[0], int(target["host"].split(":")[1]))
    ready.release()
    go.wait()
    began, each = time.perf_counter(), CONNECTIONS // WORKERS
    selector = selectors.DefaultSelector()
    connections = [Connection(address, prepared[n::each], began, rate / each if rate else None,
                              n / rate if rate else 0.0) for n in range(each)]
    times, acknowledged, refused = [], [], {}

    def fail(one):
        # The server was killed, which is part of one measurement.
        one.close(selector)
        one.idle_until = time.perf_counter() + 0.05
        refused["cut"] = refused.get("cut", 0) + 1

    while True:
        now = time.perf_counter()
        over = now >= began + until
        waiting = []
        for one in connections:
            if one.at is None and one.number < len(one.requests) and not over:
                if (due := one.due()) > now:
                    waiting.append(due)
                    continue
                try:
                    one.send(selector)
                except OSError:
                    fail(one)
        busy = [one for one in connections if one.at is not None]
        if not busy and (over or all(one.number >= len(one.requests) for one in connections)):
            break
        pause = max(0.0, min(waiting) - time.perf_counter()) if waiting else 0.05
        if not busy:
            time.sleep(pause)
            continue
        for key, _ in selector.select(pause):
            one = key.data
            try:
                answer = one.receive()
            except OSError:
                fail(one)
                continue
            if answer is None:
                continue
            status, closes = answer
            if status == 200:
                acknowledged.append(one.ident)
                times.append(time.perf_counter() - one.at)
            else:
                refused[status] = refused.get(status, 0) + 1
            one.at = None
            if closes:
                one.close(selector)
    results.put((time.perf_counter() - began, times, acknowledged, refused))


def load(target, event, count, seconds, rate=None, meanwhile=None):
    """Sends from all connections. Gives seconds, latencies, ids acknowledged, and what was refused."""
    ready, go, results = multiprocessing.Semaphore(0), multiprocessing.Event(), multiprocessing.Queue()
    each = rate / WORKERS if rate else None
    workers = [multiprocessing.Process(target=work, args=(
        target, event, count // WORKERS + CONNECTIONS, random.getrandbits(60), ready, go, seconds, each, results))
        for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    for _ in workers:
        ready.acquire()
    go.set()
    if meanwhile:
        meanwhile()
    took, times, acknowledged, refused = 0.0, [], [], {}
    for _ in workers:
        one = results.get()
        took = max(took, one[0])
        times += one[1]
        acknowledged += one[2]
        for status, number in one[3].items():
            refused[status] = refused.get(status, 0) + number
    for worker in workers:
        worker.join()
    return took, times, acknowledged, refused


def memory(process):
    """Resident MiB of a process and its descendants."""
    pids, total = [process.pid], 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                pids += map(int, pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text().split())
            fields = pathlib.Path(f"/proc/{pid}/status").read_text()
            total += next(int(l.split()[1]) for l in fields.splitlines() if l.startswith("VmRSS"))
    return total / 1024


class LuxServer(Lux):
    name = "Lux"

    def __init__(self, program, folder):
        super().__init__(program, folder)
        self.environment.update({"LUX_CAPTURE_QUOTA": "4000000000"})

    def begin(self):
        started = time.perf_counter()
        self.start()
        made = json.loads(self.run("apps", "add", "shop", "--base-url", "http://127.0.0.1:9", "--json"))
        dsn = urllib.parse.urlsplit(made["dsn"])
        self.target = {"host": self.address, "path": f"/api{dsn.path}/envelope/", "key": dsn.username, "extra": ""}
        return time.perf_counter() - started

    def again(self):
        self.start()
        self.target["host"] = self.address

    def stored(self):
        with contextlib.closing(sqlite3.connect(self.folder / "data/lux.db", timeout=60)) as db:
            return db.execute("select count(*) from error_log").fetchone()[0]

    def ids(self):
        with contextlib.closing(sqlite3.connect(self.folder / "data/lux.db", timeout=60)) as db:
            return [row[0] for row in db.execute("select event_id from error_log where event_id is not null")]


class Bugsink:
    name = "Bugsink"

    def __init__(self, python, folder):
        self.folder, self.bin = pathlib.Path(folder), pathlib.Path(python).parent
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.environment = {"PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": str(folder)}
        self.run("bugsink-create-conf", "--template=singleserver", f"--host=127.0.0.1", f"--base-dir={folder}")
        config = self.folder / "bugsink_conf.py"
        quotas = "".join(f'BUGSINK["{name}"] = 10**12\n' for name in (
            "MAX_EVENTS_PER_PROJECT_PER_5_MINUTES", "MAX_EVENTS_PER_PROJECT_PER_HOUR",
            "MAX_EVENTS_PER_PROJECT_PER_MONTH", "MAX_EVENTS_PER_5_MINUTES", "MAX_EVENTS_PER_HOUR",
            "MAX_EVENTS_PER_MONTH"))
        config.write_text(config.read_text() + "\n" + quotas)
        self.run("bugsink-manage", "migrate")
        self.run("bugsink-manage", "migrate", "snappea", "--database=snappea")
        made = self.run("bugsink-manage", "shell", "-c",
                        "from projects.models import Project\n"
                        "p = Project.objects.create(name='shop')\n"
                        "print('made', p.id, p.sentry_key)").split()
        number, key = made[-2], made[-1].replace("-", "")
        self.target = {"host": f"127.0.0.1:{self.port}", "path": f"/api/{number}/envelope/", "key": key,
                       "extra": "X-Forwarded-Proto: https\r\n"}

    def run(self, *arguments):
        done = subprocess.run([self.bin / arguments[0], *arguments[1:]], env=self.environment,
                              cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    def begin(self):
        started = time.perf_counter()
        log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(
            ["sh", "-c", f"bugsink-runsnappea & exec gunicorn --bind 127.0.0.1:{self.port} "
                         "--workers 2 --access-logfile /dev/null bugsink.wsgi"],
            env=self.environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True)
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=5)
            except urllib.error.HTTPError:
                break
            except OSError:
                assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
                time.sleep(0.05)
                continue
            break
        return time.perf_counter() - started

    def stored(self):
        with contextlib.closing(sqlite3.connect(self.folder / "db.sqlite3", timeout=60)) as db:
            return db.execute("select count(*) from events_event").fetchone()[0]

    def stop(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def measure(server, events, options):
    figures = {"start s": f"{server.begin():.2f}"}
    for size, event in events.items():
        name, before = f"{size // 1000} KB", server.stored()
        count = 60_000 if server.name == "Lux" and size < 20_000 else 20_000 if server.name == "Lux" else 4000
        most = [0.0]

        def watch(seconds=options.seconds):
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                most[0] = max(most[0], memory(server.process))
                time.sleep(0.2)

        began = time.perf_counter()
        took, _, acknowledged, refused = load(server.target, event, count, options.seconds, meanwhile=watch)
        began = time.perf_counter() - took
        wanted, last, moved = before + len(acknowledged), -1, time.perf_counter()
        while (now := server.stored()) < wanted:
            if now != last:
                last, moved = now, time.perf_counter()
            elif time.perf_counter() - moved > 30:
                break
            if time.perf_counter() - began > options.patience:
                break
            time.sleep(0.1)
        digested = server.stored() - before
        rate = digested / (time.perf_counter() - began)
        complete = digested >= len(acknowledged)
        figures[f"{name}: accepted/s"] = f"{len(acknowledged) / took:.0f}"
        figures[f"{name}: stored/s"] = f"{rate:.0f}"
        figures[f"{name}: acknowledged, stored"] = f"{len(acknowledged)}, {digested}" + (
            "" if complete else f" (after {options.patience} s)")
        figures[f"{name}: refused"] = str(refused or 0)
        half = len(acknowledged) / took / 2
        took, times, acknowledged, _ = load(server.target, event, int(half * options.seconds) + CONNECTIONS,
                                            options.seconds, rate=half, meanwhile=watch)
        for share, label in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99")):
            figures[f"{name}: half load {label} ms"] = f"{percentile(times, share) * 1e3:.1f}"
        figures[f"{name}: memory MiB"] = f"{most[0]:.0f}"
    return figures


def killed(server, event, options):
    """Kills the server under load and starts it again: what was acknowledged must be there once."""
    def kill():
        time.sleep(3)
        server.process.kill()
        server.process.wait()

    _, _, acknowledged, _ = load(server.target, event, 40_000, 4, meanwhile=kill)
    server.again()
    kept = server.ids()
    lost = len(set(acknowledged) - set(kept))
    twice = len(kept) - len(set(kept))
    return {"kill -9: acknowledged, lost, twice": f"{len(acknowledged)}, {lost}, {twice}"}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--lux", default=str(ROOT / "target/release/lux"))
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--patience", type=float, default=60, help="seconds that digesting may take")
    options.add_argument("--only", choices=["lux", "bugsink"])
    options = options.parse_args()
    options.lux = str(pathlib.Path(options.lux).resolve())
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lux-envelopes"))
    try:
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        python = folder / "venv/bin/python"
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check",
                        "sentry-sdk", "bugsink"], check=True)
        events = {size: subprocess.run([python, "-c", EVENT, str(size)], check=True,
                                       capture_output=True, text=True).stdout for size in (12_000, 50_000)}
        print("events of", ", ".join(f"{len(event)} bytes" for event in events.values()), flush=True)
        tables = {}
        if options.only != "bugsink":
            (folder / "lux").mkdir()
            server = LuxServer(options.lux, folder / "lux")
            try:
                tables["Lux"] = measure(server, events, options)
                tables["Lux"].update(killed(server, events[12_000], options))
            finally:
                server.process.kill()
        if options.only != "lux":
            (folder / "bugsink").mkdir()
            server = Bugsink(python, folder / "bugsink")
            try:
                tables["Bugsink"] = measure(server, events, options)
            finally:
                server.stop()
        rows = list(dict.fromkeys(name for table in tables.values() for name in table))
        print(f"{'':<36}" + "".join(f"{name:>26}" for name in tables))
        for row in rows:
            print(f"{row:<36}" + "".join(f"{table.get(row, ''):>26}" for table in tables.values()))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
