"""What providers say when they fail, and what becomes of it; the bodies are in the shapes that were recorded."""

import email.utils
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import (
    BadRequest,
    QuotaExceeded,
    RateLimited,
    ServiceError,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)
from app.provider_error import MAX_MESSAGE, Detail, classify, classify_late, parse_detail, parse_retry_after

TOO_LONG = "context_length_exceeded"


def openai(message: str, type_: str | None = None, code: Any = None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def gemini(message: str, code: int, status: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": []}}


def anthropic(message: str, type_: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": type_, "message": message}, "request_id": "req_x"}


def mistral(message: Any, type_: str, code: str | None) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": type_, "param": None, "code": code}


BAD = "invalid_request_error"
REFUSED_AS_BAD = [
    ("openai", 400, openai("Unsupported: 'stop'.", BAD, "unsupported_parameter", "stop"), "unsupported_parameter"),
    ("openai without code", 400, openai("Web search is not supported.", BAD, param="web_search_options"), None),
    ("azure filter", 400, {"error": {"code": "content_filter", "message": "Filtered."}}, "content_filter"),
    ("anthropic", 400, anthropic("temperature: range: 0..1", BAD), None),
    ("anthropic too large", 413, anthropic("Request exceeds the maximum size", "request_too_large"), None),
    ("gemini", 400, gemini("Function call is missing a thought_signature.", 400, "INVALID_ARGUMENT"), None),
    ("gemini in a list", 400, [gemini("Wrong.", 400, "INVALID_ARGUMENT")], None),
    ("bedrock", 400, {"message": "Malformed input request."}, None),
    ("bedrock in capitals", 400, {"Message": "Malformed input request."}, None),
    ("ollama", 400, {"error": "llama3:8b does not support tools"}, None),
    ("mistral", 400, mistral("Logprobs are not enabled.", "invalid_request_invalid_args", "3051"), None),
    ("mistral detail", 422, {"detail": "Extra inputs are not permitted"}, None),
    ("cohere", 400, {"id": "2da0", "message": "invalid request: no messages"}, None),
    ("openrouter", 400, {"error": {"code": 400, "message": "No endpoints support this."}, "user_id": "x"}, None),
    ("xai", 400, {"code": "invalid-argument", "error": "Argument not supported: stop"}, "invalid-argument"),
    ("groq", 400, openai("Tool choice is required.", BAD, "tool_use_failed"), "tool_use_failed"),
    ("llama.cpp", 400, openai("Failed to load image", BAD, 400), None),
]


@pytest.mark.parametrize(("status", "body", "code"), [pytest.param(*row, id=name) for name, *row in REFUSED_AS_BAD])
def test_what_is_wrong_with_the_request_is_told_in_the_providers_words(
    status: int, body: Any, code: str | None
) -> None:
    error = classify(status, parse_detail(json.dumps(body).encode()))

    assert type(error) is BadRequest
    assert error.message in json.dumps(body)
    assert error.code == code


LONG = [
    ("openai", openai("maximum context length is 8192 tokens.", BAD, TOO_LONG, "messages")),
    ("openai responses", openai("Your input exceeds the context window of this model.", BAD, TOO_LONG, "input")),
    ("anthropic", anthropic("prompt is too long: 210000 tokens > 200000 maximum", BAD)),
    (
        "gemini",
        gemini("input token count (9) exceeds the maximum number of tokens allowed", 400, "INVALID_ARGUMENT"),
    ),
    ("bedrock", {"message": "Input Tokens Exceeded: Number of input tokens exceeds maximum length."}),
    ("cohere", {"error_type": "TOO_MANY_TOKENS", "message": "size limit exceeded by 25836 tokens."}),
    ("deepseek", openai("This model's maximum context length is 65536 tokens.", BAD, BAD)),
    ("openrouter", {"error": {"code": 400, "message": "This endpoint's maximum context length is 32768"}}),
    ("ollama cloud", openai("prompt too long; exceeded max context length by 9 tokens", BAD)),
    ("perplexity", openai("The total length of all messages is too long.", "too_many_prompt_tokens", 400)),
    ("llama.cpp", openai("the request exceeds the available context size", "exceed_context_size_error", 400)),
]


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in LONG])
def test_every_way_to_say_too_long_is_one_code(body: Any) -> None:
    error = classify(400, parse_detail(body))

    assert (type(error), error.code) == (BadRequest, TOO_LONG)


OURS = [
    ("openai key", 401, openai("Incorrect API key provided: sk-inval****-key.", BAD, "invalid_api_key")),
    ("openai model", 404, openai("The model `gpt-5-mni` does not exist.", BAD, "model_not_found")),
    ("azure key", 401, {"error": {"code": "401", "message": "Access denied due to invalid subscription key."}}),
    ("azure deployment", 404, openai("The API deployment does not exist.", BAD, "DeploymentNotFound")),
    ("anthropic permission", 403, anthropic("Your API key lacks permission.", "permission_error")),
    ("gemini key", 400, gemini("API key not valid. Please pass a valid API key.", 400, "INVALID_ARGUMENT")),
    ("bedrock token", 403, {"message": "The security token included in the request is invalid."}),
    ("mistral key", 401, {"detail": "Invalid API Key"}),
    ("xai key", 400, {"code": "invalid-argument", "error": "Incorrect API key provided."}),
    ("ollama model", 404, {"error": "model 'llama3.2' not found"}),
    ("openrouter flagged", 403, {"error": {"code": 403, "message": "Input flagged", "metadata": {}}}),
    ("a redirect", 307, b""),
]


@pytest.mark.parametrize(("status", "body"), [pytest.param(*row, id=name) for name, *row in OURS])
def test_faults_of_our_configuration_are_told_in_no_ones_words(status: int, body: Any) -> None:
    error = classify(status, parse_detail(body))

    assert error.body() == UpstreamRefused().body()
    assert error.headers()["x-should-retry"] == "false"


QUOTA = [
    ("openai", 429, openai("You exceeded your current quota.", "insufficient_quota", "insufficient_quota")),
    ("openai type only", 429, openai("You exceeded your current quota.", "insufficient_quota")),
    ("deepseek", 402, openai("Insufficient Balance", "unknown_error", BAD)),
    ("openrouter", 402, {"error": {"code": 402, "message": "Insufficient credits"}}),
    ("a spend limit", 429, openai("Spend limit.", None, "enforced_spend_limit_reached")),
]


@pytest.mark.parametrize(("status", "body"), [pytest.param(*row, id=name) for name, *row in QUOTA])
def test_an_empty_account_is_not_worth_a_retry(status: int, body: Any) -> None:
    assert type(classify(status, parse_detail(body))) is QuotaExceeded


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (408, UpstreamTimeout),
        (409, UpstreamOverloaded),
        (424, UpstreamOverloaded),
        (498, UpstreamOverloaded),
        (500, UpstreamFailed),
        (502, UpstreamFailed),
        (503, UpstreamOverloaded),
        (504, UpstreamTimeout),
        (529, UpstreamOverloaded),
    ],
)
def test_what_may_pass_is_said_to_pass(status: int, kind: type[ServiceError]) -> None:
    error = classify(status, parse_detail(b"<html><title>502 Bad Gateway</title></html>"), 7.0)

    assert type(error) is kind
    assert error.headers() == {"retry-after": "7"}
    assert "html" not in error.message


def test_a_rate_limit_passes_the_pause_on_and_not_the_organisation() -> None:
    detail = parse_detail(openai("Rate limit reached for gpt-4o in organization org-x.", "tokens", "x"))

    error = classify(429, detail, 1.2)

    assert error.body() == RateLimited("Rate limit reached. Please try again in 1.2s.").body()
    assert error.headers() == {"retry-after": "2", "retry-after-ms": "1200"}


def test_a_rate_limit_without_a_pause_has_one_of_a_second() -> None:
    error = classify(429, Detail())

    assert (error.message, error.headers()) == (RateLimited.message, {"retry-after": "1"})


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"[1]", b"null", b'"text"', b'{"error":null}', b"\xff"])
def test_a_body_that_says_nothing_is_a_detail_of_nothing(body: bytes) -> None:
    assert parse_detail(body) == Detail()
    assert classify(400, parse_detail(body)).message == "The model provider did not accept the request."


def test_words_of_another_type_are_not_words() -> None:
    body = mistral({"detail": [{"loc": ["body", "user"]}]}, "invalid_request_error", None)

    assert parse_detail({**body, "param": True}) == Detail(type="invalid_request_error")


def test_an_endless_message_is_cut() -> None:
    assert len(classify(400, Detail("x" * 100_000)).message) == MAX_MESSAGE


LATE = [
    ("a status", {"error": {"code": 502, "message": "Upstream failed"}}, UpstreamFailed),
    ("a status that is ours", {"error": {"code": 401, "message": "No auth"}}, UpstreamRefused),
    ("a rate limit by status", {"error": {"code": 429, "message": "slow down"}}, RateLimited),
    ("a rate limit by words", openai("slow down", "rate_limit_error"), RateLimited),
    ("a number that is no status", {"error": {"code": 1300, "message": "?"}}, UpstreamFailed),
    ("overloaded", anthropic("Overloaded", "overloaded_error"), UpstreamOverloaded),
    ("unavailable", openai("busy", "service_unavailable_error"), UpstreamOverloaded),
    ("no quota by type", openai("pay", "insufficient_quota"), QuotaExceeded),
    ("no quota by code", openai("pay", None, "credits_exhausted"), QuotaExceeded),
    ("a bad request", openai("Tool call failed", BAD, "tool_use_failed"), BadRequest),
    ("too long", {"error": "prompt is too long: 9 tokens"}, BadRequest),
    ("anything else", {"error": {"message": "boom"}}, UpstreamFailed),
]


@pytest.mark.parametrize(("body", "kind"), [pytest.param(*row, id=name) for name, *row in LATE])
def test_an_error_inside_an_answer_is_told_by_its_words(body: Any, kind: type[ServiceError]) -> None:
    assert type(classify_late(parse_detail(body))) is kind


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({}, None, id="nothing"),
        pytest.param({"retry-after": "3"}, 3, id="seconds"),
        pytest.param({"retry-after": "1.5"}, 1.5, id="parts of a second"),
        pytest.param({"retry-after-ms": "250", "retry-after": "9"}, 0.25, id="milliseconds come first"),
        pytest.param({"retry-after-ms": "0", "retry-after": "1"}, 1, id="no milliseconds are not said"),
        pytest.param({"retry-after-ms": "soon", "retry-after": "1"}, 1, id="milliseconds in words are not said"),
        pytest.param({"retry-after-ms": "inf"}, None, id="endless milliseconds"),
        pytest.param({"retry-after": "0"}, None, id="zero"),
        pytest.param({"retry-after": "-5"}, None, id="negative"),
        pytest.param({"retry-after": "nan"}, None, id="no number"),
        pytest.param({"retry-after": "soon"}, None, id="words"),
        pytest.param({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None, id="a date that has passed"),
        pytest.param({"retry-after": "Wed, 21 Oct 99999 07:28:00 GMT"}, None, id="a year too far"),
        pytest.param({"retry-after": "1 Jan 99999999999 00:00:00 GMT"}, None, id="a year much too far"),
    ],
)
def test_the_pause_asked_for_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert parse_retry_after(headers) == seconds


def test_a_pause_until_a_date_is_counted_from_now() -> None:
    seconds = parse_retry_after({"retry-after": email.utils.formatdate(time.time() + 60, usegmt=True)})

    assert seconds is not None
    assert 55 < seconds <= 60


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "detail", "type", "code", "param", "status", "Message"]), inner
        )
    ),
    max_leaves=12,
)


@given(body=JSON | st.binary(max_size=30), status=st.integers(201, 999))
def test_whatever_a_provider_says_is_an_error_that_clients_know(body: Any, status: int) -> None:
    for error in (classify(status, parse_detail(body)), classify_late(parse_detail(body))):
        assert error.status in (400, 429, 502, 503, 504)
        assert set(error.body()["error"]) == {"message", "type", "param", "code"}
        assert error.message


@given(value=st.text(max_size=40) | st.from_regex(r"[0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,12} [0-9:]{1,12}( [+-]?[0-9]*)?"))
def test_whatever_stands_for_a_pause_is_a_pause_or_none(value: str) -> None:
    seconds = parse_retry_after({"retry-after": value, "retry-after-ms": value})

    assert seconds is None or 0 < seconds < float("inf")


@pytest.mark.parametrize(
    "detail",
    [
        pytest.param(Detail("The requested model 'x' does not exist.", code="model_not_found"), id="Responses"),
        pytest.param(Detail("Model not found: x"), id="xAI"),
    ],
)
def test_a_model_that_the_provider_does_not_know_is_our_fault_whatever_the_status(detail: Detail) -> None:
    assert isinstance(classify(400, detail), UpstreamRefused)


def test_an_account_without_credit_is_a_quota_whatever_the_status() -> None:
    assert isinstance(classify(400, Detail("Your credit balance is too low to access the API.")), QuotaExceeded)


def test_a_code_may_stand_among_the_details() -> None:
    body = {"error": {"message": "Spend limit", "details": {"error_code": "enforced_spend_limit_reached"}}}

    assert isinstance(classify(429, parse_detail(body)), QuotaExceeded)
