"""The vocabulary: prompts grow by copy, replies add up what passes."""

import re
from collections.abc import Iterator

import pytest

from app.messages import Delta, Prompt, Reply, ToolCall, Usage, new_id

USER = {"role": "user", "content": "Hi"}
SYSTEM = {"role": "system", "content": "Be kind"}
TOOL = {"type": "function", "function": {"name": "f"}}


def reply(*deltas: Delta) -> Reply:
    return Reply(lambda _: iter(deltas))


def test_ids_have_openais_shape() -> None:
    first, second = new_id("call_", 24), new_id("call_", 24)

    assert re.fullmatch(r"call_[A-Za-z0-9]{24}", first)
    assert first != second


def test_a_prompt_grows_by_copy() -> None:
    prompt = Prompt((USER,), params={"temperature": 1})

    grown = prompt.prepend(SYSTEM).add(USER).offer(TOOL).with_params(stop="x", temperature=None)

    assert grown == Prompt((SYSTEM, USER, USER), (TOOL,), {"stop": "x"})
    assert prompt == Prompt((USER,), params={"temperature": 1})


def test_usage_adds_up() -> None:
    assert Usage(1, 2, 3) + Usage(10, 20, reasoning_tokens=1) == Usage(11, 22, 3, reasoning_tokens=1)


def test_a_reply_adds_up_what_passes() -> None:
    whole = reply(
        Delta("Hel"), Delta("lo", reasoning="hm"), Delta(refusal="no"), Delta(finish="stop", usage=Usage(1, 2))
    ).read()

    assert (whole.text, whole.reasoning, whole.refusal) == ("Hello", "hm", "no")
    assert (whole.finish, whole.usage) == ("stop", Usage(1, 2))
    assert whole.message == {"role": "assistant", "content": "Hello", "refusal": "no"}


def test_usage_of_several_asked_models_is_summed() -> None:
    assert reply(Delta(usage=Usage(1, 2)), Delta(usage=Usage(3, 4))).read().usage == Usage(4, 6)


def test_logprobs_are_joined() -> None:
    whole = reply(
        Delta(logprobs={"content": [1], "refusal": None}),
        Delta(logprobs={"content": [2], "refusal": None}),
        Delta(logprobs={"content": None, "refusal": [3]}),
    ).read()

    assert whole.logprobs == {"content": [1, 2], "refusal": [3]}


def test_a_reply_does_nothing_before_it_is_used_and_passes_once() -> None:
    asked: list[bool] = []

    def source(stream: bool) -> Iterator[Delta]:
        asked.append(stream)
        yield Delta("a")

    lazy = Reply(source, stream=True)
    lazy.close()
    assert not asked

    assert [delta.text for delta in lazy] == ["a"]
    with pytest.raises(RuntimeError):
        lazy.read()
    assert asked == [True]
    assert Reply(source).read().text == "a"
    assert asked == [True, False], "reading asks for a whole answer"


def test_closing_a_reply_ends_its_source() -> None:
    ended = []

    def source(_: bool) -> Iterator[Delta]:
        try:
            yield Delta("a")
            yield Delta("b")
        finally:
            ended.append(True)

    left = Reply(source)
    deltas = iter(left)
    next(deltas)
    left.close()

    assert ended == [True]


def test_tool_calls_are_put_together() -> None:
    whole = reply(
        Delta(tool_calls=(ToolCall(0, "call_a", "f", ""),)),
        Delta(tool_calls=(ToolCall(0, arguments='{"x"'),)),
        Delta(tool_calls=(ToolCall(0, arguments=":1}"), ToolCall(1, "call_b", "g", "{}"))),
    ).read()

    assert whole.tool_calls == [ToolCall(0, "call_a", "f", '{"x":1}'), ToolCall(1, "call_b", "g", "{}")]
    assert whole.message == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
            {"id": "call_b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }


def test_calls_are_numbered_as_they_appear_whatever_the_provider_counts() -> None:
    passed = [
        call
        for delta in reply(
            Delta(tool_calls=(ToolCall(3, "a", "f", "1"),)),
            Delta(tool_calls=(ToolCall(3, "b", "g", "2"),)),
            Delta(tool_calls=(ToolCall(3, "b", "g", "3"),)),
        )
        for call in delta.tool_calls
    ]

    assert passed == [ToolCall(0, "a", "f", "1"), ToolCall(1, "b", "g", "2"), ToolCall(1, "", "", "3")]


def test_a_call_without_id_gets_one() -> None:
    (call,) = reply(Delta(tool_calls=(ToolCall(0, "", "f", "{}"),))).read().tool_calls

    assert re.fullmatch(r"call_[A-Za-z0-9]{24}", call.id)


def test_what_a_provider_wants_back_stays_with_the_message() -> None:
    whole = reply(
        Delta(memo={"anthropic": [{"signature": "a"}]}), Delta("Hi"), Delta(memo={"anthropic": [{"signature": "b"}]})
    ).read()

    assert whole.message["memo"] == {"anthropic": [{"signature": "a"}, {"signature": "b"}]}


def test_a_call_goes_on_once_its_name_has_come() -> None:
    calls = [
        call
        for delta in reply(
            Delta(tool_calls=(ToolCall(0, "call_a"),)),
            Delta(tool_calls=(ToolCall(0, arguments="{"),)),
            Delta(tool_calls=(ToolCall(0, name="f", arguments="}"),)),
            Delta(tool_calls=(ToolCall(0, arguments=" "),)),
        )
        for call in delta.tool_calls
    ]

    assert calls == [ToolCall(0, "call_a", "f", "{}"), ToolCall(0, arguments=" ")]


def test_text_is_text() -> None:
    with pytest.raises(TypeError):
        reply(Delta(text=5)).read()  # type: ignore[arg-type]
