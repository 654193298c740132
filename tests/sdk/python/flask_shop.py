from till import buy, open_till

open_till()

from flask import Flask  # noqa: E402

app = Flask(__name__)


@app.post("/buy/<item>")
def checkout(item):
    return {"price": buy(item)}


@app.get("/")
def front():
    return "welcome\n"
