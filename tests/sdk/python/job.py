"""A program that ends by its error: what it told must arrive all the same."""

from till import buy, open_till

open_till()

try:
    buy("pear")
except KeyError as missing:
    raise RuntimeError("the nightly bill failed") from missing
