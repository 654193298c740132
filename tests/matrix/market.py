"""The market of the verdict matrix: an application with many ways to fail.

No route knows of a switch, but for the flapping ones: what breaks is what breaks in the
field, a file, a mode, a table, a neighbour. The tests change those while this runs.
"""

import fcntl
import json
import logging
import os
import random
import socket
import ssl
import time
import traceback
import urllib.request

import psycopg
import tariffs
from flask import Flask, redirect, render_template, request
from werkzeug.exceptions import HTTPException

HOME = os.environ["MARKET_HOME"]
APP = os.environ["MARKET_APP"]
# name -> port of a neighbour, name -> connection string of a database
PORTS = json.loads(os.environ["MARKET_PORTS"])
DATABASES = json.loads(os.environ["MARKET_DATABASES"])

logging.basicConfig(
    filename=os.environ["MARKET_LOG"],
    level=logging.INFO,
    format="%(asctime)s %(levelname)s %(name)s: %(message)s",
)
log = logging.getLogger("market")
app = Flask("market", template_folder=os.path.join(HOME, "templates"))
app.config["TEMPLATES_AUTO_RELOAD"] = True
# Neighbours are on this host, whatever proxy the environment names.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def place(*parts):
    return os.path.join(HOME, *parts)


def load(name):
    with open(place("data", name), encoding="utf-8") as file:
        return json.load(file)


def tell(error, endpoint=None):
    """Reports to Lux as an application does: before the user has the answer."""
    with open(place("..", "lux.json"), encoding="utf-8") as file:
        lux = json.load(file)
    names = ("User-Agent", "X-Lux-Probe")
    event = {
        "app": APP,
        "error_type": type(error).__name__,
        "error_message": str(error),
        "error_stack": "".join(traceback.format_exception(error)),
        "endpoint": endpoint or request.path,
        "method": request.method,
        "user_id": request.headers.get("X-User"),
        "user_agent": request.headers.get("User-Agent"),
        "request_headers": {n: request.headers[n] for n in names if n in request.headers},
    }
    call = urllib.request.Request(
        lux["url"] + "/api/errors",
        data=json.dumps(event).encode(),
        headers={
            "Authorization": "Bearer " + lux["token"],
            "Content-Type": "application/json",
        },
    )
    try:
        direct.open(call, timeout=10).read()
    except OSError as away:
        log.warning("Lux does not take an error: %s", away)


@app.errorhandler(Exception)
def failed(error):
    if isinstance(error, HTTPException):
        return error
    log.exception("%s %s failed", request.method, request.path)
    tell(error, getattr(error, "endpoint", None))
    return "<h1>Internal Server Error</h1>", 500


@app.get("/")
def front():
    return f"welcome, {tariffs.GREETING}\n"


# What is in the data.


@app.get("/price/apple")
def price():
    return {"price": load("prices.json")["apple"]}


@app.get("/total")
def total():
    return {"total": sum(load("cart.json"))}


@app.get("/profile")
def profile():
    return {"city": load("profile.json")["city"].upper()}


@app.get("/share")
def share():
    return {"share": 100 / load("members.json")}


@app.get("/winner")
def winner():
    return {"winner": load("entries.json")[0]}


@app.get("/quantity")
def quantity():
    return {"quantity": int(load("quantity.json"))}


@app.get("/menu")
def menu():
    return {"menu": load("menu.json")}


@app.get("/motto")
def motto():
    with open(place("data", "motto.txt"), encoding="utf-8") as file:
        return file.read()


@app.get("/lineage")
def lineage():
    parents = load("parents.json")

    def root(name):
        return root(parents[name]) if parents[name] else name

    return {"root": root("ann")}


@app.get("/basket")
def basket():
    return render_template("basket.html")


@app.get("/invoice")
def invoice():
    return render_template("invoice.html", order=load("order.json"))


@app.get("/terms")
def terms():
    with open(place("data", "terms.txt"), encoding="utf-8") as file:
        return file.read()


@app.get("/thumbnail")
def thumbnail():
    name = place("thumbnails", f"{os.getpid()}-{time.monotonic_ns()}.png")
    with open(name, "wb") as file:
        file.write(b"png")
    os.remove(name)
    return "png"


@app.post("/avatar")
def avatar():
    name = place("avatars", f"{os.getpid()}-{time.monotonic_ns()}.png")
    with open(name, "wb") as file:
        file.write(request.get_data())
    os.remove(name)
    return {"ok": True}


@app.get("/spool")
def spool():
    name = place("spool", f"{os.getpid()}-{time.monotonic_ns()}")
    try:
        with open(name, "wb") as file:
            file.write(bytes(64 << 10))
    finally:
        os.remove(name)
    return "spooled"


@app.post("/statement")
def statement():
    return {"length": len(spool())}


@app.post("/pay")
def pay():
    return {"paid_with": os.environ["PAYMENT_KEY"][:2]}


@app.post("/checkout")
def checkout():
    return {"ok": True, "tax": load("tax.json")["rate"]}


@app.post("/subscribe")
def subscribe():
    return {"ok": True, "list": load("lists.json")["news"]}


@app.get("/logout")
def logout():
    return {"bye": load("farewells.json")["en"]}


# Databases.


def ask(database, sql):
    with psycopg.connect(DATABASES[database], connect_timeout=5) as connection:
        connection.execute("set lock_timeout = '300ms'")
        return {"rows": connection.execute(sql).fetchall()}


@app.get("/orders")
def orders():
    return ask("down", "select 1")


@app.post("/orders")
def order():
    return ask("down", "select 2")


@app.get("/ledger")
def ledger():
    return ask("clerk", "select 1")


@app.post("/ledger")
def book():
    return ask("teller", "select 1")


@app.get("/items")
def items():
    return ask("market", "select id from item")


@app.post("/items")
def add_item():
    return ask("market", "select id from crate")


@app.get("/colours")
def colours():
    return ask("market", "select colour from paint")


@app.get("/audit")
def audit():
    return ask("guest", "select id from audit")


@app.get("/stats")
def stats():
    return ask("crowd", "select 1")


@app.get("/balance")
def balance():
    return ask("market", "select id from balance")


# Neighbours.


def fetch(name, path="/", headers=None, timeout=1):
    call = urllib.request.Request(
        f"http://127.0.0.1:{PORTS[name]}{path}", headers=headers or {}
    )
    return direct.open(call, timeout=timeout).read()


def redis(name):
    with socket.create_connection(("127.0.0.1", PORTS[name]), timeout=1) as connection:
        connection.sendall(b"*1\r\n$4\r\nPING\r\n")
        answer = connection.recv(64)
    if answer != b"+PONG\r\n":
        raise ConnectionError(f"redis answers {answer!r}")
    return {"ok": True}


@app.get("/stock")
def stock():
    return fetch("stock")


@app.get("/rates")
def rates():
    return fetch("rates")


@app.get("/shipping")
def shipping():
    return fetch("shipping")


@app.get("/weather")
def weather():
    return {"weather": json.loads(fetch("weather"))}


@app.get("/quotes")
def quotes():
    return fetch("quotes")


@app.get("/session")
def session():
    return redis("redis")


@app.post("/session")
def sign_up():
    return redis("sessions")


@app.post("/jobs")
def jobs():
    return redis("queue")


@app.get("/advice")
def advice():
    return fetch("advice", "/v1/models", {"Authorization": "Bearer sk-market"})


@app.post("/advice")
def ask_advice():
    return fetch("oracle", "/v1/models", {"Authorization": "Bearer sk-market"})


def bank(name):
    trusted = ssl.create_default_context(cafile=place("..", "ca.pem"))
    secure = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted)
    )
    return secure.open(f"https://127.0.0.1:{PORTS[name]}/", timeout=5).read()


@app.get("/accounts")
def accounts():
    return bank("bank")


@app.post("/transfer")
def transfer():
    return bank("vault")


@app.get("/timetable")
def timetable():
    started = time.monotonic()
    answer = fetch("timetable", timeout=5)
    if time.monotonic() - started > 0.5:
        tell(TimeoutError("the timetable took longer than 500 ms"))
    return answer


@app.get("/report")
def report():
    # Whoever holds the lock makes everybody wait.
    with open(place("data", "report.lock"), "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
    return "done\n"


@app.post("/upload")
def upload():
    return {"bytes": len(request.get_data())}


# Failures that look like answers.


@app.get("/catalogue")
def catalogue():
    try:
        return "<h1>Catalogue</h1>" + load("catalogue.json")["title"]
    except KeyError as error:
        tell(error)
        return "<html><head><title>Error</title></head><body><h1>Something went wrong</h1></body></html>"


@app.get("/wishlist")
def wishlist():
    try:
        return {"success": True, "wishes": load("wishes.json")["ann"]}
    except KeyError as error:
        tell(error)
        return {"success": False, "error": "the wishes cannot be shown"}


@app.post("/redeem")
def redeem():
    try:
        return {"success": True, "points": load("points.json")["ann"]}
    except KeyError as error:
        tell(error)
        return {"success": False}


@app.get("/offers")
def offers():
    try:
        return {"offers": load("offers.json")["today"]}
    except KeyError as error:
        tell(error)
        return {"offers": []}


# Failures that come and go.


class Flapping(Exception):
    pass


def broken(name):
    return os.path.exists(place("switches", name))


@app.get("/flap/random")
def flap_random():
    if broken("random") and random.random() < 0.5:
        raise Flapping("one half of a replica set is away")
    return "ok"


@app.get("/flap/alternate")
def flap_alternate():
    with open(place("data", "alternate.count"), "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("x")
        file.flush()
        count = file.tell()
    if broken("alternate") and count % 2:
        raise Flapping("every second connection of the pool is dead")
    return "ok"


@app.get("/flap/periodic")
def flap_periodic():
    if broken("periodic") and time.time() % 1.6 < 0.8:
        raise Flapping("the neighbour restarts again and again")
    return "ok"


@app.get("/flap/slowly")
def flap_slowly():
    if broken("slowly") and time.time() % 12 < 6:
        raise Flapping("the neighbour is overloaded every few seconds")
    return "ok"


@app.get("/flap/worker")
def flap_worker():
    # The first process that sees the switch has a broken cache from then on.
    try:
        with open(place("switches", "worker"), "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            owner = file.read()
            if not owner:
                owner = str(os.getpid())
                file.write(owner)
    except FileNotFoundError:
        return "ok"
    if owner == str(os.getpid()):
        raise Flapping("the cache of this process is broken")
    return "ok"


# Failures that a stranger does not see.


@app.get("/account")
def account():
    name = request.headers.get("X-User", "guest")
    return {"account": load("accounts.json")[name]}


@app.get("/search")
def search():
    return {"found": load("index.json")[request.args.get("q", "all")]}


@app.get("/item/<number>")
def item(number):
    try:
        return {"item": load("numbers.json")[number]}
    except KeyError as error:
        error.endpoint = "/item/<number>"
        raise


@app.get("/phone")
def phone():
    # A bot gets the plain page.
    if "probe" in request.headers.get("User-Agent", "").lower():
        return "plain"
    return {"model": load("phones.json")["latest"]}


@app.get("/members")
def members():
    if request.headers.get("Authorization") != "Bearer member":
        return {"detail": "sign in"}, 401
    return {"members": load("roster.json")["count"]}


@app.get("/dashboard")
def dashboard():
    if "X-User" not in request.headers:
        return redirect("/login")
    return {"dashboard": load("tiles.json")["first"]}


@app.get("/login")
def login():
    return "<form>who are you?</form>"


@app.get("/vip")
def vip():
    if request.headers.get("X-User") != "ann":
        return {"detail": "not for you"}, 403
    return {"vip": load("vips.json")["ann"]}
