#!/usr/bin/env python3
"""Measures lists, searches and single customers among many, and prints one table.

    cargo build --release
    python3 benches/customers.py [--customers 100000] [--messages 1000000] [--asks 500] [--only sqlite|postgres]

For each database: so many customers with profiles (and messages, where this Lux has conversations)
are written straight into it while the server is stopped; the server indexes their words as it
always does; then each kind of question is asked again and again over one connection, with another
customer or word each time. All traffic goes to 127.0.0.1; everything made is removed.
"""

import argparse
import contextlib
import itertools
import pathlib
import random
import sqlite3
import subprocess
import time

import service

FIRST = ["Ada", "Eve", "Grace", "Joan", "Katherine", "Edsger", "Alan", "Barbara", "Donald", "Frances"]
LAST = ["Lovelace", "Hopper", "Clarke", "Johnson", "Dijkstra", "Turing", "Liskov", "Knuth", "Allen", "Hamilton"]
TRADES = ["Engines", "Looms", "Bakery", "Optics", "Paper", "Freight", "Gardens"]
# Ids that no account of the server's own has.
BASE = 1_000_000


def statements(server, options):
    """What fills the tables; numbers come from a recursive table on both databases."""
    pick = "(case {} {} end)".format
    spell = lambda column, words: pick(column, " ".join(f"when {n} then '{word}'" for n, word in enumerate(words)))
    name = f"{spell('n % 10', FIRST)} || ' ' || {spell('n / 10 % 10', LAST)} || ' ' || n"
    at = "'2026-01-01T00:00:00+00:00'"
    numbers = "with recursive t(n) as (select 0 union all select n + 1 from t where n + 1 < {})".format
    seen = "case when n % 3 = 0 then null else '2026-0' || (1 + n % 9) || '-1' || (n % 10) || 'T00:00:00+00:00' end"
    if server.environment.get("DATABASE_URL"):
        seen = f"cast({seen} as timestamptz)"
    yield (f"{numbers(options.customers)} insert into account (id, organization_id, name, email, email_key, role, "
           f"status, created_at, signed_in_at) select {BASE} + n, 1, {name}, 'user' || n || '@example.com', "
           f"'user' || n || '@example.com', case when n % 1000 = 0 then 'operator' else 'customer' end, "
           f"case when n % 500 = 0 then 'disabled' else 'active' end, {at}, {seen} from t")
    # Every fifth has none, and is a customer all the same.
    yield (f"{numbers(options.customers)} insert into customer_profile (account_id, organization_id, company, "
           f"updated_at) select {BASE} + n, 1, {spell('n % 7', TRADES)} || ' ' || (n / 100), {at} from t "
           "where n % 5 <> 0")
    if not has_conversations(server):
        return
    yield (f"{numbers(options.customers)} insert into conversation (id, organization_id, customer_id, subject, "
           f"message_count, created_at, last_message_at) select {BASE} + n, 1, {BASE} + n, 'Question ' || n, "
           f"{options.messages // options.customers}, {at}, {at} from t")
    yield (f"{numbers(options.messages)} insert into conversation_message (conversation_id, author, text, "
           f"created_at) select {BASE} + n % {options.customers}, 'customer', 'message ' || n, {at} from t")


def has_conversations(server):
    with contextlib.suppress(Exception):
        server.scalar("select count(*) from conversation where id < 0")
        return True
    return False


def fill(server, options):
    """Straight into the database, each in a transaction of its own."""
    for statement in statements(server, options):
        if url := server.environment.get("DATABASE_URL"):
            subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", url, "-c", statement], check=True)
            continue
        with contextlib.closing(sqlite3.connect(server.folder / "data/lux.db", timeout=60)) as connection:
            connection.execute("pragma foreign_keys = on")
            with connection:
                connection.execute(statement)
    if url := server.environment.get("DATABASE_URL"):
        subprocess.run(["psql", "-q", url, "-c", "analyze"], check=True)


def questions(options):
    """Names of what is asked, and endless paths of it."""
    chance = random.Random(7)
    number = lambda: chance.randrange(options.customers)
    kinds = {
        "the list": lambda: "/api/customers",
        "the list by name": lambda: "/api/customers?sort=name",
        "the list by last seen": lambda: "/api/customers?sort=seen",
        "operators": lambda: "/api/customers?role=operator",
        "deactivated": lambda: "/api/customers?status=disabled",
        "without a verified address": lambda: "/api/customers?verified=false",
        "search of a word that few have": lambda: f"/api/customers?q={number()}",
        "search of a beginning": lambda: f"/api/customers?q=user{number() // 100}",
        "search of a word that a tenth has": lambda: f"/api/customers?q={chance.choice(FIRST)}",
        "search of a word that all have": lambda: "/api/customers?q=example",
        "search of two words": lambda: f"/api/customers?q={chance.choice(FIRST)}+{chance.choice(TRADES)}",
        "search of one letter": lambda: f"/api/customers?q={chance.choice('aeghkl')}",
        "search of nothing": lambda: f"/api/customers?q=zebra{number()}",
        "one customer": lambda: f"/api/customers/{BASE + number()}",
        "one by address": lambda: f"/api/customers/email/user{number()}@example.com",
    }
    if options.conversations:
        kinds["sessions of one customer"] = lambda: f"/api/customers/{BASE + number()}/sessions"
        kinds["messages of all"] = lambda: "/api/chat-logs"
    return kinds


def measure(server, options, kind, report):
    connection = server.connect()
    for name, path in questions(options).items():
        times = []
        for _ in range(options.asks):
            asked = path()
            started = time.perf_counter()
            server.ask(connection, "GET", asked)
            times.append(time.perf_counter() - started)
        report(f"{kind}: {name}", service.milliseconds(times))
    # A page somewhere in the middle is as fast as the first.
    for sort in ("newest", "name", "seen"):
        times, cursor = [], ""
        for _ in itertools.repeat(None, options.asks):
            started = time.perf_counter()
            page = server.ask(connection, "GET", f"/api/customers?limit=200&sort={sort}{cursor}")
            times.append(time.perf_counter() - started)
            cursor = f"&cursor={page['next']}" if page["next"] else ""
        report(f"{kind}: {options.asks} pages of 200 in a row, {sort}", service.milliseconds(times))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lux", type=pathlib.Path, default=service.ROOT / "target/release/lux")
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--asks", type=int, default=500)
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    options = parser.parse_args()
    assert 100 <= options.customers <= 1_000_000 and options.messages <= 10_000_000 and options.asks <= 10_000
    options.lux = options.lux.resolve()

    def report(name, value):
        print(f"| {name} | {value} |", flush=True)

    with service.postgres() as url:
        for kind, database in [("SQLite", None), ("PostgreSQL", url)]:
            if not kind.lower().startswith(options.only or "") or (kind == "PostgreSQL" and not url):
                continue
            with service.lux(options.lux, database) as server:
                server.stop()
                options.conversations = has_conversations(server)
                started = time.perf_counter()
                fill(server, options)
                report(f"{kind}: {options.customers:,} customers written", f"{time.perf_counter() - started:.0f} s")
                server.start()
                started = time.perf_counter()
                while server.scalar("select count(*) from customer_unindexed"):
                    assert time.perf_counter() - started < 1800, "the words are not indexed"
                    time.sleep(0.5)
                report(f"{kind}: their words indexed", f"{time.perf_counter() - started:.0f} s")
                measure(server, options, kind, report)


if __name__ == "__main__":
    main()
