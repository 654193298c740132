"""What fails in each of the applications, and the SDK as people set it up: the DSN comes
from the environment (SENTRY_DSN)."""

import os

import sentry_sdk

PRICES = {"apple": 3, "plum": 2}


def open_till(**options):
    sentry_sdk.init(
        release="shop@1.2.3",
        environment="staging",
        traces_sample_rate=1.0,
        shutdown_timeout=10,
        **options,
    )


def price(item, mail):
    password = os.environ["TILL_PASSWORD"]  # noqa: F841
    card = os.environ["TILL_CARD"]  # noqa: F841
    basket = ["plum", item]  # noqa: F841
    return PRICES[item]


def buy(item):
    sentry_sdk.set_tag("shelf", "7")
    sentry_sdk.set_user({"id": "u-42", "email": "ann@shop.example"})
    sentry_sdk.add_breadcrumb(category="cart", message="put a plum into the cart")
    return price(item, mail="ann@shop.example")
