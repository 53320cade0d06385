"""Every error is OpenAI's error object, and tells SDKs whether and when to try again."""

import inspect

import pytest

from app import errors
from app.errors import (
    BadRequest,
    ClientGone,
    MethodNotAllowed,
    ModelNotFound,
    NotFound,
    QuotaExceeded,
    RateLimited,
    ServiceError,
    TooLarge,
    Unauthorized,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
    WrongKey,
)

KINDS = [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, ServiceError)]


@pytest.mark.parametrize(
    ("kind", "status", "type_", "code"),
    [
        (ServiceError, 500, "server_error", None),
        (BadRequest, 400, "invalid_request_error", None),
        (Unauthorized, 401, "invalid_request_error", None),
        (WrongKey, 401, "invalid_request_error", "invalid_api_key"),
        (NotFound, 404, "invalid_request_error", None),
        (ModelNotFound, 404, "invalid_request_error", "model_not_found"),
        (MethodNotAllowed, 405, "invalid_request_error", None),
        (TooLarge, 413, "invalid_request_error", None),
        (RateLimited, 429, "requests", "rate_limit_exceeded"),
        (QuotaExceeded, 429, "insufficient_quota", "insufficient_quota"),
        (ClientGone, 499, "server_error", None),
        (UpstreamFailed, 502, "server_error", None),
        (UpstreamRefused, 502, "server_error", None),
        (UpstreamOverloaded, 503, "server_error", None),
        (UpstreamTimeout, 504, "server_error", "timeout"),
    ],
)
def test_each_kind_knows_its_status_type_and_code(
    kind: type[ServiceError], status: int, type_: str, code: str | None
) -> None:
    error = kind("what it is")

    assert error.status == status
    assert error.body() == {"error": {"message": "what it is", "type": type_, "param": None, "code": code}}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_text_of_its_own(kind: type[ServiceError]) -> None:
    error = kind()

    assert error.message
    assert str(error) == error.message == error.body()["error"]["message"]


def test_an_error_names_the_field_at_fault_and_a_code_of_its_own() -> None:
    error = BadRequest("no", param="messages[0]", code="too_long")

    assert error.body()["error"] == {
        "message": "no",
        "type": "invalid_request_error",
        "param": "messages[0]",
        "code": "too_long",
    }


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        pytest.param(BadRequest(), {}, id="nothing to say"),
        pytest.param(UpstreamRefused(), {"x-should-retry": "false"}, id="never again"),
        pytest.param(QuotaExceeded(), {"x-should-retry": "false"}, id="no quota"),
        pytest.param(RateLimited(), {"retry-after": "1"}, id="later"),
        pytest.param(UpstreamFailed(retry_after=7.0), {"retry-after": "7"}, id="whole seconds"),
        pytest.param(
            RateLimited(retry_after=1.2), {"retry-after": "2", "retry-after-ms": "1200"}, id="parts of a second"
        ),
        pytest.param(RateLimited(retry_after=0.0004), {"retry-after": "1", "retry-after-ms": "1"}, id="hardly any"),
    ],
)
def test_headers_say_whether_and_when_to_try_again(error: ServiceError, headers: dict[str, str]) -> None:
    assert error.headers() == headers


def test_a_kind_may_say_that_trying_again_helps() -> None:
    class Busy(ServiceError):
        retry = True

    assert Busy().headers() == {"x-should-retry": "true"}


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        pytest.param("sk-proj-0123456789abcdef", "sk-proj*********cdef", id="the ends of a long one"),
        pytest.param("sk-proj-0123456789a", "*" * 19, id="nothing of a short one"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_a_wrong_key_is_not_repeated(token: str, shown: str) -> None:
    error = WrongKey.of(token)

    assert error.message.startswith(f"Incorrect API key provided: {shown}. You can find")
    assert error.headers() == {"WWW-Authenticate": 'Bearer realm="OpenAI API"'}


def test_an_unknown_model_and_a_forbidden_one_read_the_same() -> None:
    assert ModelNotFound.of("gpt-9").message == "The model `gpt-9` does not exist or you do not have access to it."


def test_what_one_error_is_told_does_not_stick_to_its_kind() -> None:
    RateLimited("slow", code="other", retry_after=9)

    assert (RateLimited.code, RateLimited.retry_after) == ("rate_limit_exceeded", 1.0)
