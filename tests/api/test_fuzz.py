"""Whatever is sent, the client is told what is wrong with it: never a fault of ours, never a success by mistake."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from application import CHAT, HI, Application, error_of, running
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.chat_request import ChatRequest

URL = "/v1/chat/completions"
FIELDS = sorted(ChatRequest().fields)

few = settings(max_examples=60, deadline=None)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with running(tmp_path_factory.mktemp("app")) as app:
        yield app


def wrap(value: bytes) -> bytes:
    """A request that is right, but for `value`."""
    return b'{"model": "%s", "messages": [{"role": "user", "content": "Hi"}], "seed": %s}' % (CHAT.encode(), value)


SPOILT = {
    "nothing": b"",
    "comma at the end": b"[1,]",
    "two commas": b"[1,,2]",
    "comma alone": b"[,]",
    "comma in an object": b'{"a":1,}',
    "no comma": b"[1 2]",
    "no colon": b'{"a" 1}',
    "two colons": b'{"a"::1}',
    "no value": b'{"a":}',
    "no key": b"{:1}",
    "bare key": b"{a:1}",
    "single quotes": b"'a'",
    "number as key": b"{1:1}",
    "not closed": b"[1",
    "closed twice": b"[1]]",
    "closed as another": b"[1}",
    "open string": b'"a',
    "tab in a string": b'"\t"',
    "newline in a string": b'"a\nb"',
    "NUL in a string": b'"\x00"',
    "bad escape": b'"\\x41"',
    "short escape": b'"\\u12"',
    "half a surrogate pair": b'"\\ud800"',
    "wrong half": b'"\\udc00\\ud800"',
    "lone backslash": b'"\\"',
    "not UTF-8": b'"\xff"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "surrogate in UTF-8": b'"\xed\xa0\x80"',
    "Latin-1": b'"\xe9"',
    "leading zero": b"012",
    "plus": b"+1",
    "lone minus": b"-",
    "no digit after the point": b"1.",
    "no digit before the point": b".5",
    "no exponent": b"1e",
    "hexadecimal": b"0x1F",
    "NaN": b"NaN",
    "infinity": b"Infinity",
    "minus infinity": b"-Infinity",
    "beyond any float": b"1e400",
    "capital literal": b"True",
    "JavaScript": b"undefined",
    "comment": b"1 // one",
    "block comment": b"/* one */ 1",
    "form feed": b"\x0c1",
    "no-break space": b"\xc2\xa01",
    "two values": b"1 2",
    "deep": b"[" * 100_000,
    "deep and closed": b"[" * 5000 + b"]" * 5000,
}
"""Values of which each makes the document around it no JSON."""


@pytest.mark.parametrize("value", SPOILT.values(), ids=SPOILT.keys())
def test_what_is_no_json_is_refused(app: Application, value: bytes) -> None:
    for document in (value, wrap(value)):
        status, code, param, text = error_of(app.post(document))

        assert (status, code, param) == (400, None, None)
        assert text.startswith("We could not parse the JSON body of your request.")


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(b"\xef\xbb\xbf" + wrap(b"1"), id="byte order mark"),
        pytest.param(wrap(b"1").decode().encode("utf-16"), id="UTF-16"),
        pytest.param(wrap(b"1") + b"\x00", id="NUL at the end"),
        pytest.param(wrap(b"1") + wrap(b"1"), id="two documents"),
        pytest.param(wrap(b"1")[:-1], id="cut off"),
        pytest.param(b"data: " + wrap(b"1"), id="event"),
    ],
)
def test_what_is_nearly_json_is_refused(app: Application, document: bytes) -> None:
    assert app.post(document).status_code == 400


@pytest.mark.parametrize("value", [b"1", b" \r\n\t1 ", b"-0", b"9223372036854775807", b"null", b'2,"seed":1'])
def test_json_in_every_spelling_is_taken(app: Application, value: bytes) -> None:
    assert app.post(wrap(value)).status_code == 200


SAMPLES: list[Any] = [True, 5, -1, 0.5, 1e30, "x", "", [], [[]], [5], {}, {"type": "x"}, {"x": {"x": None}}]


@pytest.mark.parametrize("field", FIELDS)
def test_a_value_of_the_wrong_kind_is_refused_by_the_name_of_its_field(app: Application, field: str) -> None:
    refused = [error_of(answer) for answer in (app.ask(**{field: sample}) for sample in SAMPLES) if not ok(answer)]

    assert len(refused) >= len(SAMPLES) // 3
    for status, _, param, _ in refused:
        assert status in (400, 404)
        assert param is None or param.startswith(field)
        assert param or field == "model"


def ok(answer: Any) -> bool:
    return bool(answer.status_code == 200)


KEYS = st.text() | st.sampled_from(["type", "role", "content", "function", "name"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "developer", "x"]), "content": st.text() | JSON},
    optional={"tool_calls": JSON, "tool_call_id": st.text(), "refusal": JSON},
)


@few
@given(body=JSON)
def test_any_json_is_refused_in_json(app: Application, body: Any) -> None:
    assert error_of(app.post(json.dumps(body).encode()))[0] == 400


@few
@given(fields=st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=9), JSON, max_size=3))
def test_no_field_is_a_fault_of_ours(app: Application, fields: dict[str, Any]) -> None:
    body = {"model": CHAT, "messages": HI, **fields}

    assert app.post(json.dumps(body).encode()).status_code in (200, 400, 404)


@few
@given(messages=st.lists(MESSAGE, max_size=4))
def test_no_message_is_a_fault_of_ours(app: Application, messages: list[Any]) -> None:
    body = {"model": CHAT, "messages": messages}

    assert app.post(json.dumps(body).encode()).status_code in (200, 400)


@few
@given(data=st.binary(max_size=200))
def test_no_bytes_are_a_fault_of_ours(app: Application, data: bytes) -> None:
    assert app.post(data).status_code == 400


@few
@given(model=st.text() | st.from_regex(r"urn:cadenza:(flow=chat|preset=x)(:[a-z%=]{0,9}){0,3}", fullmatch=True))
def test_no_model_is_a_fault_of_ours(app: Application, model: str) -> None:
    body = json.dumps({"model": model, "messages": HI}).encode()

    assert app.post(body).status_code in (200, 400, 404)


@few
@given(path=st.text(st.characters(exclude_categories=["Cs"])), method=st.sampled_from(["GET", "POST", "PUT", "X"]))
def test_no_url_is_a_fault_of_ours(app: Application, path: str, method: str) -> None:
    for start in ("/v1/", "/v1/models/"):
        answer = app.client.open(
            environ_overrides={"PATH_INFO": (start + path).encode().decode("latin-1")}, method=method
        )

        assert answer.status_code in (401, 404, 405)


@few
@given(header=st.text(st.characters(max_codepoint=255, exclude_characters="\r\n")))
def test_no_key_is_a_fault_of_ours(app: Application, header: str) -> None:
    environ = {"HTTP_AUTHORIZATION": f"Bearer {header}"}

    answer = app.client.post(URL, data=b"{}", environ_overrides=environ)

    assert error_of(answer)[0] == 401
