"""A reply becomes chunks: every shape that a streamed answer can have."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from application import CHAT, WHOLE, Application, answering, chunks_of, running, streaming
from upstream import USAGE, Script, chunk, reply

from app.api.chat_answer import Head, render_chunks
from app.messages import Reply
from app.scope import Scope

FIRST = {"role": "assistant", "content": "", "refusal": None}
TOKEN = {"token": "H", "logprob": -0.5, "bytes": [72], "top_logprobs": []}
LOGPROBS = {"content": [TOKEN], "refusal": None}
USAGE_ONLY = {**chunk(), "choices": [], "usage": USAGE}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    with running(tmp_path_factory.mktemp("app")) as app:
        yield app


def stream(app: Application, script: Script, **body: Any) -> list[dict[str, Any]]:
    return chunks_of(app.ask(script, stream=True, **body))


def choices_of(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [choice for each in chunks for choice in each["choices"]]


def deltas(app: Application, *chunks: Any, **body: Any) -> list[dict[str, Any]]:
    """The deltas that the client gets for the provider's chunks; the last must be the end, and only the last."""
    *choices, last = choices_of(stream(app, streaming(*chunks), **body))
    assert all(choice == {"index": 0, "delta": choice["delta"], "finish_reason": None} for choice in choices)
    assert last.pop("finish_reason")
    assert last == {"index": 0, "delta": {}}
    return [choice["delta"] for choice in choices]


def call(index: int, arguments: str = "", **head: Any) -> dict[str, Any]:
    """A piece of a tool call, as OpenAI sends it; `id` and `name` for the first."""
    if not head:
        return {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}
    function = {"name": head["name"], "arguments": arguments}
    return {"tool_calls": [{"index": index, "id": head["id"], "type": "function", "function": function}]}


F, G = {"id": "call_1", "name": "f"}, {"id": "call_2", "name": "g"}
FIRST_CALL = {"role": "assistant", "content": None, "refusal": None}
END = chunk(finish="stop")


def test_text_comes_in_the_pieces_in_which_it_came(app: Application) -> None:
    assert deltas(app, chunk("", role="assistant"), chunk("Hel"), chunk("lo"), END) == [
        FIRST,
        {"content": "Hel"},
        {"content": "lo"},
    ]


def test_tools_first_come_with_the_role(app: Application) -> None:
    pieces = [call(0, **F), call(0, '{"a"'), call(0, ": 1}")]

    given = [chunk(**piece) for piece in pieces]

    assert deltas(app, *given, END) == [{**FIRST_CALL, **pieces[0]}, *pieces[1:]]


def test_text_then_tools(app: Application) -> None:
    pieces = [call(0, **F), call(0, "{}")]

    given = [chunk("Wait"), *(chunk(**piece) for piece in pieces)]

    assert deltas(app, *given, END) == [FIRST, {"content": "Wait"}, *pieces]


def test_parallel_calls_keep_their_numbers(app: Application) -> None:
    pieces = [call(0, **F), call(0, "{}"), call(1, **G), call(1, "{}")]

    given = [chunk("", role="assistant"), *(chunk(**piece) for piece in pieces)]

    assert deltas(app, *given, END) == [FIRST, *pieces]


def test_the_head_of_a_call_comes_once_however_often_the_provider_repeats_it(app: Application) -> None:
    given = [chunk(**call(4, "{", **F)), chunk(**call(4, "}", **F))]

    assert deltas(app, *given, END) == [{**FIRST_CALL, **call(0, "{", **F)}, call(0, "}")]


def test_calls_that_come_at_once_go_out_one_by_one(app: Application) -> None:
    calls = [*call(0, "{}", **F)["tool_calls"], *call(1, "[]", **G)["tool_calls"]]

    assert deltas(app, chunk(tool_calls=calls), END) == [
        {**FIRST_CALL, **call(0, "{}", **F)},
        call(1, "[]", **G),
    ]


def test_a_refusal_comes_in_pieces(app: Application) -> None:
    assert deltas(app, chunk(refusal="I "), chunk(refusal="won't."), END) == [
        FIRST,
        {"refusal": "I "},
        {"refusal": "won't."},
    ]


@pytest.mark.parametrize("chunks", [[], [chunk()], [chunk("")], [chunk("", role="assistant"), USAGE_ONLY]])
def test_an_empty_answer_has_a_beginning_and_an_end(app: Application, chunks: list[Any]) -> None:
    assert deltas(app, *chunks, END) == [FIRST]


def test_reasoning_stays_here(app: Application) -> None:
    assert deltas(app, chunk(reasoning_content="hm"), chunk(reasoning="hm"), chunk("Hi"), END) == [
        FIRST,
        {"content": "Hi"},
    ]


def test_a_whole_answer_is_streamed_too(app: Application) -> None:
    calls = [{key: value for key, value in call(0, "{}", **F)["tool_calls"][0].items() if key != "index"}]

    chunks = stream(app, answering(text="Wait", tool_calls=calls), model=WHOLE)

    assert [choice["delta"] for choice in choices_of(chunks)] == [
        FIRST,
        {"content": "Wait"},
        call(0, "{}", **F),
        {},
    ]


def with_logprobs(piece: dict[str, Any]) -> dict[str, Any]:
    piece["choices"][0]["logprobs"] = LOGPROBS
    return piece


@pytest.mark.parametrize(
    ("given", "delta"),
    [
        pytest.param(chunk("H"), {"content": "H"}, id="with text"),
        pytest.param(chunk(""), {"content": ""}, id="of a token that is no character yet"),
        pytest.param(chunk(refusal="H"), {"refusal": "H"}, id="of a refusal"),
        pytest.param(chunk(**call(0, "{}")), call(0, "{}"), id="of a call"),
    ],
)
def test_log_probabilities_come_with_their_text(app: Application, given: dict[str, Any], delta: dict[str, Any]) -> None:
    before = [chunk("", role="assistant"), chunk(**call(0, **F))]

    choices = choices_of(stream(app, streaming(*before, with_logprobs(given), END), logprobs=True))

    assert choices[2] == {"index": 0, "delta": delta, "finish_reason": None, "logprobs": LOGPROBS}
    assert ["logprobs" in choice for choice in choices] == [False, False, True, False]


def test_log_probabilities_come_once_however_many_chunks_a_delta_takes(app: Application) -> None:
    calls = [*call(0, "{}", **F)["tool_calls"], *call(1, "[]", **G)["tool_calls"]]

    choices = choices_of(stream(app, streaming(with_logprobs(chunk("H", tool_calls=calls)), END)))

    assert ["logprobs" in choice for choice in choices] == [False, False, False, True, False]


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "tool_calls"])
def test_the_reason_of_the_end_comes_last_and_alone(app: Application, reason: str) -> None:
    *before, last = choices_of(stream(app, streaming(chunk("Hi"), chunk(finish=reason))))

    assert last == {"index": 0, "delta": {}, "finish_reason": reason}
    assert {choice["finish_reason"] for choice in before} == {None}


def test_who_stops_to_call_tools_has_stopped_for_them(app: Application) -> None:
    choices = choices_of(stream(app, streaming(chunk(**call(0, "{}", **F)), END)))

    assert choices[-1]["finish_reason"] == "tool_calls"


def test_choices_are_told_apart_by_their_number(app: Application) -> None:
    chunks = stream(app, reply("one two"), n=3, stream_options={"include_usage": True})

    for index in range(3):
        mine = [choice for choice in choices_of(chunks) if choice["index"] == index]
        assert [choice["delta"] for choice in mine] == [FIRST, {"content": "one "}, {"content": "two"}, {}]
        assert [choice["finish_reason"] for choice in mine] == [None, None, None, "stop"]
    assert all(len(each["choices"]) == 1 for each in chunks[:-1])
    assert chunks[-1]["usage"]["total_tokens"] == 3 * USAGE["total_tokens"]


def test_all_chunks_have_one_head(app: Application) -> None:
    chunks = stream(app, reply("one two"), service_tier="fast", stream_options={"include_usage": True})

    heads = {tuple(each[key] for key in ("id", "object", "created", "model", "service_tier")) for each in chunks}
    ((id_, kind, _, model, tier),) = heads
    assert re.fullmatch("chatcmpl-[A-Za-z0-9]{29}", id_)
    assert (kind, model, tier) == ("chat.completion.chunk", CHAT, "priority")


def test_a_flow_that_says_nothing_has_said_an_empty_answer() -> None:
    frames = render_chunks(Head("m", "default", "chatcmpl-1", 1), [Reply(lambda _: iter(()))], Scope(), {})

    first, last, done = (frame.data.removeprefix(b"data: ") for frame in frames)
    assert json.loads(first)["choices"] == [{"index": 0, "delta": FIRST, "finish_reason": None}]
    assert json.loads(last)["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert done == b"[DONE]\n\n"
