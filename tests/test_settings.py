"""The schemas of the configuration's own files: what they take and what they refuse."""

from typing import Any

import pytest
from marshmallow import Schema, ValidationError

from app.secret import Secret
from app.settings import ClientSchema, FlowFileSchema, SecretField, ServiceSchema

SECRET = Schema.from_dict({"key": SecretField()})


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        pytest.param(ServiceSchema, {"namespace": "A1"}, id="shortest namespace"),
        pytest.param(ServiceSchema, {"namespace": "a" * 32}, id="longest namespace"),
        pytest.param(ServiceSchema, {"cors": ["*"]}, id="all origins"),
        pytest.param(ServiceSchema, {"cors": ["http://localhost:3000", "https://[::1]"]}, id="origins"),
        pytest.param(ServiceSchema, {"cors": ["chrome-extension://abcdef"]}, id="an extension's origin"),
        pytest.param(ServiceSchema, {"retries": 0, "max_body": 1, "max_choices": 1}, id="least"),
        pytest.param(ServiceSchema, {"retries": 10, "max_choices": 128, "log_level": "error"}, id="most"),
        pytest.param(ClientSchema, {"models": [], "personal": True}, id="a client of nothing"),
        pytest.param(FlowFileSchema, {"flows": {"a": {"fixed": {}, "defaults": {"x": 1}}}, "presets": {}}, id="flows"),
        pytest.param(SECRET, {"key": Secret("x")}, id="secret"),
    ],
)
def test_what_is_right_is_taken_as_it_is(schema: type[Schema], value: dict[str, Any]) -> None:
    assert {**schema().load(value), **value} == schema().load(value)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        pytest.param(ServiceSchema, {"namespace": "a"}, id="short namespace"),
        pytest.param(ServiceSchema, {"namespace": "a" * 33}, id="long namespace"),
        pytest.param(ServiceSchema, {"namespace": "a-"}, id="namespace with a hyphen at the end"),
        pytest.param(ServiceSchema, {"namespace": "ab\n"}, id="namespace with a line end"),
        pytest.param(ServiceSchema, {"cors": ["localhost"]}, id="no scheme"),
        pytest.param(ServiceSchema, {"cors": ["https://a.org/"]}, id="path"),
        pytest.param(ServiceSchema, {"cors": ["https://A.org"]}, id="upper case"),
        pytest.param(ServiceSchema, {"cors": ["https://u@a.org"]}, id="user"),
        pytest.param(ServiceSchema, {"cors": "*"}, id="no list of origins"),
        pytest.param(ServiceSchema, {"retries": 11}, id="too many retries"),
        pytest.param(ServiceSchema, {"retries": "1"}, id="text for a number"),
        pytest.param(ServiceSchema, {"max_body": 1.5}, id="half a byte"),
        pytest.param(ServiceSchema, {"max_choices": 129}, id="too many choices"),
        pytest.param(ServiceSchema, {"max_choices": True}, id="true for a number"),
        pytest.param(ServiceSchema, {"log_level": "loud"}, id="no log level"),
        pytest.param(ClientSchema, {"models": None}, id="models of nothing"),
        pytest.param(FlowFileSchema, {"flows": {"a": {"default": {}}}}, id="unknown key of a flow"),
        pytest.param(SECRET, {"key": "plain"}, id="secret in plain text"),
        pytest.param(SECRET, {"key": None}, id="no secret"),
    ],
)
def test_what_is_wrong_is_refused(schema: type[Schema], value: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        schema().load(value)

    assert list(caught.value.messages_dict) == list(value)
