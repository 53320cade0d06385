"""Gemini's wire format: prompts as it wants them, answers as it really gives them."""

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from upstream import Exchange, serving

from app.errors import BadRequest, RateLimited, ServiceError, UpstreamFailed, UpstreamRefused
from app.messages import Prompt, Reply, ToolCall, Usage
from app.scope import Scope
from app.secret import Secret
from connectors.gemini import UNSIGNED, Gemini

USER = {"role": "user", "content": "Hi"}
KEY = "AIza-canary-0123456789"
STUDIO = "https://generativelanguage.googleapis.com/v1beta"
VERTEX = "https://us-east5-aiplatform.googleapis.com/v1beta1/projects/p/locations/us-east5/publishers/google"
COUNTS = {"promptTokenCount": 5, "candidatesTokenCount": 7, "thoughtsTokenCount": 2, "totalTokenCount": 14}


def gemini(url: str = STUDIO, model: str = "gemini-3-pro", key: Secret | None = None) -> Gemini:
    return Gemini("main", {**Gemini.Options().load({"url": url, "model": model, "retries": 0}), "key": key})


def piece(*parts: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """An answer, or a chunk of one, with these parts."""
    reason = {"finishReason": finish} if finish else {}
    return {"candidates": [{"content": {"parts": list(parts), "role": "model"}, **reason, "index": 0}], **more}


def call(name: str, **more: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": {}, **more}}


def write(*chunks: Any) -> Callable[[Exchange], None]:
    """A stream that ends as Gemini's do: it just ends. Text is cut in pieces of 7 bytes."""

    def script(exchange: Exchange) -> None:
        whole = b"".join(b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\r\n\r\n" for chunk in chunks)
        exchange.begin()
        for start in range(0, len(whole), 7):
            exchange.chunk(whole[start : start + 7])
        exchange.send(b"0\r\n\r\n")

    return script


def ask(script: Callable[[Exchange], None], stream: bool = True) -> Reply:
    """The whole reply to a provider's answer."""
    with serving(script) as upstream:
        asked = gemini(upstream.url)
        return Reply(lambda _: asked.stream(Prompt((USER,)), Scope(), stream)).read()


def ask_both(answer: dict[str, Any]) -> list[Reply]:
    """The replies to an answer that is streamed, and to the same that comes whole."""
    return [ask(write(answer)), ask(lambda exchange: exchange.answer(answer), stream=False)]


@pytest.mark.parametrize(
    ("url", "path", "header", "provider"),
    [
        pytest.param("", "/v1", ("x-goog-api-key", KEY), "gcp.gemini", id="AI Studio"),
        pytest.param("/projects/p", "/v1/projects/p", ("authorization", f"Bearer {KEY}"), "gcp.vertex_ai", id="Vertex"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_the_model_is_in_the_address_and_the_key_in_the_header(
    stream: bool, url: str, path: str, header: tuple[str, str], provider: str
) -> None:
    with serving(write(piece({"text": "Hi"}, finish="STOP"))) as upstream:
        asked = gemini(upstream.url + url, key=Secret(KEY))
        Reply(lambda _: asked.stream(Prompt((USER,)), Scope(), stream)).read()
        [exchange] = upstream.exchanges

    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    assert exchange.path == f"{path}/models/gemini-3-pro:{verb}"
    assert (header[0], exchange.headers[header[0]]) == header
    assert asked.provider == provider


def test_without_a_key_there_is_no_header() -> None:
    assert gemini().render_headers() == {}


def test_a_text_that_was_cut_within_characters_is_whole() -> None:
    answer = write(piece({"text": "naïve "}), piece({"text": "🦆"}), piece(finish="STOP", usageMetadata=COUNTS))

    reply = ask(answer)

    assert (reply.text, reply.finish, reply.usage) == ("naïve 🦆", "stop", Usage(5, 9, reasoning_tokens=2))


def test_all_that_is_counted_is_told() -> None:
    audio = [{"modality": "TEXT", "tokenCount": 1}, {"modality": "AUDIO", "tokenCount": 4}]
    counts = {**COUNTS, "toolUsePromptTokenCount": 3, "cachedContentTokenCount": 6, "promptTokensDetails": audio}

    for reply in ask_both(piece({"text": "Hi"}, finish="STOP", usageMetadata=counts)):
        assert reply.usage == Usage(8, 9, cached_tokens=6, input_audio_tokens=4, reasoning_tokens=2)


def test_thoughts_are_not_text_and_unknown_parts_are_nothing() -> None:
    parts = {"text": "hm", "thought": True}, {"executableCode": {"code": "1"}}, {"text": "Hi"}, {"thought": True}

    for reply in ask_both(piece(*parts, finish="STOP")):
        assert (reply.text, reply.reasoning, reply.finish) == ("Hi", "hm", "stop")


def test_calls_in_one_chunk_and_in_several_are_told_apart() -> None:
    first = piece(call("f", id="a", args={"x": 1}), call("f"))
    reply = ask(write(first, piece({"functionCall": {"name": "g"}}), piece({"text": ""}, finish="STOP")))

    calls = [(each.name, each.arguments) for each in reply.tool_calls]
    assert calls == [("f", '{"x":1}'), ("f", "{}"), ("g", "{}")]
    assert reply.tool_calls[0] == ToolCall(0, "a", "f", '{"x":1}')
    assert reply.finish == "tool_calls"


@pytest.mark.parametrize(
    ("reason", "alone", "with_call"),
    [
        ("STOP", "stop", "tool_calls"),
        ("MAX_TOKENS", "length", "length"),
        ("SAFETY", "content_filter", "content_filter"),
        ("SOMETHING_NEW", "stop", "tool_calls"),
        ("UNEXPECTED_TOOL_CALL", None, "tool_calls"),
        ("MALFORMED_FUNCTION_CALL", None, "tool_calls"),
    ],
)
def test_reasons_to_finish_are_told_in_openai_words(reason: str, alone: str | None, with_call: str) -> None:
    assert [reply.finish for reply in ask_both(piece(call("f"), finish=reason))] == [with_call, with_call]
    if alone is None:
        with pytest.raises(UpstreamFailed):
            ask_both(piece({"text": "Let me see"}, finish=reason))
    else:
        assert [reply.finish for reply in ask_both(piece({"text": "Hi"}, finish=reason))] == [alone, alone]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {}}, id="the prompt"),
        pytest.param({"candidates": [{"content": {}, "finishReason": "SAFETY"}]}, id="the answer"),
        pytest.param({"candidates": [{"finishReason": "MODEL_ARMOR"}]}, id="the answer, by an armour"),
    ],
)
def test_what_is_blocked_is_empty_and_filtered(answer: dict[str, Any]) -> None:
    for reply in ask_both(answer):
        assert (reply.text, reply.finish, reply.usage) == ("", "content_filter", None)


def test_text_after_the_first_end_is_not_lost() -> None:
    reply = ask(write(piece({"text": "a"}, finish="STOP", usageMetadata=COUNTS), piece({"text": "b"}, finish="STOP")))

    assert (reply.text, reply.finish, reply.usage) == ("ab", "stop", Usage(5, 9, reasoning_tokens=2))


def test_a_stream_that_comes_as_a_list_is_a_whole_answer() -> None:
    chunks = [piece({"text": "hm", "thought": True}), piece({"text": "H"}), piece({"text": "i"}, finish="STOP")]

    reply = ask(lambda exchange: exchange.answer(chunks))

    assert (reply.text, reply.reasoning, reply.finish) == ("Hi", "hm", "stop")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(piece({"text": "Hi"}), id="without an end"),
        pytest.param({"usageMetadata": COUNTS}, id="that only counts"),
        pytest.param(piece({"functionCall": {"args": {}, "id": "a"}}, finish="STOP"), id="with a call of nothing"),
        pytest.param(piece({"text": 1}, finish="STOP"), id="with text of another type"),
        pytest.param([], id="that is empty"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_what_is_no_answer_is_an_error(answer: Any, stream: bool) -> None:
    with pytest.raises(UpstreamFailed):
        ask(write(answer) if stream else lambda exchange: exchange.answer(answer), stream)


def test_a_stream_that_is_cut_is_an_error_even_after_an_end() -> None:
    def cut(exchange: Exchange) -> None:
        exchange.begin()
        exchange.event(piece({"text": "Hi"}, finish="STOP"))
        exchange.connection.shutdown(socket.SHUT_RDWR)

    with pytest.raises(UpstreamFailed):
        ask(cut)


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"code": 400, "message": "Bad thing", "status": "INVALID_ARGUMENT"}, BadRequest),
        (400, {"code": 400, "message": "API key not valid. Please pass a valid API key."}, UpstreamRefused),
        (404, {"code": 404, "message": "models/x is not found", "status": "NOT_FOUND"}, UpstreamRefused),
        (429, {"code": 429, "message": "You exceeded", "status": "RESOURCE_EXHAUSTED"}, RateLimited),
    ],
)
def test_errors_are_the_same_with_their_status_and_within_an_answer(
    status: int, error: dict[str, Any], kind: type[ServiceError]
) -> None:
    body = {"error": error}
    for script in (lambda exchange: exchange.answer([body], status), write(piece({"text": "Hi"}), body)):
        with pytest.raises(kind):
            ask(script)


def test_the_probabilities_of_tokens_are_told() -> None:
    chosen = [{"token": "a", "tokenId": 7, "logProbability": -1}, {"tokenId": 8}]
    tops = [{"candidates": [{"token": "b", "logProbability": -2}]}]
    answer = piece({"text": "a"}, finish="STOP")
    answer["candidates"][0]["logprobsResult"] = {"chosenCandidates": chosen, "topCandidates": tops}

    for reply in ask_both(answer):
        assert reply.logprobs == {"content": [token("a", -1, token("b", -2)), token("", 0.0)], "refusal": None}


def token(text: str, logprob: float, *tops: dict[str, Any]) -> dict[str, Any]:
    """A token as OpenAI tells it; one of those that were likely too has no such list itself."""
    others = [{key: value for key, value in top.items() if key != "top_logprobs"} for top in tops]
    return {"token": text, "logprob": logprob, "bytes": None, "top_logprobs": others}


@pytest.mark.parametrize("stream", [True, False])
def test_signatures_go_back_to_the_model_that_gave_them(stream: bool) -> None:
    first = piece({**call("f"), "thoughtSignature": "s1"}, call("g"))
    second = piece({**call("h", id="a"), "thoughtSignature": "s2"}, finish="STOP")
    reply = ask(write(first, second) if stream else lambda exchange: exchange.answer([first, second]), stream)

    signed = [signatures(gemini(model=model), reply.message) for model in ("gemini-3-pro", "gemini-3-flash")]

    assert signed == [["s1", None, "s2"], [UNSIGNED, None, None]]
    assert signatures(gemini(VERTEX), reply.message) == [UNSIGNED, None, None]
    assert signatures(gemini(model="gemini-2.5-pro"), reply.message) == [None, None, None]


def signatures(asked: Gemini, message: dict[str, Any]) -> list[str | None]:
    """What the calls in `message` are signed with when they are sent."""
    [content] = asked.render_prompt(Prompt((message,)), False)["contents"]
    return [part.get("thoughtSignature") for part in content["parts"]]
