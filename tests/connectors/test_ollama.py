"""Ollama's own chat format, as its servers really speak it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from ollama_api import USER, ask, calling, connector, pieces
from upstream import Exchange

from app.errors import BadRequest, ServiceError, UpstreamFailed, UpstreamRefused
from app.event import MAX_EVENT, Event
from app.messages import Message, Prompt, ToolCall, Usage
from app.scope import Scope

TOOLS = tuple({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in "fg")
END = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
COUNTS = {"prompt_eval_count": 5, "eval_count": 7}
PIXEL = "data:image/png;base64,iVBORw0="


def sent(*messages: Message, stream: bool = False, **params: Any) -> dict[str, Any]:
    """The body that a prompt without tools becomes."""
    return connector().render_prompt(Prompt(messages or (USER,), (), params), stream)


def offered(**params: Any) -> list[str]:
    """The names of the tools that are offered when f and g could be."""
    body = connector().render_prompt(Prompt((USER,), TOOLS, params), False)
    return [tool["function"]["name"] for tool in body.get("tools", ())]


def said(text: str = "", **line: Any) -> dict[str, Any]:
    """A line that says something."""
    return {"message": {"role": "assistant", "content": text, **line}, "done": False}


def called(name: str, arguments: Any, **call: Any) -> dict[str, Any]:
    return said(tool_calls=[{"function": {"name": name, "arguments": arguments}, **call}])


def lines(*objects: Any, size: int = 7) -> Callable[[Exchange], None]:
    """A stream of lines in pieces of that many bytes."""
    whole = "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects).encode()
    return pieces(whole, size)


def test_a_prompt_is_sent_to_the_chat_endpoint_and_says_whether_to_stream() -> None:
    seen = []

    def answer(exchange: Exchange) -> None:
        seen.append((exchange.path, exchange.body))
        exchange.answer({**END, "message": {"content": "Hi"}})

    ask(answer, stream=False)

    assert seen == [("/api/chat", {"model": "up", "messages": [USER], "stream": False})]


def test_sampling_and_limits_are_options() -> None:
    body = sent(temperature=0.5, top_p=0.9, seed=1, stop="x", presence_penalty=1, frequency_penalty=2, max_tokens=3)

    assert body["options"] == {
        **{"temperature": 0.5, "top_p": 0.9, "seed": 1, "stop": ["x"]},
        **{"presence_penalty": 1, "frequency_penalty": 2, "num_predict": 3},
    }


def test_the_newer_limit_counts_and_several_stops_stay_a_list() -> None:
    assert sent(max_completion_tokens=4, max_tokens=3, stop=["a", "b"])["options"] == {
        "num_predict": 4,
        "stop": ["a", "b"],
    }


def test_the_size_of_the_context_is_configured() -> None:
    body = connector(num_ctx=32_768).render_prompt(Prompt((USER,)), True)

    assert body["options"] == {"num_ctx": 32_768}


def test_log_probabilities_are_asked_for() -> None:
    body = sent(logprobs=True, top_logprobs=2)

    assert (body["logprobs"], body["top_logprobs"]) == (True, 2)


@pytest.mark.parametrize(("effort", "think"), [("none", False), ("low", "low"), ("high", "high")])
def test_effort_is_how_much_to_think(effort: str, think: Any) -> None:
    assert sent(reasoning_effort=effort)["think"] is think


@pytest.mark.parametrize(
    ("chosen", "rendered"),
    [
        pytest.param({"type": "text"}, None, id="text"),
        pytest.param({"type": "json_object"}, "json", id="an object"),
        pytest.param({"type": "json_schema", "json_schema": {"name": "n"}}, "json", id="no schema"),
        pytest.param({"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}, {"type": "object"}),
    ],
)
def test_structured_output_is_a_format(chosen: Any, rendered: Any) -> None:
    assert sent(response_format=chosen).get("format") == rendered


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        pytest.param("auto", ["f", "g"], id="auto"),
        pytest.param("none", [], id="none"),
        pytest.param(
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOLS[1]]}}, ["g"], id="some of them"
        ),
    ],
)
def test_tools_that_may_not_be_called_are_not_offered(choice: Any, names: list[str]) -> None:
    assert offered(tool_choice=choice, parallel_tool_calls=True) == names


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({"tool_choice": "required"}, id="required"),
        pytest.param({"tool_choice": {"type": "function", "function": {"name": "f"}}}, id="one of them"),
        pytest.param(
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": []}}}, id="some"
        ),
        pytest.param({"parallel_tool_calls": False}, id="one at a time"),
    ],
)
def test_what_cannot_be_asked_of_a_model_is_refused(params: dict[str, Any]) -> None:
    with pytest.raises(BadRequest) as refusal:
        offered(**params)
    assert [refusal.value.param] == list(params)


@pytest.mark.parametrize("name", ["logit_bias", "prediction", "service_tier", "verbosity"])
def test_a_parameter_that_ollama_does_not_have_is_refused(name: str) -> None:
    with pytest.raises(BadRequest, match=name):
        list(connector().stream(Prompt((USER,), (), {name: 1}), Scope()))


def test_developers_speak_as_the_system() -> None:
    assert sent({"role": "developer", "content": "Be brief."})["messages"][0]["role"] == "system"


def test_images_go_beside_the_text_of_all_parts() -> None:
    parts = [
        {"type": "text", "text": "Look."},
        {"type": "image_url", "image_url": {"url": PIXEL}},
        {"type": "text", "text": "And?"},
    ]

    assert sent({"role": "user", "content": parts})["messages"] == [
        {"role": "user", "content": "Look.\nAnd?", "images": ["iVBORw0="]}
    ]


def test_a_refusal_is_what_the_assistant_said() -> None:
    parts = [{"type": "refusal", "refusal": "No."}]

    messages = sent({"role": "assistant", "content": parts}, {"role": "assistant", "content": None, "refusal": "No!"})

    assert [message["content"] for message in messages["messages"]] == ["No.", "No!"]


def test_calls_have_objects_and_results_the_names_of_their_calls() -> None:
    messages = sent(calling(("a", "f", '{"x":1}')), {"role": "tool", "tool_call_id": "a", "content": "2"})["messages"]

    assert messages == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}],
        },
        {"role": "tool", "content": "2", "tool_name": "f", "tool_call_id": "a"},
    ]


def test_results_stand_in_the_order_of_their_calls() -> None:
    results = [{"role": "tool", "tool_call_id": id_, "content": id_} for id_ in "zba"]

    messages = sent(USER, calling(("a", "f", ""), ("b", "f", "{}")), *results, USER)["messages"]

    assert [message["content"] for message in messages] == ["Hi", "", "a", "b", "z", "Hi"]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        pytest.param({**USER, "name": "Ada"}, "messages[0].name", id="a name"),
        pytest.param({"role": "function", "content": "1"}, "messages[0].role", id="a function's message"),
        pytest.param({"role": "assistant", "audio": {"id": "a"}}, "messages[0].audio", id="audio of before"),
        pytest.param({"role": "user", "content": [{"type": "input_audio"}]}, "messages[0].content[0].type", id="audio"),
        pytest.param(
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x/y.png"}}]},
            "messages[0].content[0].image_url.url",
            id="an image elsewhere",
        ),
        pytest.param(
            {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {}}]},
            "messages[0].tool_calls[0].type",
            id="a custom tool",
        ),
        pytest.param(calling(("a", "f", "[1]")), "messages[0].tool_calls[0].function.arguments", id="a list"),
        pytest.param(calling(("a", "f", '{"x"')), "messages[0].tool_calls[0].function.arguments", id="half of JSON"),
    ],
)
def test_what_has_no_place_in_a_message_is_refused(message: Message, param: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        sent(message)
    assert refusal.value.param == param


def test_names_are_left_out_if_configured() -> None:
    body = connector(drop=["name"]).render_prompt(Prompt(({**USER, "name": "Ada"},)), False)

    assert body["messages"] == [USER]


def test_thoughts_before_calls_come_back_with_them() -> None:
    reply = ask(lines(said(thinking="h"), said(thinking="m"), called("f", {}, id="a"), END))

    assert reply.reasoning == "hm"
    assert sent(reply.message)["messages"][0]["thinking"] == "hm"


def test_thoughts_of_other_providers_do_not() -> None:
    assert sent(calling(("a", "f", ""), memo={"anthropic": [1]}))["messages"][0].keys() == {
        "role",
        "content",
        "tool_calls",
    }


@pytest.mark.parametrize("stream", [True, False])
def test_thoughts_before_a_plain_answer_are_not_kept(stream: bool) -> None:
    line = {**END, "message": {"content": "Hi", "thinking": "hm"}}

    reply = ask(lines(line) if stream else lambda exchange: exchange.answer(line), stream)

    assert (reply.text, reply.reasoning, reply.message) == ("Hi", "hm", {"role": "assistant", "content": "Hi"})


def test_a_stream_is_added_up_with_its_usage() -> None:
    reply = ask(lines(said("Gr"), said("üße 👋"), {**END, **COUNTS}))

    assert (reply.text, reply.finish, reply.usage) == ("Grüße 👋", "stop", Usage(5, 7))


def test_what_comes_after_the_end_is_not_read() -> None:
    assert ask(lines(said("Hi"), END, said("more"))).text == "Hi"


@pytest.mark.parametrize(
    ("reason", "finish"), [("stop", "stop"), ("length", "length"), ("load", "stop"), (None, "stop")]
)
def test_an_answer_may_be_empty(reason: str | None, finish: str) -> None:
    reply = ask(lambda exchange: exchange.answer({**END, "done_reason": reason}), stream=False)

    assert (reply.text, reply.finish, reply.usage) == ("", finish, Usage())


def test_calls_that_come_one_a_line_are_told_apart() -> None:
    reply = ask(lines(called("f", {"x": "ü"}), called("f", None), END))

    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("f", '{"x":"ü"}'), ("f", "{}")]
    assert reply.finish == "tool_calls"


def test_calls_keep_their_ids() -> None:
    line = said(tool_calls=[{"id": id_, "function": {"name": "f", "arguments": {}}} for id_ in "ab"])

    reply = ask(lambda exchange: exchange.answer({**line, "done": True, "done_reason": "stop"}), stream=False)

    assert reply.tool_calls == [ToolCall(0, "a", "f", "{}"), ToolCall(1, "b", "f", "{}")]


def test_a_call_that_the_limit_cut_is_no_finished_one() -> None:
    assert ask(lines(called("f", {}), {**END, "done_reason": "length"})).finish == "length"


def test_log_probabilities_are_those_of_openai() -> None:
    token = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": [{"token": "Ho", "logprob": -1.5}]}

    reply = ask(lines({**said("Hi"), "logprobs": [token]}, END))

    top = [{"token": "Ho", "logprob": -1.5, "bytes": None}]
    assert reply.logprobs == {"content": [{**token, "top_logprobs": top}], "refusal": None}


def test_a_stream_without_its_end_is_an_error() -> None:
    with pytest.raises(UpstreamFailed):
        ask(lines(said("Hi")))


def test_an_answer_that_is_not_done_is_an_error() -> None:
    with pytest.raises(UpstreamFailed):
        ask(lambda exchange: exchange.answer(said("Hi")), stream=False)


@pytest.mark.parametrize("stream", [True, False])
def test_an_error_inside_a_200_is_an_error(stream: bool) -> None:
    error = {"error": "an error was encountered while running the model"}

    with pytest.raises(UpstreamFailed):
        ask(lines(said("Hi"), error) if stream else lambda exchange: exchange.answer(error), stream)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        pytest.param(404, "model 'up' not found", UpstreamRefused, id="no such model"),
        pytest.param(400, "up does not support tools", BadRequest, id="no tools"),
        pytest.param(500, "llama runner process has terminated", UpstreamFailed, id="crashed"),
    ],
)
def test_errors_are_told_by_their_status(status: int, text: str, kind: type[ServiceError]) -> None:
    with pytest.raises(kind):
        ask(lambda exchange: exchange.answer({"error": text}, status))


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"", b"[]", b"{}", b'{"message":{"content":[1]},"done":true}', b'{"message":{"content":"Hi"}}'],
)
@pytest.mark.parametrize("stream", [True, False])
def test_what_is_no_answer_is_an_error(body: bytes, stream: bool) -> None:
    with pytest.raises(UpstreamFailed):
        ask(pieces(body) if stream else lambda exchange: exchange.answer(body), stream)


def test_lines_are_put_together_and_empty_ones_passed_over() -> None:
    chunks = [b"{1", b"2}\n\r\n{3}\n{4", b"}\n\n", b" \n{5}"]

    events = list(connector().read_events(iter(chunks)))

    assert events == [
        Event("", b"{12}", True),
        Event("", b"{3}", False),
        Event("", b"{4}", True),
        Event("", b"{5}", False),
    ]


def test_a_line_without_end_is_not_kept() -> None:
    with pytest.raises(UpstreamFailed):
        list(connector().read_events(iter([b"x" * MAX_EVENT, b"x"])))
