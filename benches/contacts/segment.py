#!/usr/bin/env python3
"""Segments by rule over many contacts: counting a rule out, asking for the count, and whether who
signs up is a member at once.

    cargo build --release
    python3 benches/contacts/segment.py [--rows 1000000] [--only sqlite|postgres]

The contacts come from a file. Then somebody signs up by the webhook again and again: its answer,
which comes after the commit, has to name the segment, and the very next question, on another
connection, has to count one more. Debian's postgresql is needed for its rows. All traffic goes to
127.0.0.1; everything made is removed.
"""

import argparse
import base64
import importlib
import json
import pathlib
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import service  # noqa: E402

# "import" is a word of the language.
files = importlib.import_module("import")
RULE = {"all": [{"field": "source", "op": "is", "value": "webinar"},
                {"field": "attributes.spent", "op": "greater", "value": 500}]}


def timed(times, work):
    started = time.perf_counter()
    found = work()
    times.append(time.perf_counter() - started)
    return found


def measure(options, kind, url, folder, report):
    path = folder / "people.csv"
    files.people(path, options.rows)
    with service.lux(options.program, url and service.fresh(url, "lux_segment")) as lux:
        found, _ = files.bring(lux, files.send(lux, path)[1])
        assert found["counts"]["created"] == options.rows, found
        connection, webhook = lux.connect(), lux.connect()
        started = time.perf_counter()
        segment = lux.ask(connection, "POST", "/api/segments", {"name": "Spenders", "rule": RULE})
        while segment["next_rule"]:
            time.sleep(0.1)
            segment = lux.ask(connection, "GET", f"/api/segments/{segment['id']}")
        report(f"{kind}: a new rule counted out over {options.rows:,} contacts",
               f"{time.perf_counter() - started:.1f} s; {segment['members']:,} fit")
        # Of 0 to 999 spent, one source of four: so many are over 500, told without Lux.
        fit = sum(1 for n in range(options.rows) if n % 4 == 0 and n % 1000 > 500)
        assert segment["members"] == fit, (segment["members"], fit)

        ask = lambda which: lux.ask(connection, "GET", f"/api/segments/{which}")  # noqa: E731
        big = max(lux.ask(connection, "GET", "/api/segments")["segments"], key=lambda it: it["members"])
        for one in (segment, big):
            times = []
            for _ in range(50):
                timed(times, lambda one=one: ask(one["id"]))
            report(f"{kind}: the count of a segment with {one['members']:,} members", service.milliseconds(times))
        times = []
        for _ in range(50):
            timed(times, lambda: lux.ask(connection, "GET", "/api/segments"))
        report(f"{kind}: the list of all segments with their counts", service.milliseconds(times))

        made = json.loads(lux.run("webhook-credential", "create", "bench", "--json"))
        token = base64.b64encode(f"{made['username']}:{made['password']}".encode()).decode()
        headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        times = []
        for n in range(100):
            body = json.dumps({"email": f"late{n}@example.com", "source": "webinar", "spent": 501 + n})

            def sign_up():
                webhook.request("POST", "/api/webhook/zapier-contact", body, headers)
                answer = webhook.getresponse()
                return answer.status, json.loads(answer.read())

            status, told = timed(times, sign_up)
            assert status == 201 and "spenders" in told["segments"], told
            assert ask(segment["id"])["members"] == fit + n + 1, n
        report(f"{kind}: who signs up is a member when the webhook answers (100 of 100)", service.milliseconds(times))

        # Words follow behind; until then a search looks at more.
        started = time.perf_counter()
        while lux.scalar("select count(*) from contact_unindexed"):
            time.sleep(0.5)
        report(f"{kind}: then until all words were indexed", f"{time.perf_counter() - started:.0f} s")
        for query in ("q=ada+4711", f"segment={segment['id']}", "sort=active", "source=webinar"):
            times = []
            for _ in range(50):
                timed(times, lambda query=query: lux.ask(connection, "GET", f"/api/contacts?{query}"))
            report(f"{kind}: /api/contacts?{query.split('=')[0]}=…", service.milliseconds(times))
        started = time.perf_counter()
        lux.ask(connection, "PATCH", f"/api/segments/{segment['id']}",
                {"rule": {"field": "email_domain", "op": "is", "value": "shop7.example.com"}})
        while (segment := ask(segment["id"]))["next_rule"]:
            time.sleep(0.1)
        report(f"{kind}: its rule changed", f"{time.perf_counter() - started:.1f} s; {segment['members']:,} fit")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--program", default=str(service.ROOT / "target/release/lux"))
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--only", choices=["sqlite", "postgres"])
    options = options.parse_args()

    def report(what, value):
        print(f"| {what} | {value} |", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        if options.only != "postgres":
            measure(options, "SQLite", None, pathlib.Path(folder), report)
        if options.only != "sqlite":
            with service.postgres() as url:
                if url:
                    measure(options, "PostgreSQL", url, pathlib.Path(folder), report)


if __name__ == "__main__":
    main()
