"""The client edge that all routes share: who asks, what was sent, how answers and errors go out, the log line."""

from functools import partial
from typing import Any

import orjson
from flask import Flask, Request, Response, g, request
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from app import errors
from app.api.exchange import Exchange, Service, current
from app.api.response import StreamResponse, WholeResponse
from app.errors import BadRequest, ServiceError, TooLarge, Unauthorized, WrongKey
from app.log import LOGGER
from app.runner import Caller

BAD_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
    "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have trouble "
    "figuring out how to fix this, please contact us through our help center at help.openai.com.)"
)
NO_KEY = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the "
    "API from your browser and are prompted for a username and password. You can obtain an API key from "
    "https://platform.openai.com/account/api-keys."
)
NO_KEY_SHORT = "Missing bearer authentication in header"
DEEP = 250
"""Opening brackets from which a body may be nested deeper than the JSON writer can follow."""
JSON = "application/json"
KNOWN_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
"""What the log names; a method is the client's text otherwise."""


def authenticate(exchange: Exchange) -> Caller:
    """Who asks, by `Authorization: Bearer`.

    Raises:
        Unauthorized: there is no key.
        WrongKey: nobody has this key.
    """
    kind, _, token = exchange.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    token = token.strip()
    if kind.lower() != "bearer" or not token:
        raise Unauthorized(NO_KEY if exchange.method == "POST" else NO_KEY_SHORT)
    owner = exchange.service.keys.owner_of(token)
    if owner is None:
        raise WrongKey.of(token)
    client = exchange.service.settings.clients.get(owner)
    exchange.caller = Caller(owner, client.models if client else None)
    return exchange.caller


def read_json(exchange: Exchange) -> dict[str, Any]:
    """The JSON object in the request's body.

    Raises:
        BadRequest: it is none, or is cut short, or comes as another type.
        TooLarge: it has more bytes than the configuration allows.
    """
    kind = exchange.environ.get("CONTENT_TYPE", "")
    if kind and kind != JSON:
        _check_type(kind)
    body = _read_body(exchange)
    try:
        parsed = orjson.loads(body)
        if body.count(b"[") + body.count(b"{") > DEEP:
            # What is nested too deep to be written could not be passed on.
            orjson.dumps(parsed)
    except (orjson.JSONDecodeError, TypeError):
        raise BadRequest(BAD_JSON) from None
    if not isinstance(parsed, dict):
        raise BadRequest(BAD_JSON)
    return parsed


def render(body: dict[str, Any], status: int = 200) -> Response:
    """A JSON answer, indented by two as OpenAI's are."""
    return WholeResponse(orjson.dumps(body, option=orjson.OPT_INDENT_2), status)


def install(app: Flask, service: Service) -> None:
    """Puts what is said here around every request of `app`."""
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.extensions["cadenza"] = service
    app.before_request(partial(_open, service))
    app.after_request(_close)
    app.register_error_handler(ServiceError, _answer_error)
    app.register_error_handler(HTTPException, _answer_http_error)
    app.register_error_handler(Exception, _answer_bug)


def _open(service: Service) -> Response | None:
    # The request itself: each look through Flask's proxy costs as much as all that is looked at.
    asked: Request = request._get_current_object()  # type: ignore[attr-defined]
    exchange = g.exchange = Exchange(
        service,
        asked.environ,
        method=asked.method if asked.method in KNOWN_METHODS else "_OTHER",
        route=asked.url_rule.rule if asked.url_rule else "",
    )
    if exchange.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in asked.environ:
        return _answer_preflight()
    return None


def _close(response: Response) -> Response:
    exchange = current()
    # A stream has its own way: its status and its end are not known yet.
    if isinstance(response, WholeResponse):
        response.more = exchange.headers(response.status_code)
        exchange.log(response.status_code, len(response.body), exchange.error)
    elif not isinstance(response, StreamResponse):
        response.headers.extend(exchange.headers(response.status_code))
        exchange.log(response.status_code, response.content_length)
    return response


def _answer_preflight() -> Response:
    response = Response(status=204)
    del response.headers["Content-Type"]
    if current().shares():
        asked = request.headers.get("Access-Control-Request-Headers", "authorization, content-type")
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE, OPTIONS"
        response.headers["Access-Control-Allow-Headers"] = asked
        response.headers["Access-Control-Max-Age"] = "600"
    return response


def _answer_error(error: ServiceError) -> Response:
    current().error = error
    response = render(error.body(), error.status)
    response.headers.extend(error.headers())
    return response


def _answer_http_error(error: HTTPException) -> Response:
    """What the framework finds wrong, in OpenAI's words."""
    if isinstance(error, MethodNotAllowed):
        text = f"Not allowed to {request.method} on {request.path}. "
        response = _answer_error(
            errors.MethodNotAllowed(text + "(HINT: Perhaps you meant to use a different HTTP method?)")
        )
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        return response
    if error.code == 404:
        return _answer_error(errors.NotFound(f"Invalid URL ({request.method} {request.path})"))
    return _answer_error(BadRequest("The server could not understand the request."))


def _answer_bug(error: Exception) -> Response:
    LOGGER.error("an unexpected error", exc_info=error)
    return _answer_error(ServiceError())


def _check_type(kind: str) -> None:
    name = kind.partition(";")[0].strip().lower()
    if name != JSON:
        raise BadRequest(
            f"Unsupported content type: '{name}'. This API method only accepts '{JSON}' requests, "
            f"but you specified the header 'Content-Type: {kind}'."
        )


def _read_body(exchange: Exchange) -> bytes:
    limit = exchange.service.settings.service.max_body
    # Empty for a body in chunks, of which only the server knows the end.
    given = exchange.environ.get("CONTENT_LENGTH")
    size = int(given) if given else None
    if size is None or size <= limit:
        try:
            body: bytes = exchange.environ["wsgi.input"].read(limit + 1 if size is None else size)
        except (OSError, ParseException):
            raise BadRequest(BAD_JSON) from None
        if size is not None and len(body) < size:
            raise BadRequest(BAD_JSON)
        if len(body) <= limit:
            return body
    raise TooLarge(f"Request body is too large: the maximum is {limit} bytes.")
