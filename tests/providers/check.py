"""Whether a body is one that the provider would take: by our own schemas, written from facts."""

import functools
import json
import pathlib

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry, Resource

SCHEMAS = pathlib.Path(__file__).parent / "schemas"


class Invalid(Exception):
    """What is wrong with it, in words."""


@functools.cache
def registry():
    every = [(file.name, json.loads(file.read_text())) for file in sorted(SCHEMAS.glob("*.json"))]
    for name, schema in every:
        assert schema.get("$schema") == "https://json-schema.org/draft/2020-12/schema", name
        Draft202012Validator.check_schema(schema)
    return Registry().with_resources((name, Resource.from_contents(schema)) for name, schema in every)


@functools.cache
def validator(reference):
    return Draft202012Validator({"$ref": reference}, registry=registry())


def check(reference, value):
    """Raises `Invalid` unless the value fits the schema, e.g. `github.json#/$defs/issue`."""
    wrong = best_match(validator(reference).iter_errors(value))
    if wrong is not None:
        raise Invalid(f"{wrong.json_path}: {wrong.message[:300]}")
