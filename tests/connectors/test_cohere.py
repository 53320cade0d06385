"""Cohere's v2 chat, as it is asked and as it answers."""

import json
from typing import Any

import pytest
from upstream import Exchange, Script, serving

from app.errors import BadRequest, ServiceError, UpstreamFailed, UpstreamTimeout
from app.messages import Message, Prompt, Reply, ToolCall, Usage
from app.scope import Scope
from connectors.cohere import Cohere

USER = {"role": "user", "content": "Hi"}
TOKENS = {"tokens": {"input_tokens": 5, "output_tokens": 7, "reasoning_tokens": 2}, "cached_tokens": 3}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "W", "parameters": {"type": "object"}}}
CLOCK = {"type": "function", "function": {"name": "clock"}}
CALL = {"id": "w1", "type": "function", "function": {"name": "weather", "arguments": '{"a":1}'}}
ANY = {"type": "object", "properties": {}}


def connector(url: str = "http://x/v2", **options: Any) -> Cohere:
    return Cohere("main", Cohere.Options().load({"url": url, "model": "command", "retries": 0, **options}))


def ask(script: Script, stream: bool = True, prompt: Prompt | None = None) -> Reply:
    """The whole reply to a provider's answer."""
    with serving(script) as upstream:
        asked = connector(upstream.url)
        return Reply(lambda _: asked.stream(prompt or Prompt((USER,)), Scope(), stream)).read()


def sent(*messages: Message, tools: tuple[Any, ...] = (), stream: bool = False, **params: Any) -> dict[str, Any]:
    """The body that a prompt becomes."""
    return json.loads(json.dumps(connector().render_prompt(Prompt(messages or (USER,), tools, params), stream)))


def refused(*messages: Message, tools: tuple[Any, ...] = (), **params: Any) -> str | None:
    """What of a prompt is refused."""
    with pytest.raises(BadRequest) as caught:
        sent(*messages, tools=tools, **params)
    return caught.value.param


def said(kind: str, index: int | None = None, **message: Any) -> dict[str, Any]:
    """An event of a stream."""
    return {"type": kind, "delta": {"message": message}, **({} if index is None else {"index": index})}


def text(piece: str) -> dict[str, Any]:
    return said("content-delta", 0, content={"text": piece})


def called(index: int, arguments: Any, **start: Any) -> dict[str, Any]:
    kind = "tool-call-start" if start else "tool-call-delta"
    name = {"name": start.pop("name")} if start else {}
    return said(kind, index, tool_calls={**start, "function": {**name, "arguments": arguments}})


def end(reason: str = "COMPLETE", **delta: Any) -> dict[str, Any]:
    return {"type": "message-end", "delta": {"finish_reason": reason, "usage": TOKENS, **delta}}


def streamed(*events: Any) -> Script:
    """A stream as Cohere sends it."""
    return lambda exchange: exchange.stream(said("message-start", role="assistant", content=[]), *events)


def whole(reason: str = "COMPLETE", **message: Any) -> Script:
    """A whole answer as Cohere sends it."""
    body = {"id": "c", "finish_reason": reason, "message": {"role": "assistant", **message}, "usage": TOKENS}
    return lambda exchange: exchange.answer(body)


def test_a_prompt_is_sent_in_cohere_s_words() -> None:
    body = sent(top_p=0.5, max_completion_tokens=9, stop="x", seed=1, temperature=1, presence_penalty=0.5)

    assert body == {
        "model": "command",
        "messages": [USER],
        "stream": False,
        "p": 0.5,
        "max_tokens": 9,
        "stop_sequences": ["x"],
        "seed": 1,
        "temperature": 1,
        "presence_penalty": 0.5,
    }


def test_a_stream_is_asked_for_at_the_same_address() -> None:
    with serving(streamed(text("Hi"), end())) as upstream:
        Reply(lambda _: connector(upstream.url).stream(Prompt((USER,)), Scope(), True)).read()

        assert upstream.exchanges[0].path == "/v1/chat"
        assert upstream.exchanges[0].body["stream"] is True


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 1.5),
        ("top_p", 1),
        ("top_p", 0),
        ("frequency_penalty", -1),
        ("presence_penalty", 2),
        ("seed", -1),
        ("parallel_tool_calls", False),
    ],
)
def test_values_that_cohere_does_not_take_are_refused_by_name(name: str, value: Any) -> None:
    assert refused(**{name: value}) == name


def test_what_cohere_has_not_is_refused_or_dropped() -> None:
    prompt = Prompt((USER,), (), {"logit_bias": {"5": 1}})
    with pytest.raises(BadRequest, match="logit_bias"):
        ask(whole(content=[]), prompt=prompt)

    with serving(whole(content=[{"type": "text", "text": "Hi"}])) as upstream:
        asked = connector(upstream.url, drop=["logit_bias"])
        assert Reply(lambda _: asked.stream(prompt, Scope(), False)).read().text == "Hi"


@pytest.mark.parametrize(
    ("effort", "thinking"),
    [
        ("none", {"type": "disabled"}),
        ("low", {"type": "enabled", "token_budget": 2048}),
        ("high", {"type": "enabled"}),
    ],
)
def test_effort_is_a_budget_of_thought(effort: str, thinking: dict[str, Any]) -> None:
    assert sent(reasoning_effort=effort)["thinking"] == thinking


@pytest.mark.parametrize(
    ("chosen", "rendered"),
    [
        pytest.param({"type": "text"}, None, id="text"),
        pytest.param({"type": "json_object"}, {"type": "json_object"}, id="json"),
        pytest.param(
            {"type": "json_schema", "json_schema": {"name": "n", "schema": ANY, "strict": True}},
            {"type": "json_object", "json_schema": ANY},
            id="schema",
        ),
        pytest.param(
            {"type": "json_schema", "json_schema": {"name": "n", "schema": ANY, "description": "D"}},
            {"type": "json_object", "json_schema": {"description": "D", **ANY}},
            id="described schema",
        ),
    ],
)
def test_structured_output_is_cohere_s_own(chosen: dict[str, Any], rendered: dict[str, Any] | None) -> None:
    assert sent(response_format=chosen).get("response_format") == rendered


def test_structured_output_together_with_tools_is_refused() -> None:
    assert refused(tools=(WEATHER,), response_format={"type": "json_object"}) == "response_format"
    assert "response_format" not in sent(tools=(WEATHER,), response_format={"type": "text"})


def test_tools_are_sent_with_what_cohere_knows_of_them() -> None:
    strict = {"type": "function", "function": {**CLOCK["function"], "strict": True}}  # type: ignore[dict-item]

    body = sent(tools=(WEATHER, strict), parallel_tool_calls=True)

    assert body["tools"] == [WEATHER, {"type": "function", "function": {"name": "clock", "parameters": ANY}}]
    assert body["strict_tools"] is True
    assert "strict_tools" not in sent(tools=(WEATHER,))


@pytest.mark.parametrize(
    ("choice", "told", "offered"),
    [
        pytest.param("auto", None, ["weather", "clock"], id="auto"),
        pytest.param("none", "NONE", ["weather", "clock"], id="none"),
        pytest.param("required", "REQUIRED", ["weather", "clock"], id="required"),
        pytest.param({"type": "function", "function": {"name": "clock"}}, "REQUIRED", ["clock"], id="one"),
        pytest.param(
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [CLOCK]}}, None, ["clock"], id="some"
        ),
    ],
)
def test_a_choice_among_tools_is_made_by_what_is_offered(choice: Any, told: str | None, offered: list[str]) -> None:
    body = sent(tools=(WEATHER, CLOCK), tool_choice=choice)

    assert body.get("tool_choice") == told
    assert [tool["function"]["name"] for tool in body["tools"]] == offered


@pytest.mark.parametrize("tool", ["clock", {"type": "function"}, {"function": {"name": "other"}}])
def test_allowed_tools_that_are_not_offered_are_refused(tool: Any) -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [tool]}}

    assert refused(tools=(CLOCK,), tool_choice=choice) == "tool_choice"


def test_parts_are_sent_as_parts() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}}
    marked = {"type": "text", "text": "See", "prompt_cache_breakpoint": {"mode": "explicit"}}

    body = sent({"role": "developer", "content": "Be kind"}, {"role": "user", "content": [marked, image]})

    assert body["messages"] == [
        {"role": "system", "content": "Be kind"},
        {"role": "user", "content": [{"type": "text", "text": "See"}, image]},
    ]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "user", "content": [{"type": "file", "file": {}}]}, "messages[0].content[0].type"),
        ({"role": "user", "content": "Hi", "name": "Ann"}, "messages[0].name"),
        ({"role": "function", "name": "f", "content": "x"}, "messages[0]"),
        ({"role": "assistant", "content": None, "function_call": {"name": "f"}}, "messages[0]"),
        ({"role": "assistant", "content": None, "tool_calls": [{"type": "custom"}]}, "messages[0].tool_calls[0].type"),
    ],
)
def test_what_a_message_cannot_hold_is_refused_by_name(message: Message, param: str) -> None:
    assert refused(message) == param


def test_names_can_be_left_out() -> None:
    prompt = Prompt(({**USER, "name": "Ann"},))

    assert connector(drop=["name"]).render_prompt(prompt, False)["messages"] == [USER]


def test_a_tool_exchange_is_sent_with_its_ids() -> None:
    bare = {**CALL, "id": "call_b", "function": {"name": "clock", "arguments": ""}}
    asking = {"role": "assistant", "content": None, "tool_calls": [CALL, bare]}
    result = {"role": "tool", "tool_call_id": "w1", "content": [{"type": "text", "text": "Sun"}]}

    messages = sent(USER, asking, result)["messages"]

    filled = {**bare, "function": {"name": "clock", "arguments": "{}"}}
    assert messages[1:] == [{"role": "assistant", "tool_calls": [CALL, filled]}, result]


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"content": ""}, ""),
        ({"content": None, "refusal": "No."}, "No."),
        ({"content": [{"type": "refusal", "refusal": "No."}]}, [{"type": "text", "text": "No."}]),
        ({"content": "Hi", "memo": {"anthropic": [{"thinking": "hm"}]}}, "Hi"),
    ],
)
def test_an_assistant_s_message_is_what_it_said(message: Message, content: Any) -> None:
    assert sent({"role": "assistant", **message})["messages"] == [{"role": "assistant", "content": content}]


THINKING = said("content-start", 0, content={"type": "thinking", "thinking": "h"})
EVENTS = (
    THINKING,
    said("content-delta", 0, content={"thinking": "m"}),
    said("content-end", 0),
    said("tool-plan-delta", tool_plan="Look."),
    called(0, "", id="w1", type="function", name="weather"),
    called(0, '{"a":'),
    called(0, "1}"),
    {"type": "tool-call-end", "index": 0},
    called(1, None, id="c1", type="function", name="clock"),
    called(1, "null"),
    {"type": "tool-call-end", "index": 1},
    end("TOOL_CALL"),
)
MESSAGE = {
    "content": [{"type": "thinking", "thinking": "hm"}, {"type": "later"}],
    "tool_plan": "Look.",
    "tool_calls": [CALL, {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "null"}}],
}


@pytest.mark.parametrize("stream", [True, False])
def test_stream_and_whole_answer_give_the_same_calls(stream: bool) -> None:
    reply = ask(streamed(*EVENTS) if stream else whole("TOOL_CALL", **MESSAGE), stream)

    assert (reply.text, reply.reasoning, reply.finish) == ("", "hmLook.", "tool_calls")
    assert reply.tool_calls == [ToolCall(0, "w1", "weather", '{"a":1}'), ToolCall(1, "c1", "clock", "{}")]
    assert reply.usage == Usage(5, 7, cached_tokens=3, reasoning_tokens=2)
    assert reply.message["memo"] == {"cohere": [{"thinking": "hm"}, {"tool_plan": "Look."}]}


@pytest.mark.parametrize("content", ["So", [{"type": "text", "text": "So"}]])
def test_what_was_thought_before_a_call_goes_back_with_it(content: Any) -> None:
    memo = {"cohere": [{"thinking": "hm"}, {"tool_plan": "Look."}]}

    message = sent({"role": "assistant", "content": content, "tool_calls": [CALL], "memo": memo})["messages"][0]

    assert message["content"] == [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "So"}]
    assert (message["tool_plan"], message["tool_calls"]) == ("Look.", [CALL])


def test_a_thought_alone_goes_back_alone() -> None:
    memo = {"cohere": [{"thinking": "hm"}]}

    message = sent({"role": "assistant", "content": None, "tool_calls": [CALL], "memo": memo})["messages"][0]

    assert message["content"] == [{"type": "thinking", "thinking": "hm"}]
    assert "tool_plan" not in message


@pytest.mark.parametrize("stream", [True, False])
def test_stream_and_whole_answer_give_the_same_text(stream: bool) -> None:
    logprobs = {"text": "Hé", "token_ids": [1, 2], "logprobs": [-1.0, -0.5]}

    def script(exchange: Exchange) -> None:
        if stream:
            return streamed({**text("Hé"), "logprobs": logprobs}, {"type": "citation-start"}, end("STOP"))(exchange)
        answer = {"message": {"content": [{"type": "text", "text": "Hé"}]}, "finish_reason": "STOP", "usage": TOKENS}
        return exchange.answer({**answer, "logprobs": [logprobs]})

    reply = ask(script, stream)

    token = {"token": "Hé", "logprob": -1.5, "bytes": [72, 195, 169], "top_logprobs": []}
    assert (reply.text, reply.finish) == ("Hé", "stop")
    assert reply.logprobs == {"content": [token], "refusal": None}
    assert "memo" not in reply.message


@pytest.mark.parametrize(
    ("reason", "finish"), [("COMPLETE", "stop"), ("STOP_SEQUENCE", "stop"), ("MAX_TOKENS", "length")]
)
@pytest.mark.parametrize("stream", [True, False])
def test_reasons_to_finish_are_openai_s(stream: bool, reason: str, finish: str) -> None:
    reply = ask(streamed(end(reason)) if stream else whole(reason), stream)

    assert (reply.text, reply.finish) == ("", finish)


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_with_calls_ends_in_calls(stream: bool) -> None:
    events = (called(0, "{}", id="w1", name="weather"), {"type": "tool-call-end", "index": 0}, end())

    reply = ask(streamed(*events) if stream else whole(tool_calls=[CALL]), stream)

    assert reply.finish == "tool_calls"
    assert reply.tool_calls[0].id == "w1"
    assert "memo" not in reply.message


@pytest.mark.parametrize(("reason", "error"), [("ERROR", UpstreamFailed), ("TIMEOUT", UpstreamTimeout)])
@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_failed_is_an_error(stream: bool, reason: str, error: type[ServiceError]) -> None:
    script = streamed(text("Hel"), end(reason, error="boom")) if stream else whole(reason)

    with pytest.raises(error):
        ask(script, stream)


def test_an_error_inside_a_stream_is_an_error() -> None:
    with pytest.raises(BadRequest) as caught:
        ask(streamed(text("Hel"), {"message": "too many tokens: 9", "error_type": "TOO_MANY_TOKENS"}))

    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(streamed(text("Hel")), id="cut before its end"),
        pytest.param(streamed(said("content-delta", 0, content={"text": 1}), end()), id="text of another type"),
        pytest.param(streamed(called(0, {}, id="w1", name="weather"), end()), id="arguments of another type"),
    ],
)
def test_a_stream_that_is_not_whole_is_an_error(script: Script) -> None:
    with pytest.raises(UpstreamFailed):
        ask(script)


@pytest.mark.parametrize("body", [{}, {"message": "no"}, [], b"<html>", {"message": {"content": []}}])
def test_what_is_no_answer_is_an_error(body: Any) -> None:
    with pytest.raises(UpstreamFailed):
        ask(lambda exchange: exchange.answer(body), stream=False)


def test_a_stream_that_ends_without_its_end_is_an_error() -> None:
    with pytest.raises(UpstreamFailed):
        ask(lambda exchange: exchange.answer(b'data: {"type": "message-start"}\n\n', content_type="text/event-stream"))


def test_characters_may_be_cut_anywhere() -> None:
    def script(exchange: Exchange) -> None:
        exchange.begin()
        for event in (text("Hé 你"), end()):
            for byte in b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n":
                exchange.chunk(bytes([byte]))
        exchange.send(b"0\r\n\r\n")

    assert ask(script).text == "Hé 你"


def test_an_answer_without_a_count_has_no_usage() -> None:
    assert ask(streamed(text("Hi"), end(usage=None))).usage is None
    assert ask(streamed(text("Hi"), end(usage={"billed_units": {"input_tokens": 1}}))).usage is None
