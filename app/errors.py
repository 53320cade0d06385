"""What can go wrong for a client, each kind knowing its HTTP status and its OpenAI error object.

An error is raised once, where it is found, and becomes an answer in one place (`app.api.edge`, or
`app.sse` once a stream has begun). Wording, types and codes follow what OpenAI was recorded to send.
"""

import math
from typing import Any, ClassVar


class ServiceError(Exception):
    """A failure that a client is told about, as OpenAI would tell it.

    Args:
        message: what the client reads; the kind's own text if none is given.
        param: the request field at fault, as OpenAI writes paths (`messages[0].content`).
        code: OpenAI's machine-readable code; the kind's own if none is given.
        retry_after: seconds after which a retry makes sense.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    retry: ClassVar[bool | None] = None
    retry_after: float | None = None
    message: str = (
        "The server had an error processing your request. Sorry about that! You can retry your request, "
        "or contact us through our help center at help.openai.com if you keep seeing this error."
    )
    code: str | None = None

    def __init__(
        self,
        message: str | None = None,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message or self.message)
        self.message = message or self.message
        self.param = param
        self.code = code or self.code
        if retry_after is not None:
            self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """The OpenAI error object: always all four keys."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """What tells an SDK whether and when to retry (`x-should-retry`, `retry-after`, `retry-after-ms`)."""
        headers: dict[str, str] = {}
        if self.retry is not None:
            headers["x-should-retry"] = "true" if self.retry else "false"
        if self.retry_after is not None:
            headers["retry-after"] = str(math.ceil(self.retry_after))
            if self.retry_after % 1:
                headers["retry-after-ms"] = str(math.ceil(self.retry_after * 1000))
        return headers


class BadRequest(ServiceError):
    """The request itself is wrong: repeating it will not help."""

    status = 400
    type = "invalid_request_error"


class Unauthorized(ServiceError):
    """No API key, or one that this service does not know."""

    status = 401
    type = "invalid_request_error"


class WrongKey(Unauthorized):
    """An API key that this service does not know."""

    code = "invalid_api_key"

    @classmethod
    def of(cls, token: str) -> "WrongKey":
        """The error for `token`, of which only the ends are shown, and nothing of a short one."""
        masked = f"{token[:7]}{'*' * 9}{token[-4:]}" if len(token) >= 20 else "*" * len(token)
        return cls(
            f"Incorrect API key provided: {masked}. "
            "You can find your API key at https://platform.openai.com/account/api-keys."
        )

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "WWW-Authenticate": 'Bearer realm="OpenAI API"'}


class NotFound(ServiceError):
    """There is no such thing, or none that this caller may see."""

    status = 404
    type = "invalid_request_error"


class ModelNotFound(NotFound):
    """No flow answers to this model name, or not for this caller."""

    code = "model_not_found"

    @classmethod
    def of(cls, model: str) -> "ModelNotFound":
        return cls(f"The model `{model}` does not exist or you do not have access to it.")


class MethodNotAllowed(ServiceError):
    """The URL exists, the method does not."""

    status = 405
    type = "invalid_request_error"


class TooLarge(ServiceError):
    """The request body is larger than this service takes."""

    status = 413
    type = "invalid_request_error"


class RateLimited(ServiceError):
    """The provider asks for a pause."""

    status = 429
    type = "requests"
    retry_after = 1.0
    code = "rate_limit_exceeded"
    message = "Rate limit reached. Please try again later."


class QuotaExceeded(ServiceError):
    """The provider's account has nothing left: waiting will not help."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"
    retry = False
    message = (
        "You exceeded your current quota, please check your plan and billing details. For more information on "
        "this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
    )


class ClientGone(ServiceError):
    """The client has closed its connection: nobody reads this (nginx's status for it)."""

    status = 499


class UpstreamFailed(ServiceError):
    """A provider broke off, or answered with something that is no answer."""

    status = 502
    retry_after = 1.0
    message = "The model provider failed to answer. You can retry your request."


class UpstreamRefused(ServiceError):
    """A provider does not take our key, our model or our request: the configuration is at fault, not the client."""

    status = 502
    retry = False
    message = "The model provider refused the request because of this service's configuration."


class UpstreamOverloaded(ServiceError):
    """A provider cannot be reached, or says that it has too much to do."""

    status = 503
    retry_after = 1.0
    message = "The model is currently overloaded with other requests. You can retry your request."


class UpstreamTimeout(ServiceError):
    """A provider did not answer in time."""

    status = 504
    retry_after = 1.0
    code = "timeout"
    message = "The model provider did not answer in time. You can retry your request."
