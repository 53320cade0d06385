"""The edge that all routes share: bodies, URLs, methods and headers, in the words that OpenAI has for each."""

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from application import CHAT, Application, error_of, running
from gunicorn.http.errors import InvalidChunkSize
from werkzeug.test import TestResponse

BAD_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
    "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have trouble "
    "figuring out how to fix this, please contact us through our help center at help.openai.com.)"
)
URL = "/v1/chat/completions"
LIMIT = 4000
BODY = b'{"model": "%s", "messages": [{"role": "user", "content": "Hi"}]}' % CHAT.encode()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with running(tmp_path_factory.mktemp("app"), service=f"max_body: {LIMIT}") as app:
        yield app


def test_a_good_request_is_answered(app: Application) -> None:
    assert app.post(BODY).status_code == 200


@pytest.mark.parametrize("data", [b"", b" ", b"{", b"[]", b"null", b'"x"', b"5", b"{'model': 1}", b"\xff", BODY + b"}"])
def test_what_is_no_json_object_is_refused(app: Application, data: bytes) -> None:
    assert error_of(app.post(data)) == (400, None, None, BAD_JSON)


@pytest.mark.parametrize("depth", [255, 1023, 1025])
def test_what_could_not_be_passed_on_is_refused(app: Application, depth: int) -> None:
    data = b'{"model": ' + b"[" * depth + b"]" * depth + b"}"

    assert error_of(app.post(data)) == (400, None, None, BAD_JSON)


def test_many_brackets_are_not_depth(app: Application) -> None:
    text = b'"' + b"[" * 1000 + b'"'

    assert app.post(BODY.replace(b'"Hi"', text)).status_code == 200


def test_another_content_type_is_refused(app: Application) -> None:
    answer = app.post(BODY, content_type="text/plain; charset=utf-8")

    assert error_of(answer) == (
        400,
        None,
        None,
        "Unsupported content type: 'text/plain'. This API method only accepts 'application/json' requests, "
        "but you specified the header 'Content-Type: text/plain; charset=utf-8'.",
    )


@pytest.mark.parametrize("kind", ["", "application/json; charset=utf-8", "Application/JSON"])
def test_json_by_any_of_its_names_is_taken(app: Application, kind: str) -> None:
    assert app.post(BODY, content_type=kind).status_code == 200


def pad(size: int) -> bytes:
    return BODY + b" " * (size - len(BODY))


def post_in_chunks(app: Application, data: bytes) -> TestResponse:
    """A body whose length nobody has said."""
    environ = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO(data), "wsgi.input_terminated": True}
    return app.fetch(URL, "POST", content_type="application/json", environ_overrides=environ)


def test_a_body_may_be_as_large_as_is_configured(app: Application) -> None:
    assert app.post(pad(LIMIT)).status_code == 200
    assert post_in_chunks(app, pad(LIMIT)).status_code == 200


def test_a_larger_body_is_refused(app: Application) -> None:
    refusal = (413, None, None, "Request body is too large: the maximum is 4000 bytes.")

    assert error_of(app.post(pad(LIMIT + 1))) == refusal
    assert error_of(post_in_chunks(app, pad(LIMIT + 1))) == refusal


def test_a_body_that_is_cut_short_is_refused(app: Application) -> None:
    answer = app.post(BODY, environ_overrides={"CONTENT_LENGTH": str(len(BODY) + 1)})

    assert error_of(answer) == (400, None, None, BAD_JSON)


class Broken:
    """A body that cannot be read to its end."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, _: int) -> bytes:
        raise self.error


@pytest.mark.parametrize("error", [InvalidChunkSize(b"zz"), TimeoutError(), ConnectionResetError()])
def test_a_body_that_breaks_off_is_refused(app: Application, error: Exception) -> None:
    answer = app.post(BODY, environ_overrides={"wsgi.input": Broken(error)})

    assert error_of(answer) == (400, None, None, BAD_JSON)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/x"), ("GET", "/"), ("GET", "/v1"), ("POST", "/v1//chat/completions")]
)
def test_an_unknown_url_is_named(app: Application, method: str, path: str) -> None:
    assert error_of(app.fetch(f"{path}?q=1", method)) == (404, None, None, f"Invalid URL ({method} {path})")


@pytest.mark.parametrize("path", ["/v1/models/", "/healthz/"])
def test_a_slash_at_the_end_changes_nothing(app: Application, path: str) -> None:
    assert app.fetch(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", URL, "OPTIONS, POST"),
        ("BREW", URL, "OPTIONS, POST"),
        ("POST", "/v1/models", "GET, HEAD, OPTIONS"),
        ("DELETE", f"/v1/models/{CHAT}", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_wrong_method_is_named_with_those_that_are_right(
    app: Application, method: str, path: str, allowed: str
) -> None:
    answer = app.fetch(path, method)

    text = f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)"
    assert error_of(answer) == (405, None, None, text)
    assert answer.headers["Allow"] == allowed


def test_head_is_get_without_a_body(app: Application) -> None:
    head, get = app.fetch("/v1/models", "HEAD"), app.fetch("/v1/models")

    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


def test_options_tells_the_methods(app: Application) -> None:
    answer = app.client.options(URL)

    assert (answer.status_code, answer.data) == (200, b"")
    assert set(answer.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}


def test_what_the_framework_refuses_is_refused_in_json(app: Application) -> None:
    answer = app.fetch("/v1/models", headers={"Connection": "Upgrade", "Upgrade": "websocket"})

    assert error_of(answer) == (400, None, None, "The server could not understand the request.")


def test_a_fault_of_ours_is_a_plain_500(tmp_path: Path) -> None:
    with running(tmp_path) as app:
        shutil.rmtree(app.folders.secrets / "keys")
        (app.folders.secrets / "keys").write_text("canary")
        answer = app.fetch("/v1/models")

    status, code, param, text = error_of(answer, "server_error")
    assert (status, code, param) == (500, None, None)
    assert text.startswith("The server had an error processing your request. Sorry about that!")
    assert "canary" not in answer.text
    assert str(tmp_path) not in answer.text
    assert "x-should-retry" not in answer.headers


def ask_everything(app: Application) -> dict[str, TestResponse]:
    return {
        "whole": app.ask(),
        "stream": app.ask(stream=True),
        "bad body": app.post(b"{"),
        "bad stream": app.ask(stream=True, n=0),
        "models": app.fetch("/v1/models"),
        "wrong url": app.fetch("/v1/x"),
        "wrong method": app.fetch(URL),
        "wrong key": app.fetch("/v1/models", headers={"Authorization": "Bearer sk-wrong"}),
        "no key": app.fetch("/v1/models", headers={"Authorization": ""}),
        "alive": app.client.get("/healthz"),
    }


def test_every_answer_has_an_id_of_its_own(app: Application) -> None:
    ids = [answer.headers.getlist("x-request-id") for answer in ask_everything(app).values()]

    assert all(len(each) == 1 and re.fullmatch("req_[0-9a-f]{32}", each[0]) for each in ids)
    assert len({each[0] for each in ids}) == len(ids)


def test_who_is_known_gets_openais_headers(app: Application) -> None:
    answers = ask_everything(app)
    strangers = {name: answers.pop(name) for name in ("wrong key", "no key")}

    for answer in answers.values():
        assert answer.headers.getlist("openai-version") == ["2020-10-01"]
        assert [value.isdigit() for value in answer.headers.getlist("openai-processing-ms")] == [True]
    for answer in strangers.values():
        assert not [name for name, _ in answer.headers if name.startswith("openai-")]


def test_json_is_indented_as_openais(app: Application) -> None:
    answer = app.ask()

    assert answer.content_type == "application/json"
    assert answer.text.startswith('{\n  "id": "chatcmpl-')


def test_streams_are_neither_kept_nor_held_back(app: Application) -> None:
    answer = app.ask(stream=True)

    assert answer.content_type == "text/event-stream; charset=utf-8"
    assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-cache", "no")
