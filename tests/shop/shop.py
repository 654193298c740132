"""The shop that the tests break: a small Flask application as many are written."""

import logging
import os
import time

import psycopg
from flask import Flask, request

logging.basicConfig(
    filename=os.environ["SHOP_LOG"],
    level=logging.INFO,
    format="%(asctime)s %(levelname)s %(name)s: %(message)s",
)

app = Flask("shop")
PRICES = {"apple": 3, "plum": 2}


@app.get("/")
def front():
    return "welcome\n"


@app.get("/price/<item>")
def price(item):
    return {"item": item, "price": PRICES[item]}


@app.get("/report")
def report():
    time.sleep(60)
    return "done\n"


@app.post("/upload")
def upload():
    return {"bytes": len(request.get_data())}


@app.get("/orders")
def orders():
    with psycopg.connect(os.environ["SHOP_DATABASE"], connect_timeout=5) as connection:
        return {"orders": connection.execute("select 1").fetchall()}
