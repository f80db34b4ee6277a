"""Checks a document against a JSON Schema, as far as demo/summary.schema.json needs: a word that is not known here is an
error, so that none is passed over."""

import re

KINDS = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
# What says nothing about a document.
REMARKS = {"$schema", "$id", "$defs", "title", "description"}
WORDS = {"$ref", "type", "const", "enum", "pattern", "minimum", "maximum", "required", "properties",
         "additionalProperties", "items"}


class BadForm(Exception):
    """The document has not the form that its schema names, or the schema is not understood."""


def expect(condition, path, text):
    if not condition:
        raise BadForm(f"{path} {text}")


def check(value, schema, root=None, path="summary"):
    """Raises where `value` is not as `schema` says."""
    root = root if root is not None else schema
    unknown = set(schema) - WORDS - REMARKS
    expect(not unknown, path, f"cannot be checked: its schema says {sorted(unknown)}")
    if "$ref" in schema:
        place, _, name = schema["$ref"].rpartition("/")
        expect(place == "#/$defs" and name in root["$defs"], path, f"cannot be checked: {schema['$ref']} is nowhere")
        check(value, root["$defs"][name], root, path)
    if "const" in schema:
        expect(value == schema["const"], path, f"is {value!r}, not {schema['const']!r}")
    if "enum" in schema:
        expect(value in schema["enum"], path, f"is {value!r}, none of {schema['enum']}")
    if "type" in schema:
        kind = KINDS[schema["type"]]
        # For Python a truth is a number.
        expect(isinstance(value, kind) and (kind is bool or not isinstance(value, bool)), path,
               f"is {value!r}, no {schema['type']}")
    if isinstance(value, str) and "pattern" in schema:
        expect(re.search(schema["pattern"], value), path, f"is {value!r}, not of the form {schema['pattern']}")
    if isinstance(value, int):
        expect(schema.get("minimum", value) <= value <= schema.get("maximum", value), path, f"is {value}, out of bounds")
    if isinstance(value, list):
        for at, item in enumerate(value):
            check(item, schema.get("items", {}), root, f"{path}[{at}]")
    if isinstance(value, dict):
        check_fields(value, schema, root, path)


def check_fields(value, schema, root, path):
    for name in schema.get("required", ()):
        expect(name in value, path, f"lacks {name}")
    properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    expect(isinstance(others, bool), path, "cannot be checked: additionalProperties is more than yes or no")
    for name, item in value.items():
        expect(others or name in properties, path, f"has {name}, which its schema does not know")
        check(item, properties.get(name, {}), root, f"{path}.{name}")
