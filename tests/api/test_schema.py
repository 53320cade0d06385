"""Every body and every chunk is what the schema says, and has no property that the schema does not define.

Checked twice: against a schema of our own, which says what this service sends, and against OpenAI's published one
where it is at hand (`CADENZA_OPENAPI` names the file).
"""

import copy
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from application import CHAT, WHOLE, Application, chunks_of, running
from jsonschema import Draft202012Validator, ValidationError
from ruamel.yaml import YAML
from upstream import USAGE, Exchange, Script, chunk, completion

OURS = Path(__file__).parent / "fixtures" / "responses.json"
OPENAIS = Path(os.environ.get("CADENZA_OPENAPI", Path(__file__).parents[3] / "shared/wire/openapi.yaml"))
ROOTS = ("CreateChatCompletionResponse", "CreateChatCompletionStreamResponse", "ListModelsResponse", "ErrorResponse")

Check = Callable[[str, Any], None]
"""Raises ValidationError if a body is not what the schema of this name says."""


def load_schemas(source: str) -> Callable[[str], Any]:
    """Gives a schema by its name."""
    if source == "ours":
        schemas: dict[str, Any] = json.loads(OURS.read_text())["components"]["schemas"]
        return schemas.__getitem__
    if not OPENAIS.exists():
        pytest.skip(f"OpenAI's schema is not at hand: no {OPENAIS.name} where CADENZA_OPENAPI says")
    # To parse the whole file takes seconds, and there are a thousand schemas in it.
    text = OPENAIS.read_text().partition("\n  schemas:\n")[2]
    texts = dict(re.findall(r"^    (\w+):\n((?:(?:      .*)?\n)+)", text, re.MULTILINE))
    return lambda name: YAML(typ="safe").load(texts[name])


def needed(load: Callable[[str], Any]) -> dict[str, Any]:
    """The schemas that are used, closed."""
    found: dict[str, Any] = {}
    names = list(ROOTS)
    while names:
        name = names.pop()
        if name not in found:
            found[name] = close(load(name))
            names += re.findall(r"#/components/schemas/(\w+)", json.dumps(found[name]))
    return found


def close(schema: Any) -> Any:
    """A schema that forbids what it does not define, with `nullable` (OpenAPI 3.0) said as JSON Schema says it."""
    if isinstance(schema, list):
        return [close(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: close(value) for key, value in schema.items()}
    if "properties" in closed:
        closed.setdefault("additionalProperties", False)
    return {"anyOf": [closed, {"type": "null"}]} if closed.pop("nullable", False) is True else closed


@pytest.fixture(scope="module", params=["ours", "OpenAI's"])
def check(request: pytest.FixtureRequest) -> Check:
    schemas = needed(load_schemas(request.param))
    root = {"components": {"schemas": schemas}}
    checkers = {name: Draft202012Validator({"$ref": f"#/components/schemas/{name}", **root}) for name in schemas}
    return lambda name, body: checkers[name].validate(body)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with running(tmp_path_factory.mktemp("app"), flows="{presets: {brief: {flow: chat}}}") as app:
        yield app


TOKEN = {"token": "H", "logprob": -1, "bytes": None}
LOGPROBS = {"content": [{**TOKEN, "top_logprobs": [TOKEN]}], "invention": 1}
DETAILS = {"prompt_tokens_details": {"cached_tokens": 1, "x": 1}, "completion_tokens_details": {"reasoning_tokens": 2}}


def call(index: int) -> dict[str, Any]:
    return {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def both_ways(
    text: str | None = None, finish: str = "stop", usage: Any = USAGE, logprobs: Any = None, **message: Any
) -> Script:
    """A provider that gives this answer, with inventions of its own, whole or in chunks as it is asked."""

    def script(exchange: Exchange) -> None:
        invented = {"usage": usage, "system_fingerprint": None, "invention": 1}
        stream = exchange.body.get("stream")
        body = chunk(text, finish, **message) if stream else completion(text, finish, **message)
        body["choices"][0] |= {"logprobs": logprobs, "invention": 1}
        if stream:
            exchange.stream(chunk("", role="assistant"), {**body, **invented})
        else:
            exchange.answer({**body, **invented})

    return script


ANSWERS = {
    "text": both_ways("Hi"),
    "empty": both_ways(""),
    "refusal": both_ways(refusal="No.", finish="content_filter"),
    "call": both_ways(tool_calls=[call(0)], finish="tool_calls"),
    "text and calls": both_ways("Wait", tool_calls=[call(0), call(1)]),
    "log probabilities": both_ways("H", logprobs=LOGPROBS, finish="length"),
    "details": both_ways("Hi", usage={**USAGE, **DETAILS}),
    "nothing counted": both_ways("Hi", usage=None),
    "inventions": both_ways("Hi", reasoning_content="hm", audio=None, function_call=None, x_groq={}, finish="eos"),
}


@pytest.mark.parametrize("script", ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize("body", [{}, {"n": 2, "service_tier": "flex"}])
def test_a_completion_is_what_the_schema_says(
    app: Application, check: Check, script: Script, body: dict[str, Any]
) -> None:
    answer = app.ask(script, **body)

    assert answer.status_code == 200
    check("CreateChatCompletionResponse", answer.get_json())


@pytest.mark.parametrize("script", ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"n": 2, "service_tier": "priority"},
        {"stream_options": {"include_usage": True}},
        {"stream_options": {"include_obfuscation": False}},
        {"model": WHOLE},
    ],
)
def test_every_chunk_is_what_the_schema_says(
    app: Application, check: Check, script: Script, body: dict[str, Any]
) -> None:
    for each in chunks_of(app.ask(script, stream=True, **body)):
        check("CreateChatCompletionStreamResponse", each)


def test_models_are_what_the_schema_says(app: Application, check: Check) -> None:
    check("ListModelsResponse", app.fetch("/v1/models").get_json())
    check("Model", app.fetch(f"/v1/models/{CHAT}").get_json())


def test_every_error_is_what_the_schema_says(app: Application, check: Check) -> None:
    broken = app.ask(lambda exchange: exchange.stream(chunk("Hel")), stream=True).text.split("\n\n")[-2]
    answers = [
        app.post(b"{"),
        app.ask(n=0),
        app.ask(model="x"),
        app.ask(lambda exchange: exchange.answer({}, 429)),
        app.ask(lambda exchange: exchange.answer({}, 500), stream=True),
        app.fetch("/v1/x"),
        app.fetch("/v1/models", "POST"),
        app.client.get("/v1/models"),
    ]

    for body in [json.loads(broken.removeprefix("data: ")), *(answer.get_json() for answer in answers)]:
        check("ErrorResponse", body)


# The check itself.


def places(body: Any) -> Iterator[dict[str, Any]]:
    """Every object in a body, the body included."""
    if isinstance(body, dict):
        yield body
    for value in body.values() if isinstance(body, dict) else body if isinstance(body, list) else ():
        yield from places(value)


@pytest.mark.parametrize("stream", [True, False])
def test_no_object_may_have_what_is_not_defined(app: Application, check: Check, stream: bool) -> None:
    script = both_ways("Hi", tool_calls=[call(0)], logprobs=LOGPROBS)
    answer = app.ask(script, stream=stream)
    bodies = chunks_of(answer) if stream else [answer.get_json()]
    name = "CreateChatCompletionStreamResponse" if stream else "CreateChatCompletionResponse"

    for body in bodies:
        for number, _ in enumerate(places(body)):
            spoilt = copy.deepcopy(body)
            list(places(spoilt))[number]["invention"] = 1
            with pytest.raises(ValidationError):
                check(name, spoilt)


@pytest.mark.parametrize("change", [{"choices": None}, {"created": "1"}, {"object": "x"}, {"id": None}])
def test_nothing_may_be_of_another_type(app: Application, check: Check, change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        check("CreateChatCompletionResponse", {**app.ask().get_json(), **change})
