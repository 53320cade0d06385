"""The official SDK, against a real server: every error class it knows, raised with all that it can tell."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from conftest import Site
from stage import HI, LIMIT, MODEL, Stage, staged
from upstream import Script, chunk, reply


@pytest.fixture(scope="module")
def running(shared_site: Site) -> Iterator[Stage]:
    with staged(shared_site) as stage:
        yield stage


@pytest.fixture
def stage(running: Stage) -> Stage:
    running.play(reply("one two three"))
    return running


def failing(status: int) -> Script:
    return lambda exchange: exchange.answer({"error": {"message": "boom"}}, status)


def fail(stage: Stage, **options: Any) -> openai.APIStatusError:
    """The error that the SDK raises; it has all that OpenAI's has."""
    with pytest.raises(openai.APIStatusError) as caught:
        stage.chat.create(**{"model": MODEL, "messages": HI, **options})
    error = caught.value
    assert set(error.body) == {"message", "type", "param", "code"}  # type: ignore[call-overload]
    assert error.request_id
    assert error.request_id.startswith("req_")
    return error


@pytest.mark.parametrize("stream", [True, False])
def test_bad_request(stage: Stage, stream: bool) -> None:
    error = fail(stage, temperature=3, stream=stream)

    assert type(error) is openai.BadRequestError
    assert (error.code, error.param, error.type) == (
        "decimal_above_max_value",
        "temperature",
        "invalid_request_error",
    )


def test_authentication(stage: Stage) -> None:
    stranger = stage.client.with_options(api_key="sk-wrong")

    with pytest.raises(openai.AuthenticationError) as caught:
        stranger.chat.completions.create(model=MODEL, messages=HI)

    assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")


def test_not_found(stage: Stage) -> None:
    error = fail(stage, model="gpt-5")

    assert type(error) is openai.NotFoundError
    assert (error.code, error.param) == ("model_not_found", None)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("status", "kind", "told"),
    [(429, openai.RateLimitError, 429), (500, openai.InternalServerError, 502), (503, openai.InternalServerError, 503)],
)
def test_what_the_provider_says(stage: Stage, stream: bool, status: int, kind: type, told: int) -> None:
    stage.play(failing(status))

    error = fail(stage, stream=stream)

    assert (type(error), error.status_code) == (kind, told)


def test_too_large(stage: Stage) -> None:
    for size in (LIMIT, 3_000_000):
        error = fail(stage, messages=[{"role": "user", "content": "x" * size}])

        assert (type(error), error.status_code) == (openai.APIStatusError, 413)


def test_too_large_without_a_key(stage: Stage) -> None:
    stranger = stage.client.with_options(api_key="sk-wrong")

    with pytest.raises(openai.AuthenticationError):
        stranger.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x" * 3_000_000}])


def test_wrong_method(stage: Stage) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        stage.client.models.delete(MODEL)

    assert (caught.value.status_code, caught.value.response.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


def test_wrong_url(stage: Stage) -> None:
    with pytest.raises(openai.NotFoundError, match=r"Invalid URL \(POST /v1/embeddings\)"):
        stage.client.embeddings.create(model=MODEL, input="Hi")


def test_a_stream_that_breaks_raises(stage: Stage) -> None:
    stage.play(lambda exchange: exchange.stream(chunk("Hel")))
    stream = stage.chat.create(model=MODEL, messages=HI, stream=True)

    with pytest.raises(openai.APIError) as caught:
        list(stream)

    assert caught.value.type == "server_error"
