"""OpenAI's wire format, as its many speakers really speak it."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from upstream import USAGE, Exchange, chunk, completion, serving

from app.errors import RateLimited, ServiceError, UpstreamFailed
from app.messages import Logprobs, Prompt, Reply, ToolCall, Usage
from app.scope import Scope
from connectors.openai import OpenAI

RECORDINGS = Path(os.environ.get("CADENZA_RECORDINGS", Path(__file__).parents[3] / "shared/providers/recordings"))
SPEAKERS = [
    "openai_chat",
    "azure_chat",
    "groq",
    "llamacpp",
    "deepseek",
    "openrouter",
    "mistral",
    "ollama_compat",
    "perplexity",
    "xai_chat",
]
USER = {"role": "user", "content": "Hi"}
COUNTED = Usage(input_tokens=5, output_tokens=7)


def connector(url: str, **options: Any) -> OpenAI:
    loaded = OpenAI.Options().load({"url": url, "model": "up", "retries": 0, **options})
    return OpenAI("main", loaded)


def ask(answer: Callable[[Exchange], None], stream: bool = True, configured: str | None = None) -> Reply:
    """The whole reply to a provider's answer."""
    with serving(answer) as upstream:
        asked = connector(upstream.url, stream=configured) if configured else connector(upstream.url)
        return Reply(lambda _: asked.stream(Prompt((USER,)), Scope(), stream)).read()


def sent(prompt: Prompt, stream: bool = False, **options: Any) -> dict[str, Any]:
    """The body that a prompt becomes."""
    return json.loads(json.dumps(connector("http://x/v1", **options).render_prompt(prompt, stream)))


def test_a_prompt_is_sent_as_it_is() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    prompt = Prompt((USER,), (tool,), {"temperature": 0.5})

    body = sent(prompt)

    assert body == {"model": "up", "messages": [USER], "temperature": 0.5, "tools": [tool]}


def test_a_stream_is_asked_for_with_its_usage() -> None:
    body = sent(Prompt((USER,)), stream=True)

    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    assert "stream_options" not in sent(Prompt((USER,)), stream=True, drop=["stream_options"])


def test_developer_messages_become_system_messages_where_nobody_knows_them() -> None:
    developer = {"role": "developer", "content": "Be kind"}

    assert sent(Prompt((developer, USER)))["messages"][0]["role"] == "developer"
    assert sent(Prompt((developer, USER)), developer=False)["messages"] == [{**developer, "role": "system"}, USER]


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://mine.openai.azure.com/openai/v1", "azure.ai.openai"),
        ("http://gpu.example:8080/v1", "gpu.example"),
        ("embedded", "embedded"),
    ],
)
def test_the_log_names_the_provider(url: str, provider: str) -> None:
    assert connector(url).provider == provider
    assert connector(url, provider="mine").provider == "mine"


LOGPROBS: dict[str, Any] = {
    "content": [{"id": 7, "token": "a", "logprob": -1, "bytes": [97], "top_logprobs": [{"token": "b", "logprob": -2}]}],
}
CLEAN: Logprobs = {
    "content": [
        {
            "token": "a",
            "logprob": -1,
            "bytes": [97],
            "top_logprobs": [{"token": "b", "logprob": -2, "bytes": None}],
        }
    ],
    "refusal": None,
}


@pytest.mark.parametrize("stream", [True, False])
def test_stream_and_whole_answer_give_the_same_reply(stream: bool) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    extra = {"tool_calls": [{**call, "index": 0}], "reasoning_content": "hm", "refusal": "no"}
    end = {**chunk(), "choices": [], "usage": {**USAGE, "prompt_tokens_details": {"cached_tokens": 3}}}

    def answer(exchange: Exchange) -> None:
        if exchange.body.get("stream"):
            piece = chunk("Hi", **extra)
            piece["choices"][0]["logprobs"] = LOGPROBS
            return exchange.stream(piece, chunk(finish="tool_calls"), end)
        whole = completion("Hi", "tool_calls", **extra)
        whole["choices"][0]["logprobs"] = LOGPROBS
        return exchange.answer({**whole, "usage": end["usage"]})

    reply = ask(answer, stream=stream)

    assert (reply.text, reply.reasoning, reply.refusal, reply.finish) == ("Hi", "hm", "no", "tool_calls")
    assert reply.tool_calls == [ToolCall(0, "call_1", "f", "{}")]
    assert reply.usage == Usage(5, 7, cached_tokens=3)
    assert reply.logprobs == CLEAN


@pytest.mark.parametrize(
    ("configured", "asked", "streams"),
    [
        pytest.param(None, True, True, id="as the client does"),
        pytest.param(None, False, False, id="as the client does not"),
        pytest.param("never", True, False, id="never"),
        pytest.param("always", False, True, id="always"),
    ],
)
def test_whether_the_provider_streams_can_be_configured(configured: str | None, asked: bool, streams: bool) -> None:
    seen = []

    def answer(exchange: Exchange) -> None:
        seen.append(exchange.body.get("stream", False))
        if seen[0]:
            return exchange.stream(chunk("Hi"), chunk(finish="stop"))
        return exchange.answer(completion("Hi"))

    assert ask(answer, asked, configured).text == "Hi"
    assert seen == [streams]


def test_a_whole_answer_to_a_request_for_a_stream_is_taken() -> None:
    assert ask(lambda exchange: exchange.answer(completion("Hi"))).text == "Hi"


def test_a_stream_with_the_wrong_content_type_is_taken() -> None:
    body = b"data: " + json.dumps(chunk("Hi", "stop")).encode() + b"\n\ndata: [DONE]\n\n"

    assert ask(lambda exchange: exchange.answer(body, content_type="text/plain")).text == "Hi"


def test_what_comes_after_the_end_is_not_read() -> None:
    def answer(exchange: Exchange) -> None:
        exchange.begin()
        exchange.event(chunk("Hi", "stop"))
        exchange.chunk(b"data: [DONE]\n\n")
        exchange.event(chunk("more"))
        exchange.end()

    assert ask(answer).text == "Hi"


@pytest.mark.parametrize(
    ("finish", "told"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "content_filter"), ("eos", "stop"), (None, "stop")],
)
def test_unknown_reasons_to_finish_are_plain_ends(finish: str | None, told: str) -> None:
    assert ask(lambda exchange: exchange.answer(completion("Hi", finish)), stream=False).finish == told  # type: ignore[arg-type]


def test_a_filtered_answer_without_message_is_empty() -> None:
    filtered = {"choices": [{"index": 0, "finish_reason": "content_filter"}]}

    reply = ask(lambda exchange: exchange.answer(filtered), stream=False)

    assert (reply.text, reply.finish, reply.usage) == ("", "content_filter", None)


def test_calls_that_come_whole_without_index_are_told_apart() -> None:
    calls = [
        {"id": "a", "function": {"name": "f", "arguments": {"x": 1}}},
        {"id": "b", "function": {"name": "g", "arguments": None}},
        {"id": "c"},
    ]

    reply = ask(lambda exchange: exchange.stream(chunk(tool_calls=calls), chunk(finish="tool_calls")))

    assert reply.tool_calls == [ToolCall(0, "a", "f", '{"x":1}'), ToolCall(1, "b", "g", ""), ToolCall(2, "c", "", "")]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"choices": []}, id="no choices"),
        pytest.param({"choices": "x"}, id="choices of another type"),
        pytest.param([], id="a list"),
        pytest.param(b"<html>", id="no JSON"),
        pytest.param(b"", id="nothing"),
        pytest.param(completion(text=[1]), id="text of another type"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_what_is_no_answer_is_an_error(body: Any, stream: bool) -> None:
    with pytest.raises(UpstreamFailed):
        ask(lambda exchange: exchange.answer(body), stream=stream)


@pytest.mark.parametrize("stream", [True, False])
def test_an_error_inside_a_200_is_an_error(stream: bool) -> None:
    error = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}

    def answer(exchange: Exchange) -> None:
        if stream:
            exchange.stream(chunk("Hi"), error)
        else:
            exchange.answer(error)

    with pytest.raises(RateLimited):
        ask(answer, stream=stream)


def test_an_error_of_a_choice_is_an_error() -> None:
    broken = completion("Hel", "error")
    broken["choices"][0]["error"] = {"code": 502, "message": "Upstream failed"}

    with pytest.raises(UpstreamFailed):
        ask(lambda exchange: exchange.answer(broken), stream=False)


def test_parts_of_text_and_thought_are_told_apart() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "Hi"},
        {"type": "reference", "reference_ids": [1]},
    ]

    reply = ask(lambda exchange: exchange.answer(completion(parts)), stream=False)  # type: ignore[arg-type]

    assert (reply.text, reply.reasoning) == ("Hi", "hm")


def test_chunks_that_only_count_are_deltas() -> None:
    reply = ask(lambda exchange: exchange.stream(chunk("Hi", "stop"), {"choices": [], "usage": USAGE}, {"choices": []}))

    assert reply.usage == COUNTED


def recordings() -> Iterator[Any]:
    found = [path for speaker in SPEAKERS for path in sorted((RECORDINGS / speaker).glob("*.json"))]
    for path in found:
        yield pytest.param(path, id=f"{path.parent.name}/{path.stem}")
    if not found:
        yield pytest.param(None, marks=pytest.mark.skip(reason="the recorded provider traffic is not here"))


def expected(response: dict[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """The text and the calls of a recording, read in the plainest way."""
    if "stream" in response:
        text = "".join(response["stream"])
        data = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
        messages = [
            choice.get("delta") or {}
            for each in data
            if each != "[DONE]"
            for choice in (json.loads(each).get("choices") or [])[:1]
        ]
    else:
        messages = [choice.get("message") or {} for choice in response["body"]["choices"][:1]]
    calls: dict[Any, list[str]] = {}
    for message in messages:
        for call in message.get("tool_calls") or []:
            last = call.get("id") or (list(calls)[-1] if calls else "")
            entry = calls.setdefault(last, [call["function"].get("name") or "", ""])
            entry[1] += call["function"].get("arguments") or ""
    return "".join(plain(message.get("content")) for message in messages), [(a, b) for a, b in calls.values()]


def plain(content: Any) -> str:
    """The text in what stands at `content`, which may be a list of parts."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


@pytest.mark.parametrize("path", list(recordings()))
def test_every_recorded_answer_comes_out_right(path: Path) -> None:
    recording = json.loads(path.read_text())
    response = recording["response"]
    request = recording["request"].get("body") or {}
    if "chat/completions" not in recording["request"]["url"] or request.get("n", 1) != 1:
        pytest.skip("not a chat completion of one choice")

    def answer(exchange: Exchange) -> None:
        if "stream" not in response:
            return exchange.answer(response["body"], response["status"])
        exchange.begin()
        whole = "".join(response["stream"]).encode()
        for start in range(0, len(whole), 7):
            exchange.chunk(whole[start : start + 7])
        return exchange.send(b"0\r\n\r\n")

    if response["status"] != 200 or '"error":{' in json.dumps(response, separators=(",", ":")).replace("\\", ""):
        with pytest.raises(ServiceError):
            ask(answer, stream=bool(request.get("stream")))
        return
    text, calls = expected(response)

    reply = ask(answer, stream=bool(request.get("stream")))

    assert reply.text == text
    assert [(call.name, call.arguments) for call in reply.tool_calls] == calls
    assert reply.finish


def test_what_other_providers_want_back_is_not_sent() -> None:
    assert sent(Prompt(({**USER, "memo": {"anthropic": [1]}},)))["messages"] == [USER]


def test_other_choices_than_the_first_are_not_mixed_in() -> None:
    other = chunk("other")
    other["choices"][0]["index"] = 1

    assert ask(lambda exchange: exchange.stream(chunk("a"), other, chunk("b", "stop"))).text == "ab"


@pytest.mark.parametrize("count", ["5", 5.5, -5, [5]])
def test_what_is_no_count_counts_nothing(count: object) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": 7}

    reply = ask(lambda exchange: exchange.answer({**completion("Hi"), "usage": usage}), stream=False)

    assert reply.usage == Usage(output_tokens=7)
