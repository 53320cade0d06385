"""What a provider's error answer means for our client: its status and body to one of our kinds.

Body shapes and their meaning are those recorded from OpenAI-compatible and other providers; one extractor
covers them all.
"""

import email.utils
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import orjson

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

MAX_MESSAGE = 1_000

_TEMPORARY = {
    408: UpstreamTimeout,
    504: UpstreamTimeout,
    **dict.fromkeys((409, 424, 498, 503, 529), UpstreamOverloaded),
}
_QUOTA = {"insufficient_quota", "enforced_spend_limit_reached", "credits_exhausted"}
_TOO_LONG = (
    "maximum context length",
    "max context length",
    "prompt is too long",
    "prompt too long",
    "input tokens exceeded",
    "exceeds the available context size",
    "exceeds the maximum number of tokens",
    "too many tokens",
)
_TOO_LONG_TYPES = {"exceed_context_size_error", "too_many_prompt_tokens", "TOO_MANY_TOKENS"}
_OURS = (
    "incorrect api key",
    "invalid api key",
    "api key not valid",
    "api key not found",
    "api key expired",
    "model not found",
    "model identifier is invalid",
    "on-demand throughput isn",
)


class Detail(NamedTuple):
    """What a provider says of an error, as far as it says it."""

    message: str = ""
    type: str = ""
    param: str | None = None
    code: str | None = None
    status: int = 0


def parse_detail(body: Any) -> Detail:
    """The detail in `body`: bytes of any kind, or JSON that was parsed already."""
    if isinstance(body, bytes):
        try:
            body = orjson.loads(body)
        except orjson.JSONDecodeError:
            return Detail()
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return Detail()
    error = body.get("error")
    if isinstance(error, str):
        return Detail(error, code=_text(body.get("code")))
    return _parse_source(error if isinstance(error, dict) else body)


def _parse_source(source: dict[str, Any]) -> Detail:
    messages = [source.get(key) for key in ("message", "Message", "detail")]
    statuses = [source.get(key) for key in ("status", "status_code", "code")]
    return Detail(
        next((each for each in messages if isinstance(each, str) and each), ""),
        _text(source.get("type") or source.get("error_type")) or "",
        _text(source.get("param")),
        _text(source.get("code") or _nested_code(source.get("details"))),
        next((each for each in statuses if type(each) is int), 0),
    )


def _nested_code(details: object) -> object:
    return details.get("error_code") if isinstance(details, dict) else None


def classify(status: int, detail: Detail, retry_after: float | None = None) -> ServiceError:
    """The error that a client gets for a provider's `status` and `detail`.

    401, 403 and 404 are faults of our configuration: the client gets a 502 without the provider's text. What is
    wrong with the request itself keeps its text, param and code.
    """
    if status == 402 or detail.code in _QUOTA or detail.type in _QUOTA:
        return QuotaExceeded()
    if status == 429:
        return RateLimited(_rate_limit_text(retry_after), retry_after=retry_after)
    if status in (400, 413, 422):
        return _bad_request(detail)
    kind = _TEMPORARY.get(status, UpstreamFailed if status >= 500 else None)
    return kind(retry_after=retry_after) if kind else UpstreamRefused()


def classify_late(detail: Detail) -> ServiceError:
    """The error for one that came inside an answer with status 200, where only words tell what it is."""
    if 400 <= detail.status < 600:
        return classify(detail.status, detail)
    words = f"{detail.type} {detail.code}".lower()
    if "rate_limit" in words:
        return RateLimited()
    if "overloaded" in words or "unavailable" in words:
        return UpstreamOverloaded()
    if detail.type in _QUOTA or detail.code in _QUOTA:
        return QuotaExceeded()
    if "invalid_request" in words or _too_long(detail):
        return _bad_request(detail)
    return UpstreamFailed()


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by `retry-after-ms` or `retry-after` (seconds or an HTTP date, RFC 9110 10.2.3).

    Zero and less count as not said: a provider that sends both 0 ms and 1 s does not ask to be hammered.
    """
    with suppress(KeyError, ValueError):
        seconds = float(headers["retry-after-ms"]) / 1000
        if 0 < seconds < float("inf"):
            return seconds
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value)
    return seconds if 0 < seconds < float("inf") else None


def _seconds_until(value: str) -> float:
    date = email.utils.parsedate_tz(value)
    # A year that no calendar has is as good as none.
    with suppress(OverflowError, ValueError):
        return email.utils.mktime_tz(date) - time.time() if date else 0.0
    return 0.0


def _bad_request(detail: Detail) -> ServiceError:
    if "credit balance is too low" in detail.message.lower():
        return QuotaExceeded()
    # A key or a model that the provider does not know is ours, whatever the status says.
    if detail.code == "model_not_found" or any(phrase in detail.message.lower() for phrase in _OURS):
        return UpstreamRefused()
    code = detail.code
    if _too_long(detail):
        code = "context_length_exceeded"
    elif code is not None and code.isdigit():
        code = None
    message = detail.message[:MAX_MESSAGE] or "The model provider did not accept the request."
    return BadRequest(message, param=detail.param, code=code)


def _too_long(detail: Detail) -> bool:
    if detail.code == "context_length_exceeded" or detail.type in _TOO_LONG_TYPES:
        return True
    return any(phrase in detail.message.lower() for phrase in _TOO_LONG)


def _rate_limit_text(retry_after: float | None) -> str | None:
    return f"Rate limit reached. Please try again in {retry_after:g}s." if retry_after else None


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None
