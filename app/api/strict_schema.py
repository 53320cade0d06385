"""What keeps a JSON Schema from being one for OpenAI's structured outputs, in OpenAI's words."""

from collections.abc import Iterator
from typing import Any

Context = tuple[str, ...]


def root_flaw(schema: dict[str, Any]) -> str | None:
    """What is wrong with `schema` as the schema of an object, or None."""
    if schema.get("type") == "object":
        return None
    return f"""schema must be a JSON Schema of 'type: "object"', got 'type: "{schema.get("type")}"'."""


def strict_flaw(schema: dict[str, Any]) -> str | None:
    """What is wrong with `schema` where `strict` is asked for, outer schemas first, or None."""
    flaw = root_flaw(schema)
    # A list and not a recursion: the depth is the client's.
    found: list[tuple[Context, dict[str, Any]]] = [((), schema)]
    for context, part in found:
        flaw = flaw or _object_flaw(context, part)
        if flaw:
            return flaw
        found.extend((place, inner) for place, inner in _inner(context, part) if isinstance(inner, dict))
    return None


def _object_flaw(context: Context, schema: dict[str, Any]) -> str | None:
    kinds = schema.get("type")
    properties = schema.get("properties")
    names = list(properties) if isinstance(properties, dict) else []
    if not names and kinds != "object" and not (isinstance(kinds, list) and "object" in kinds):
        return None
    if schema.get("additionalProperties") is not False:
        return f"In context={context}, 'additionalProperties' is required to be supplied and to be false."
    required = schema.get("required")
    listed = required if isinstance(required, list) else []
    odd = [f"Missing '{name}'." for name in names if name not in listed]
    odd += [f"Extra required key '{name}' supplied." for name in listed if name not in names]
    if odd:
        return (
            f"In context={context}, 'required' is required to be supplied and to be an array "
            f"including every key in properties. {odd[0]}"
        )
    return None


def _inner(context: Context, schema: dict[str, Any]) -> Iterator[tuple[Context, Any]]:
    """The schemas right inside `schema`, each with its place."""
    for keyword in ("properties", "$defs", "definitions"):
        if isinstance(schema.get(keyword), dict):
            yield from (((*context, keyword, name), inner) for name, inner in schema[keyword].items())
    for keyword in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(keyword), list):
            yield from (((*context, keyword, str(index)), inner) for index, inner in enumerate(schema[keyword]))
    yield (*context, "items"), schema.get("items")
