#!/usr/bin/env python3
"""Measures how fast a campaign goes out, and whether kill -9 doubles or loses a mail.

    cargo build --release
    python3 benches/mail.py [--mails 100000] [--kills 10] [--connections 8] [--lux target/release/lux]

A mail server on loopback takes everything and counts each mail by its X-Lux-Mail. First the rate
without kills, then as many mails with kills at random moments, each followed by a start. Mails
whose fate nobody can know (killed in the moment of handing over) are counted by themselves: they
are neither sent again nor called sent. The rows about PostgreSQL need Debian's postgresql.
"""

import argparse
import asyncio
import collections
import multiprocessing
import pathlib
import random
import signal
import sqlite3
import subprocess
import tempfile
import time

from service import ROOT, Lux, postgres

AT = "2026-11-20T10:00:00+00:00"


class Taker(asyncio.Protocol):
    """One connection; knows as much SMTP as is needed."""

    def __init__(self, counts):
        self.counts, self.buffer, self.data = counts, b"", False

    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"220 sink\r\n")

    def data_received(self, data):
        self.buffer += data
        while True:
            if self.data:
                end = self.buffer.find(b"\r\n.\r\n")
                if end < 0:
                    return
                mail, self.buffer, self.data = self.buffer[:end], self.buffer[end + 5:], False
                mark = mail.split(b"X-Lux-Mail: ", 1)[1].split(b"-", 1)[0]
                self.counts[int(mark)] += 1
                self.transport.write(b"250 2.0.0 queued\r\n")
                continue
            line, found, rest = self.buffer.partition(b"\r\n")
            if not found:
                return
            self.buffer = rest
            verb = line[:4].upper()
            if verb == b"DATA":
                self.data = True
                self.transport.write(b"354 go on\r\n")
            elif verb == b"QUIT":
                self.transport.write(b"221 bye\r\n")
                self.transport.close()
                return
            elif verb == b"EHLO":
                self.transport.write(b"250-sink\r\n250 8BITMIME\r\n")
            else:
                self.transport.write(b"250 ok\r\n")


def sink(pipe):
    """Serves until the pipe says so; tells the port, and the counts whenever it is asked."""

    async def serve():
        loop = asyncio.get_running_loop()
        counts = collections.Counter()
        server = await loop.create_server(lambda: Taker(counts), "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        while True:
            await loop.run_in_executor(None, pipe.poll, None)
            asked = pipe.recv()
            if asked == "end":
                return
            pipe.send(sum(counts.values()) if asked == "count" else dict(counts))
            if asked == "clear":
                counts.clear()

    asyncio.run(serve())


class Data:
    """The database beside the program."""

    def __init__(self, lux, url):
        self.path, self.url = lux.folder / "data" / "lux.db", url

    def run(self, sql):
        if self.url:
            done = subprocess.run(["psql", "-qAt", self.url, "-c", sql], check=True, text=True,
                                  capture_output=True)
            return done.stdout.splitlines()
        with sqlite3.connect(self.path, timeout=60) as connection:
            return ["|".join(map(str, row)) for row in connection.execute(sql)]

    def prepare(self, campaign, mails):
        numbers = f"with recursive t(n) as (select 1 union all select n + 1 from t where n < {mails})"
        insert = (
            "insert into contact (id, organization_id, email, email_key, consent, created_at,"
            f" updated_at, active_at) {numbers} select n, 1, 'u' || n || '@example.org',"
            f" 'u' || n || '@example.org', 'confirmed', '{AT}', '{AT}', '{AT}' from t"
            " where true on conflict do nothing")
        text = "Hello, this is a mail of the usual length. " * 20
        for sql in [
            insert,
            "insert into campaign (id, organization_id, name, status, version, approved_version,"
            f" made_by, created_at, updated_at) values ({campaign}, 1, 'Bench', 'draft', 1, 1,"
            f" 'bench', '{AT}', '{AT}')",
            "insert into campaign_version (campaign_id, version, subjects, body, engine, made_by,"
            f" created_at) values ({campaign}, 1, '[\"Hello\"]', '{text}', 'person', 'bench', '{AT}')",
            "insert into campaign_mail (organization_id, campaign_id, contact_id)"
            f" select 1, {campaign}, id from contact order by id",
            f"update campaign set status = 'approved' where id = {campaign}",
        ]:
            self.run(sql)

    def status(self, campaign):
        return self.run(f"select status from campaign where id = {campaign}")[0]


def await_end(data, campaign):
    while data.status(campaign) != "sent":
        time.sleep(0.2)


def measure(arguments, name, url, pipe, port):
    with tempfile.TemporaryDirectory(prefix="lux-mail-") as folder:
        lux = Lux(arguments.lux, folder, url)
        lux.environment |= {
            "LUX_SMTP_URL": f"smtp://127.0.0.1:{port}?tls=none",
            "LUX_MAIL_FROM": "bench@example.com",
            "LUX_PUBLIC_URL": "https://lux.example.com",
        }
        with open(lux.folder / "lux.toml", "a") as config:
            config.write(f"[mail]\nconnections = {arguments.connections}\n")
        lux.start()
        data = Data(lux, url)
        data.prepare(1, arguments.mails)
        while True:
            pipe.send("count")
            if pipe.recv():
                break
            time.sleep(0.01)
        began = time.monotonic()
        await_end(data, 1)
        rate = arguments.mails / (time.monotonic() - began)
        pipe.send("clear")
        once = pipe.recv()
        assert len(once) == arguments.mails and set(once.values()) == {1}, "not each mail once"
        print(f"| {name} | {arguments.mails} mails | {rate:.0f}/s |", flush=True)

        data.prepare(2, arguments.mails)
        for kill in range(arguments.kills):
            share = (kill + random.random()) / arguments.kills * 0.95
            while True:
                pipe.send("count")
                if pipe.recv() >= share * arguments.mails or data.status(2) == "sent":
                    break
                time.sleep(random.random() / 50)
            lux.process.send_signal(signal.SIGKILL)
            lux.process.wait()
            lux.start()
        await_end(data, 2)
        pipe.send("clear")
        came = pipe.recv()
        known = {int(row) for row in data.run("select id from campaign_mail where campaign_id = 2")}
        unsure = {int(row) for row in data.run(
            "select id from campaign_mail where campaign_id = 2 and status = 'uncertain'")}
        doubled = sum(1 for times in came.values() if times > 1)
        lost = len(known - came.keys() - unsure)
        print(f"| {name} | {arguments.kills} times kill -9 | {doubled} doubled, {lost} lost, "
              f"{len(unsure)} uncertain (of which {len(unsure & came.keys())} arrived) |", flush=True)
        lux.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mails", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--lux", default=ROOT / "target/release/lux", type=pathlib.Path)
    arguments = parser.parse_args()
    arguments.lux = arguments.lux.resolve()
    pipe, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=sink, args=(theirs,), daemon=True)
    process.start()
    port = pipe.recv()
    print("| database | what | measured |\n| --- | --- | --- |")
    measure(arguments, "SQLite", None, pipe, port)
    with postgres() as url:
        if url:
            measure(arguments, "PostgreSQL", url, pipe, port)
    pipe.send("end")
    process.join(5)


if __name__ == "__main__":
    main()
