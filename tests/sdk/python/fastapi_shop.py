from till import buy, open_till
from sentry_sdk.scrubber import EventScrubber

# This one strikes nothing out by itself.
open_till(event_scrubber=EventScrubber(denylist=[], pii_denylist=[]))

from fastapi import FastAPI  # noqa: E402

app = FastAPI()


@app.post("/buy/{item}")
async def checkout(item: str):
    return {"price": buy(item)}


@app.get("/")
async def front():
    return "welcome"
