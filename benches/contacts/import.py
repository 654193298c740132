#!/usr/bin/env python3
"""Brings in a file of contacts, and files that were made to do harm.

    cargo build --release
    python3 benches/contacts/import.py [--rows 1000000] [--only sqlite|postgres] [--hostile]

The file is sent over the API and begun; the time is from the start until the import says that it
is done, all rows committed and in their segments, and the one of the upload is told beside it. The
memory is the most that the program ever held. With --hostile files of 1 GB follow, each with a
program of its own: they must be refused, or be brought in with as little memory. Debian's
postgresql is needed for its rows. All traffic goes to 127.0.0.1; everything made is removed.
"""

import argparse
import json
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import service  # noqa: E402

GB = 10**9
SOURCES = ["webinar", "Website newsletter", "Fair 2026", "Sign-up form"]
CITIES = ["London", "Paris", "Osaka", "Köln", "Porto"]


def people(path, rows):
    """As a shop exports them: 7 columns, one telephone in two, everybody new."""
    with open(path, "w") as file:
        file.write("E-mail,First name,Last name,Phone,Source,City,Spent\r\n")
        for n in range(rows):
            phone = f"+4420{70_000_000 + n % 10_000_000:08}" if n % 2 else ""
            file.write(f"p{n}@shop{n % 997}.example.com,Ada,Lovelace {n},{phone},{SOURCES[n % 4]},"
                       f"{CITIES[n % 5]},{n % 1000}\r\n")
    return path.stat().st_size


def send(lux, path):
    """Gives the status and the answer; the file is read while it is sent."""
    connection = lux.connect()
    headers = {"Authorization": f"Bearer {lux.token}", "Content-Type": "text/csv",
               "Content-Length": str(path.stat().st_size)}
    with open(path, "rb") as file:
        connection.request("POST", f"/api/contacts/imports?name={path.name}", file, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def bring(lux, found):
    """Begins an import and waits for its end; gives it, and how long it took in seconds."""
    connection = lux.connect()
    started = time.perf_counter()
    lux.ask(connection, "POST", f"/api/contacts/imports/{found['id']}/start")
    while found["status"] not in ("done", "failed", "cancelled"):
        time.sleep(0.1)
        found = lux.ask(connection, "GET", f"/api/contacts/imports/{found['id']}")
        assert time.perf_counter() - started < 3600, found
    return found, time.perf_counter() - started


def measure(options, kind, url, folder, report):
    path = folder / "people.csv"
    size = people(path, options.rows)
    with service.lux(options.program, url and service.fresh(url, "lux_import")) as lux:
        started = time.perf_counter()
        status, found = send(lux, path)
        assert status == 201, found
        uploaded = time.perf_counter() - started
        found, took = bring(lux, found)
        assert found["status"] == "done" and found["counts"]["created"] == options.rows, found
        assert lux.scalar("select count(*) from contact") == options.rows
        assert lux.scalar("select count(distinct contact_id) from segment_member") == options.rows
        report(f"{kind}: import of {options.rows:,} rows, {size / 1e6:.0f} MB",
               f"{options.rows / took:,.0f} rows/s ({took:.1f} s, sent in {uploaded:.1f} s); "
               f"at most {lux.resident_mib('VmHWM'):.0f} MiB")
        # The same again: everybody is known.
        found, took = bring(lux, send(lux, path)[1])
        assert found["counts"]["unchanged"] == options.rows, found
        report(f"{kind}: the same file again, nobody changed", f"{options.rows / took:,.0f} rows/s")
        # Words follow behind; a search looks at those that are not there yet.
        waited = time.perf_counter()
        while left := lux.scalar("select count(*) from contact_unindexed"):
            time.sleep(0.5)
            assert time.perf_counter() - waited < 3600, left
        report(f"{kind}: memory after all that", f"{lux.resident_mib():.0f} MiB, at most {lux.resident_mib('VmHWM'):.0f}")


def repeated(path, before, block, after=b"", size=GB):
    """A file of that size, mostly of one block."""
    with open(path, "wb") as file:
        file.write(before)
        for _ in range((size - len(before) - len(after)) // len(block)):
            file.write(block)
        file.write(after)


def hostile(options, folder, report):
    path = folder / "hostile.csv"
    wide = b"x" * 1900
    rows = {
        "a field of 1 GB": (b'email,note\na@example.com,"', b"x" * 100_000, b'"\nb@example.com,fine\n'),
        "a line of 1 GB": (b"", b"x" * 100_000),
        "1 GB of commas": (b"email\n", b"," * 100_000),
        "a million columns": (b"email" + b",a" * 1_000_000 + b"\n", b"b@example.com" + b",b" * 1_000_000 + b"\n"),
        "500 000 columns without names": (b"", b"," * 500_000 + b"\n"),
        "1 GB of quotation marks": (b"email\n", b'"' * 100_000),
        "1 GB of NUL": (b"email\n", b"\0" * 100_000),
        "1 GB of empty lines": (b"email\na@example.com\n", b"\n" * 100_000),
        # Each of its rows is looked at, so it is smaller.
        "one address, three million times": (b"email\n", b"a@example.com\n" * 10_000, b"", 42 * 10**6),
        "rows of 0.5 MB, none of them taken": (b"email,note\n", b'nobody,"' + b"x" * 500_000 + b'"\n'),
        "rows of 0.5 MB, all of them taken": None,
    }
    for name, parts in rows.items():
        if parts:
            repeated(path, *parts)
        else:
            with open(path, "wb") as file:
                file.write(b"email," + b",".join(b"note%d" % n for n in range(250)) + b"\n")
                for n in range(GB // 480_000):
                    file.write(b"w%d@example.com," % n + b",".join([wide] * 250) + b"\n")
        with service.lux(options.program) as lux:
            before = lux.resident_mib("VmHWM")
            started = time.perf_counter()
            status, found = send(lux, path)
            told = found.get("detail", "")
            if status == 201:
                # Whatever it is taken for, the first column is the address.
                column = found["settings"]["columns"][0]["name"]
                lux.ask(lux.connect(), "PATCH", f"/api/contacts/imports/{found['id']}", {"columns": {column: "email"}})
                found, _ = bring(lux, found)
                told = f"{found['status']} {found['note']} {found['counts']}"
            took = time.perf_counter() - started
            kept = sum(it.stat().st_size for it in (lux.folder / "data").rglob("*") if it.is_file()) / 1e6
            report(f"{name}: {status} in {took:.0f} s, {lux.resident_mib('VmHWM'):.0f} MiB at most (before {before:.0f}), "
                   f"{kept:.0f} MB on disk", told)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--program", default=str(service.ROOT / "target/release/lux"))
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--only", choices=["sqlite", "postgres", "hostile"])
    options.add_argument("--hostile", action="store_true")
    options = options.parse_args()

    def report(what, value):
        print(f"| {what} | {value} |", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if options.only in (None, "sqlite"):
            measure(options, "SQLite", None, folder, report)
        if options.only in (None, "postgres"):
            with service.postgres() as url:
                if url:
                    measure(options, "PostgreSQL", url, folder, report)
        if options.hostile or options.only == "hostile":
            hostile(options, folder, report)


if __name__ == "__main__":
    main()
