"""A reply becomes a completion: every shape that a whole answer can have."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from application import CHAT, WHOLE, Application, answering, error_of, running
from upstream import USAGE, Exchange, completion

CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
    {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
]
TOKEN = {"token": "H", "logprob": -0.5, "bytes": [72]}
LOGPROBS = {"content": [{**TOKEN, "top_logprobs": [TOKEN]}], "refusal": None}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with running(tmp_path_factory.mktemp("app")) as app:
        yield app


def answer_with(app: Application, changes: dict[str, Any], **body: Any) -> dict[str, Any]:
    """The completion, if the provider's is changed so."""
    answer = app.ask(lambda exchange: exchange.answer({**completion(), **changes}), **body)
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def choice_of(app: Application, **body: Any) -> dict[str, Any]:
    """The choice that the client gets if this is the provider's answer."""
    (choice,) = app.ask(answering(**body)).get_json()["choices"]
    return dict(choice)


def test_an_answer_has_what_openais_have_and_no_more(app: Application) -> None:
    answer = app.ask().get_json()

    assert re.fullmatch("chatcmpl-[A-Za-z0-9]{29}", answer.pop("id"))
    assert 0 <= time.time() - answer.pop("created") < 60
    usage = answer.pop("usage")
    assert {key: usage[key] for key in USAGE} == USAGE
    assert answer == {
        "object": "chat.completion",
        "model": CHAT,
        "service_tier": "default",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello!", "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
    }


def test_the_model_is_what_the_client_called_it(app: Application) -> None:
    name = "URN:Cadenza:connector=whole:flow=chat"

    assert app.ask(model=name).get_json()["model"] == name


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (None, "default"),
        ("auto", "default"),
        ("default", "default"),
        ("fast", "priority"),
        ("priority", "priority"),
        ("flex", "flex"),
        ("scale", "scale"),
    ],
)
def test_the_service_tier_is_the_resolved_one(app: Application, asked: str | None, told: str) -> None:
    assert app.ask(service_tier=asked).get_json()["service_tier"] == told


MESSAGE: dict[str, Any] = {"role": "assistant", "refusal": None, "annotations": []}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"text": ""}, {"content": ""}, id="empty"),
        pytest.param({"text": None}, {"content": ""}, id="null"),
        pytest.param({"text": "é\U0001f600\n"}, {"content": "é\U0001f600\n"}, id="unicode"),
        pytest.param({"text": None, "refusal": "No."}, {"content": None, "refusal": "No."}, id="refusal"),
        pytest.param({"text": None, "tool_calls": CALLS[:1]}, {"content": None, "tool_calls": CALLS[:1]}, id="call"),
        pytest.param({"text": "", "tool_calls": CALLS}, {"content": None, "tool_calls": CALLS}, id="parallel calls"),
        pytest.param({"text": "Wait", "tool_calls": CALLS}, {"content": "Wait", "tool_calls": CALLS}, id="both"),
        pytest.param({"text": "Hi", "reasoning_content": "hm"}, {"content": "Hi"}, id="reasoning stays here"),
        pytest.param({"text": "Hi", "audio": None, "x": 1}, {"content": "Hi"}, id="inventions stay here"),
    ],
)
def test_a_message_has_what_openais_have_and_no_more(
    app: Application, given: dict[str, Any], message: dict[str, Any]
) -> None:
    assert choice_of(app, **given)["message"] == {**MESSAGE, **message}


def test_a_call_without_an_id_gets_one(app: Application) -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}

    (answered,) = choice_of(app, text=None, tool_calls=[call])["message"]["tool_calls"]

    assert re.fullmatch("call_[A-Za-z0-9]{24}", answered.pop("id"))
    assert answered == call


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "tool_calls"])
def test_the_reason_of_the_end_is_kept(app: Application, reason: str) -> None:
    assert choice_of(app, finish=reason)["finish_reason"] == reason


@pytest.mark.parametrize(
    ("given", "told"),
    [("stop", "tool_calls"), ("tool_calls", "tool_calls"), ("length", "length"), (None, "tool_calls")],
)
def test_who_stops_to_call_tools_has_stopped_for_them(app: Application, given: str, told: str) -> None:
    assert choice_of(app, text=None, finish=given, tool_calls=CALLS)["finish_reason"] == told


@pytest.mark.parametrize("reason", ["eos", "", None])
def test_a_reason_that_openai_does_not_know_is_a_stop(app: Application, reason: str | None) -> None:
    assert choice_of(app, finish=reason)["finish_reason"] == "stop"


def test_log_probabilities_are_passed_on(app: Application) -> None:
    def answer(exchange: Exchange) -> None:
        whole = completion("H")
        whole["choices"][0]["logprobs"] = LOGPROBS
        exchange.answer(whole)

    assert app.ask(answer, logprobs=True).get_json()["choices"][0]["logprobs"] == LOGPROBS


def test_tokens_are_counted_in_all_details(app: Application) -> None:
    usage = {
        **USAGE,
        "prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 2, "audio_tokens": 3},
        "completion_tokens_details": {
            "reasoning_tokens": 4,
            "audio_tokens": 5,
            "accepted_prediction_tokens": 6,
            "rejected_prediction_tokens": 7,
        },
    }

    assert answer_with(app, {"usage": usage})["usage"] == usage


def test_details_that_nobody_gave_are_zero(app: Application) -> None:
    usage = answer_with(app, {"usage": {"prompt_tokens": 1, "completion_tokens": 2}})["usage"]

    assert usage["total_tokens"] == 3
    assert set(usage["prompt_tokens_details"].values()) == set(usage["completion_tokens_details"].values()) == {0}


def test_tokens_that_nobody_counted_are_not_told(app: Application) -> None:
    assert "usage" not in answer_with(app, {"usage": None})


@pytest.mark.parametrize("model", [CHAT, WHOLE])
def test_choices_are_numbered_and_counted_together(app: Application, model: str) -> None:
    answer = app.ask(n=3, model=model).get_json()

    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["Hello!"] * 3
    assert answer["usage"]["total_tokens"] == 3 * USAGE["total_tokens"]


def test_one_choice_that_fails_fails_all(app: Application) -> None:
    def fail_second(exchange: Exchange) -> None:
        if len(app.upstream.exchanges) > 1:
            exchange.answer({"error": {"message": "x"}}, 503)
        else:
            exchange.answer(completion())

    assert error_of(app.ask(fail_second, n=2), "server_error")[0] == 503


def test_nothing_of_the_providers_own_head_is_told(app: Application) -> None:
    answer = app.ask(lambda exchange: exchange.answer({**completion(), "system_fingerprint": "fp_up"})).text

    assert "chatcmpl-up" not in answer
    assert "fp_up" not in answer
