"""A turn from its first byte to its last: the real SDK, a real gunicorn, and a provider that misbehaves."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import openai
import pytest
import requests
from conftest import Site
from upstream import Exchange, Script, Upstream, chunk, completion, reply, serving

MODEL = "urn:cadenza:flow=chat"
HI = [{"role": "user", "content": "Hi"}]
THREADS = 8
TRIES = 40


class Stage:
    """A running service and the provider behind it, whose script a test sets."""

    def __init__(self, site: Site, upstream: Upstream) -> None:
        self.site = site
        self.upstream = upstream
        self.client = site.client(max_retries=0)

    def play(self, script: Script) -> None:
        self.upstream.script = script
        self.upstream.exchanges.clear()

    def ask(self, **body: object) -> requests.Response:
        return self.site.ask(**body)

    def lines(self) -> list[dict[str, object]]:
        """What the log says of requests."""
        lines = [json.loads(line) for line in self.site.log.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("http.route", "").startswith("/v1")]


@pytest.fixture(scope="module")
def stage(shared_site: Site) -> Iterator[Stage]:
    with ExitStack() as stack:
        upstream = stack.enter_context(serving(reply()))
        shared_site.write(
            "config/connectors.yaml",
            f"""
            main:
              type: openai
              url: {upstream.url}
              model: up
              key: !secret openai
              retries: 1
              timeout: {{connect: 2, first_byte: 3, idle: 2, total: 8}}
            """,
        )
        shared_site.write("secrets/openai", "sk-upstream-canary-0123456789\n")
        yield Stage(shared_site.start("--workers", "1", "--threads", str(THREADS)), upstream)


@pytest.fixture(autouse=True)
def _fresh(stage: Stage) -> None:
    stage.play(reply())


def create(stage: Stage, **options: object) -> object:
    return stage.client.chat.completions.create(model=MODEL, messages=HI, **options)  # type: ignore[call-overload]


def leave_early(stage: Stage, stream: bool) -> socket.socket:
    """Sends a request by hand, whose connection can be closed at any moment."""
    body = json.dumps({"model": MODEL, "messages": HI, "stream": stream}).encode()
    connection = socket.create_connection(("127.0.0.1", stage.site.port))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stage.site.key}\r\n"
    connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


def wait_until(ready: object, seconds: float = 5.0) -> float:
    """Waits for `ready()`; how long it took."""
    started = time.monotonic()
    while not ready():  # type: ignore[operator]
        assert time.monotonic() - started < seconds, "it did not happen in time"
        time.sleep(0.005)
    return time.monotonic() - started


class Hanging:
    """A provider that never answers, and notices when the other side closes."""

    def __init__(self, *chunks: object) -> None:
        self.chunks = chunks
        self.left: list[float] = []

    def __call__(self, exchange: Exchange) -> None:
        if self.chunks:
            exchange.begin()
            for each in self.chunks:
                exchange.event(each)
        if exchange.wait_gone():
            self.left.append(time.monotonic())


def test_an_answer_comes_whole(stage: Stage) -> None:
    answer = stage.client.chat.completions.create(model=MODEL, messages=HI)  # type: ignore[arg-type]

    assert answer.choices[0].message.content == "Hello!"
    assert answer.model == MODEL
    assert answer.usage
    assert answer.usage.total_tokens == 12
    assert "stream" not in stage.upstream.exchanges[0].body, "who does not stream asks for a whole answer"


def test_an_answer_comes_in_pieces(stage: Stage) -> None:
    stage.play(reply("one two three"))

    chunks = list(
        stage.client.chat.completions.create(
            model=MODEL,
            messages=HI,  # type: ignore[arg-type]
            stream=True,
            stream_options={"include_usage": True},
        )
    )

    assert "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == "one two three"
    assert chunks[-1].usage
    assert chunks[-1].usage.total_tokens == 12
    assert len({each.id for each in chunks}) == 1
    assert stage.upstream.exchanges[0].body["stream"] is True


@pytest.mark.parametrize("stream", [False, True])
def test_what_fails_early_has_a_status_in_streams_too(stage: Stage, stream: bool) -> None:
    stage.play(lambda exchange: exchange.answer({"error": {"message": "boom"}}, 500))

    answer = stage.ask(stream=stream)

    assert answer.status_code == 502
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_one_429_costs_the_configured_attempts_and_one_error(stage: Stage) -> None:
    stage.play(lambda exchange: exchange.answer({"error": {"message": "slow down"}}, 429, retry_after_ms="50"))

    with pytest.raises(openai.RateLimitError) as caught:
        create(stage)

    assert len(stage.upstream.exchanges) == 2
    assert caught.value.response.headers["retry-after-ms"] == "50"


def test_a_long_retry_after_is_passed_on_and_not_waited_for(stage: Stage) -> None:
    stage.play(lambda exchange: exchange.answer({"error": {"message": "slow down"}}, 429, retry_after="77"))

    answer = stage.ask()

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "77")
    assert len(stage.upstream.exchanges) == 1


def test_a_retry_of_the_sdk_is_not_multiplied(stage: Stage) -> None:
    stage.play(lambda exchange: exchange.answer({}, 503))

    with pytest.raises(openai.InternalServerError):
        stage.client.with_options(max_retries=1).chat.completions.create(model=MODEL, messages=HI)  # type: ignore[arg-type]

    assert len(stage.upstream.exchanges) == 2 + 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_faults_of_our_configuration_are_not_the_clients(stage: Stage, status: int) -> None:
    body = {"error": {"message": "Incorrect API key provided: sk-upstr***", "code": "invalid_api_key"}}
    stage.play(lambda exchange: exchange.answer(body, status))

    answer = stage.ask()

    assert (answer.status_code, answer.headers["x-should-retry"]) == (502, "false")
    assert "key" not in answer.text
    assert len(stage.upstream.exchanges) == 1


def test_a_key_that_a_provider_echoes_is_not_passed_on(stage: Stage) -> None:
    echo = {"error": {"message": "Bad request with sk-upstream-canary-0123456789", "code": "bad"}}
    stage.play(lambda exchange: exchange.answer(echo, 400))

    answer = stage.ask()

    assert answer.status_code == 502
    assert "canary" not in answer.text


def test_what_is_wrong_with_the_request_keeps_code_and_param(stage: Stage) -> None:
    error = {
        "message": "This model's maximum context length is 8192 tokens.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
    stage.play(lambda exchange: exchange.answer({"error": error}, 400))

    with pytest.raises(openai.BadRequestError) as caught:
        create(stage)

    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")


def cut(exchange: Exchange) -> None:
    exchange.begin()
    exchange.event(chunk("Hel", role="assistant"))
    exchange.connection.shutdown(socket.SHUT_RDWR)


def end_without_reason(exchange: Exchange) -> None:
    exchange.stream(chunk("Hel", role="assistant"))


def send_garbage(exchange: Exchange) -> None:
    exchange.begin()
    exchange.event(chunk("Hel", role="assistant"))
    exchange.chunk(b"data: {not json\n\n")
    exchange.end()


def send_error(exchange: Exchange) -> None:
    exchange.begin()
    exchange.event(chunk("Hel", role="assistant"))
    exchange.event({"error": {"message": "overloaded", "type": "overloaded_error"}})
    exchange.end()


def fall_silent(exchange: Exchange) -> None:
    exchange.begin()
    exchange.event(chunk("Hel", role="assistant"))
    exchange.wait_gone(6)


@pytest.mark.parametrize("script", [cut, end_without_reason, send_garbage, send_error, fall_silent])
def test_a_stream_that_breaks_never_looks_finished(stage: Stage, script: Script) -> None:
    stage.play(script)

    with pytest.raises(openai.APIError) as caught:
        list(create(stage, stream=True))  # type: ignore[call-overload]
    stage.play(script)
    text = stage.ask(stream=True).text

    assert caught.value.body
    assert '"content":"Hel"' in text
    assert text.count('data: {"error"') == 1
    assert "[DONE]" not in text
    assert '"finish_reason":"' not in text


def test_a_dripping_answer_ends_with_its_time(stage: Stage) -> None:
    def drip(exchange: Exchange) -> None:
        exchange.begin()
        while True:
            exchange.chunk(b": ping\n\n")
            time.sleep(0.2)

    stage.play(drip)
    started = time.monotonic()

    answer = stage.ask(stream=True)

    assert time.monotonic() - started < 8 + 1
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")


@pytest.mark.parametrize("chunks", [pytest.param((), id="before"), pytest.param((chunk("Hel"),), id="after")])
def test_a_client_that_leaves_a_stream_frees_the_provider(stage: Stage, chunks: tuple[object, ...]) -> None:
    hanging = Hanging(*chunks)
    stage.play(hanging)
    connection = leave_early(stage, stream=True)
    wait_until(lambda: stage.upstream.exchanges)
    time.sleep(0.1)

    connection.close()

    assert wait_until(lambda: hanging.left) < 1


def test_a_client_that_leaves_a_whole_answer_frees_the_provider(stage: Stage) -> None:
    hanging = Hanging()
    stage.play(hanging)
    connection = leave_early(stage, stream=False)
    wait_until(lambda: stage.upstream.exchanges)
    time.sleep(0.1)

    connection.close()

    assert wait_until(lambda: hanging.left) < 1
    wait_until(lambda: any(line["http.response.status_code"] == 499 for line in stage.lines()))


@pytest.mark.parametrize("stream", [True, False])
def test_clients_that_leave_early_leave_all_threads_free(stage: Stage, stream: bool) -> None:
    hanging = Hanging()
    stage.play(hanging)
    connections = [leave_early(stage, stream) for _ in range(THREADS)]
    wait_until(lambda: len(stage.upstream.exchanges) == THREADS)
    for connection in connections:
        connection.close()
    wait_until(lambda: len(hanging.left) == THREADS, 1)

    stage.play(reply())
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(stage.ask().status_code)) for _ in range(THREADS)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [200] * THREADS
    assert time.monotonic() - started < 2


def test_an_sdk_stream_that_is_closed_frees_the_provider(stage: Stage) -> None:
    hanging = Hanging(chunk("Hel", role="assistant"))
    stage.play(hanging)
    stream = stage.client.chat.completions.create(model=MODEL, messages=HI, stream=True)  # type: ignore[arg-type]
    next(iter(stream))

    stream.close()

    assert wait_until(lambda: hanging.left) < 1


def test_clients_that_leave_do_not_disturb_others(stage: Stage) -> None:
    def script(exchange: Exchange) -> None:
        text = exchange.body["messages"][0]["content"]
        if text == "Hi":
            exchange.wait_gone()
        else:
            exchange.answer(completion(text))

    stage.play(script)
    wrong = []

    def echo(number: int) -> None:
        for turn in range(TRIES):
            text = f"{number}-{turn}"
            answer = stage.ask(messages=[{"role": "user", "content": text}])
            if answer.status_code != 200 or answer.json()["choices"][0]["message"]["content"] != text:
                wrong.append(answer.text)

    def hang_up() -> None:
        for _ in range(TRIES):
            connection = leave_early(stage, stream=False)
            time.sleep(0.02)
            connection.close()

    threads = [threading.Thread(target=echo, args=(number,)) for number in range(3)]
    threads += [threading.Thread(target=hang_up) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong


def test_n_choices_run_side_by_side(stage: Stage) -> None:
    def script(exchange: Exchange) -> None:
        time.sleep(0.3)
        reply("one two")(exchange)

    stage.play(script)
    started = time.monotonic()

    whole = stage.client.chat.completions.create(model=MODEL, messages=HI, n=3)  # type: ignore[arg-type]
    texts = {0: "", 1: "", 2: ""}
    for each in create(stage, n=3, stream=True):  # type: ignore[attr-defined]
        texts[each.choices[0].index] += each.choices[0].delta.content or ""

    assert time.monotonic() - started < 3 * 2 * 0.3
    assert [choice.message.content for choice in whole.choices] == ["one two"] * 3
    assert set(texts.values()) == {"one two"}
    assert whole.usage
    assert whole.usage.completion_tokens == 3 * 7


def test_one_line_a_request_tells_what_was_done_and_nothing_that_was_said(stage: Stage) -> None:
    answer = stage.ask(user="canary-user", messages=[{"role": "user", "content": "canary-prompt"}])
    request_id = answer.headers["x-request-id"]
    wait_until(lambda: any(line["request_id"] == request_id for line in stage.lines()))

    (line,) = [line for line in stage.lines() if line["request_id"] == request_id]

    assert line["owner"] == "tester"
    assert line["gen_ai.request.model"] == MODEL
    assert line["gen_ai.usage.output_tokens"] == 7
    assert line["calls"][0]["attempts"] == 1  # type: ignore[index]
    for canary in ("canary", "Hello!", stage.site.key):
        assert canary not in stage.site.log
