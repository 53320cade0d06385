"""What every connector can be told: what is taken, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from marshmallow import ValidationError
from plain import plain
from tls import write_certificate

from app.api.chat import EDGE_FIELDS
from app.api.chat_request import UNSUPPORTED, ChatRequest
from app.connector_schema import PARAMETERS, ConnectorOptions
from app.secret import Secret

URL = "must be an http or https URL, or embedded"
BARE = "must have no user, query or fragment; give the key as !secret name"
LINE = "must be one line of ASCII characters"
SPACE = "must have no space or control character"
OURS = "this header is set for each request; leave it out"
BUNDLE = "must be the path of a readable file of certificates in PEM format"


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({"url": "ftp://x"}, {"url": [URL]}),
        ({"url": "x"}, {"url": [URL]}),
        ({"url": "http://"}, {"url": [URL]}),
        ({"url": "http://a b"}, {"url": [SPACE]}),
        ({"url": "http://[::1"}, {"url": [URL]}),
        ({"url": "http://x:99999"}, {"url": [URL]}),
        ({"url": "http://user@x"}, {"url": [BARE]}),
        ({"url": "http://x/v1?key=1"}, {"url": [BARE]}),
        ({"url": "http://x/v1#"}, {"url": [BARE]}),
        ({"url": "http://x/v1 "}, {"url": [SPACE]}),
        ({"url": "http://x/\tv1"}, {"url": [SPACE]}),
        ({"url": "http://x/\x7f"}, {"url": [SPACE]}),
        ({"proxy": "x:8080"}, {"proxy": ["must be an http or https URL"]}),
        ({"proxy": "embedded"}, {"proxy": ["must be an http or https URL"]}),
        ({"model": ""}, {"model": ["Shorter than minimum length 1."]}),
        ({"key": "sk-1"}, {"key": ["write the key to a file and refer to it as !secret name"]}),
        ({"key": Secret("one\ntwo")}, {"key": [LINE]}),
        ({"key": Secret("schlüssel")}, {"key": [LINE]}),
        ({"headers": {"a b": "c"}}, {"headers": {"a b": {"key": ["is no name of a header"]}}}),
        ({"headers": {"a": "b\r\nc: d"}}, {"headers": {"a": {"value": [LINE]}}}),
        ({"headers": {"a": Secret("one\ntwo")}}, {"headers": {"a": {"value": [LINE]}}}),
        ({"headers": {"a": 1}}, {"headers": {"a": {"value": ["Not a valid string."]}}}),
        ({"headers": {"Content-Length": "0"}}, {"headers": {"Content-Length": {"key": [OURS]}}}),
        ({"headers": {"transfer-encoding": "x"}}, {"headers": {"transfer-encoding": {"key": [OURS]}}}),
        ({"headers": {"HOST": "x"}}, {"headers": {"HOST": {"key": [OURS]}}}),
        ({"headers": {"Connection": "close"}}, {"headers": {"Connection": {"key": [OURS]}}}),
        ({"ca": "/no/such/file"}, {"ca": [BUNDLE]}),
        ({"ca": ""}, {"ca": [BUNDLE]}),
        ({"ca": "/"}, {"ca": [BUNDLE]}),
        ({"ca": "a\0b"}, {"ca": [BUNDLE]}),
        ({"ca": __file__}, {"ca": [BUNDLE]}),
        ({"retries": 1.9}, {"retries": ["Not a valid integer."]}),
        ({"retries": 6}, {"retries": ["Must be greater than or equal to 0 and less than or equal to 5."]}),
        ({"stream": "maybe"}, {"stream": ["Must be one of: always, never."]}),
        ({"timeout": {"idle": 0}}, {"timeout": {"idle": ["Must be greater than 0 and less than or equal to 3600."]}}),
        ({"timeout": {"read": 1}}, {"timeout": {"read": ["Unknown field."]}}),
        ({"temperature": 1}, {"temperature": ["Unknown field."]}),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], messages: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        ConnectorOptions().load({"url": "http://x/v1", "model": "m", **options})

    assert caught.value.messages == messages


def test_url_and_model_are_all_that_is_needed() -> None:
    with pytest.raises(ValidationError) as caught:
        ConnectorOptions().load({})

    assert sorted(caught.value.messages_dict) == ["model", "url"]
    assert plain("https://[::1]:8080/v1").timeout == (5.0, 120.0, 60.0, 600.0)


@pytest.mark.parametrize("option", ["refuse", "drop"])
def test_what_is_no_parameter_is_told_with_what_may_be_meant(option: str) -> None:
    options: dict[str, Any] = {option: ["seed", "temprature"]}

    with pytest.raises(ValidationError) as caught:
        plain("http://x", **options)

    (message,) = caught.value.messages_dict[option][1]
    assert message.startswith(
        "there is no parameter 'temprature'; did you mean 'temperature'? known: frequency_penalty"
    )


def test_all_parameters_that_a_prompt_can_have_can_be_refused_and_dropped() -> None:
    params = set(ChatRequest().fields) - EDGE_FIELDS - UNSUPPORTED.keys()

    assert params | {"tools", "stream_options", "include", "store", "name"} == PARAMETERS
    assert plain("http://x", refuse=sorted(PARAMETERS), drop=sorted(PARAMETERS)).options["drop"] == sorted(PARAMETERS)


def test_a_bundle_of_certificates_is_taken(tmp_path: Path) -> None:
    path = str(write_certificate(tmp_path))

    assert plain("https://x", ca=path).options["ca"] == path
