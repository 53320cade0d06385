"""From a task to its replies: how flows run, alone and side by side, and how they end."""

import itertools
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema, fields
from plain import HI, plain
from upstream import Exchange, serving

from app.errors import BadRequest, ClientGone, RateLimited, ServiceError
from app.flow import Flow, Turn
from app.log import LOGGER, LineFormatter
from app.messages import Delta, Reply
from app.runner import AHEAD, PAUSE, Caller, Runner, interleave
from app.scope import Scope
from app.settings import FlowSettings, ServiceSchema, ServiceSettings, Settings
from app.template import Templates


class Scripted(Flow):
    """Does what a test says."""

    class Options(Schema):
        steps = fields.Integer(load_default=1)

    def __init__(self, script: Callable[[Turn], Any]) -> None:
        self._script = script

    def run(self, turn: Turn) -> Iterator[Delta]:
        answer: Iterator[Delta] = self._script(turn)
        return answer


def run(script: Callable[[Turn], Any]) -> Reply:
    """The reply of a flow that does this."""
    settings = Settings(ServiceSettings(**ServiceSchema().load({})), {}, {"f": FlowSettings({}, {})}, {}, {})
    runner = Runner(settings, {"f": Scripted(script)}, {}, Templates(Path()))
    return runner.run(runner.resolve("urn:cadenza:flow=f:steps=2", Caller("ann")), HI, Scope(), stream=True)


class Lines(logging.Handler):
    """Keeps what the log tells."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(LineFormatter())
        self.found: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(json.loads(self.format(record)))


@pytest.fixture
def told() -> Iterator[list[dict[str, Any]]]:
    """What the log has told so far."""
    handler = Lines()
    LOGGER.addHandler(handler)
    yield handler.found
    LOGGER.removeHandler(handler)


def words(*texts: str, error: Exception | None = None) -> Reply:
    def source(_: bool) -> Iterator[Delta]:
        for text in texts:
            yield Delta(text)
            time.sleep(0.002)
        if error is not None:
            raise error

    return Reply(source)


def test_a_flow_is_given_its_prompt_and_options() -> None:
    def script(turn: Turn) -> Iterator[Delta]:
        yield Delta(f"{turn.prompt.messages[0]['content']} {turn.options['steps']}")

    assert run(script).read().text == "Hi 2"


def test_nothing_runs_before_it_is_wanted() -> None:
    ran = list[Turn]()

    def script(turn: Turn) -> list[Delta]:
        ran.append(turn)
        return [Delta("x")]

    reply = run(script)
    assert not ran

    assert list(interleave([reply], Scope())) == [(0, Delta("x"))]
    assert len(ran) == 1


@pytest.mark.parametrize("number", [1, 2])
def test_what_a_flow_refuses_is_refused_in_its_words(number: int, told: list[Any]) -> None:
    error = BadRequest("no", param="messages")

    with pytest.raises(BadRequest) as caught:
        list(interleave([words("a", error=error) for _ in range(number)], Scope()))

    assert caught.value is error
    assert told == []


def fail_at_once(_: Turn) -> Any:
    raise ValueError("canary")


def leave(_: Turn) -> Any:
    sys.exit("canary")


def fail_later(_: Turn) -> Iterator[Delta]:
    yield Delta("Hel")
    raise ValueError("canary")


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(
    ("script", "kind"),
    [
        pytest.param(fail_at_once, "ValueError", id="at once"),
        pytest.param(fail_later, "ValueError", id="later"),
        pytest.param(leave, "SystemExit", id="sys.exit"),
        pytest.param(lambda _: ["canary"], "AttributeError", id="what is no delta"),
        pytest.param(lambda _: None, "TypeError", id="nothing to iterate"),
    ],
)
def test_a_mistake_of_a_flow_is_a_plain_error(script: Any, kind: str, number: int, told: list[Any]) -> None:
    with pytest.raises(ServiceError) as caught:
        list(interleave([run(script) for _ in range(number)], Scope()))

    assert (type(caught.value), caught.value.body()) == (ServiceError, ServiceError().body())
    assert (told[0]["level"], told[0]["message"]) == ("ERROR", "a flow failed")
    assert told[0]["exc_info"].split(" < ")[0] == kind
    assert "canary" not in str(told)


def test_a_mistake_of_a_flow_is_found_by_its_place(told: list[Any]) -> None:
    with pytest.raises(ServiceError):
        list(interleave([run(fail_later)], Scope()))

    innermost = told[0]["exc_info"].split(" < ")[1]
    assert innermost == f"tests/test_runner_reply.py:{fail_later.__code__.co_firstlineno + 2} fail_later"


@pytest.mark.parametrize("number", [1, 3])
def test_replies_that_run_side_by_side_keep_their_order(number: int) -> None:
    scope = Scope()

    arrived = list(interleave([words("a", "b", "c") for _ in range(number)], scope))

    for reply in range(number):
        assert [delta.text for which, delta in arrived if which == reply] == ["a", "b", "c"]
    assert len(arrived) == 3 * number
    assert scope.cancelled is None


def test_replies_run_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=10)

    def source(_: bool) -> Iterator[Delta]:
        together.wait()
        yield Delta("x")

    assert len(list(interleave([Reply(source) for _ in range(3)], Scope()))) == 3


def hang(exchange: Exchange) -> None:
    exchange.begin()
    exchange.event({"text": "Hel"})
    exchange.wait_gone()


def asked(url: str, scope: Scope) -> Reply:
    return Reply(lambda stream: plain(url, retries=0).stream(HI, scope, stream))


def test_the_first_failure_ends_the_others() -> None:
    scope, error = Scope(), RateLimited()
    with serving(hang) as upstream:
        started = time.monotonic()

        with pytest.raises(RateLimited) as caught:
            list(interleave([asked(upstream.url, scope), words("a", "b", error=error)], scope))

        assert caught.value is scope.cancelled is error
        assert time.monotonic() - started < 3
        assert all(call.seconds is not None for call in scope.calls)


@pytest.mark.parametrize("number", [1, 3])
def test_closing_early_ends_all(number: int) -> None:
    scope, threads = Scope(), set(threading.enumerate())
    with serving(hang) as upstream:
        deltas = interleave([asked(upstream.url, scope) for _ in range(number)], scope)
        assert sorted(which for which, _ in itertools.islice(deltas, number)) == list(range(number))
        deltas.close()

        assert len(scope.calls) == number
        assert all(call.seconds is not None for call in scope.calls)
        assert all(exchange.gone.wait(5) for exchange in upstream.exchanges)
        assert not [each for each in set(threading.enumerate()) - threads if "_pump" in each.name]
    assert isinstance(scope.cancelled, ClientGone) or number == 1


def endless(_: bool) -> Iterator[Delta]:
    while True:
        yield Delta("x")
        time.sleep(0.002)


def test_closing_early_ends_flows_that_ask_nobody() -> None:
    deltas = interleave([Reply(endless), Reply(endless)], Scope())
    next(deltas)

    closing = threading.Thread(target=deltas.close, daemon=True)
    closing.start()
    closing.join(5)

    assert not closing.is_alive()


@pytest.mark.parametrize("number", [1, 2])
def test_a_client_that_leaves_ends_flows_that_ask_nobody(number: int) -> None:
    scope, error = Scope(), ClientGone()
    threading.Timer(0.02, scope.cancel, [error]).start()

    with pytest.raises(ClientGone) as caught:
        for _ in interleave([Reply(endless) for _ in range(number)], scope):
            pass

    assert caught.value is error


def test_choices_do_not_run_far_ahead_of_a_client_that_reads_slowly() -> None:
    made = [0, 0]

    def source(number: int) -> Reply:
        def deltas(_: bool) -> Iterator[Delta]:
            for made[number] in range(1, 10_000):
                yield Delta("x")

        return Reply(deltas)

    scope = Scope()
    arriving = interleave([source(0), source(1)], scope)
    next(arriving)
    time.sleep(2 * PAUSE)
    assert sum(made) <= AHEAD + 3
    arriving.close()

    assert isinstance(scope.cancelled, ClientGone)


def test_a_scope_that_ends_while_nothing_comes_ends_the_waiting() -> None:
    scope = Scope()

    def silent(_: bool) -> Iterator[Delta]:
        scope.wait(30)
        yield Delta("late")

    threading.Timer(2 * PAUSE, scope.cancel, [ClientGone()]).start()

    with pytest.raises(ClientGone):
        list(interleave([Reply(silent), Reply(silent)], scope))
