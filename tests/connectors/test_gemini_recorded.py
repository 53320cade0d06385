"""Gemini's recorded traffic: what it answered comes out right, what it was asked would be asked by us too."""

import json
import mimetypes
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from upstream import Exchange, serving

from app.errors import BadRequest, RateLimited, UpstreamRefused
from app.messages import Message, Prompt, Reply
from app.scope import Scope
from connectors.gemini import UNSIGNED, Gemini

RECORDINGS = Path(os.environ.get("CADENZA_RECORDINGS", Path(__file__).parents[3] / "shared/providers/recordings"))
FINISH = {"STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter", "MODEL_ARMOR": "content_filter"}
ERRORS = {400: BadRequest, 404: UpstreamRefused, 429: RateLimited}


def recordings() -> Iterator[Any]:
    found = [path for name in ("gemini", "vertex_gemini") for path in sorted((RECORDINGS / name).glob("*.json"))]
    for path in found:
        yield pytest.param(path, id=f"{path.parent.name}/{path.stem}")
    if not found:
        yield pytest.param(None, marks=pytest.mark.skip(reason="the recorded provider traffic is not here"))


def load(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The recorded request and response."""
    recording = json.loads(path.read_text())
    if "enum-encoding%3Dint" in recording["request"]["url"] and recording["response"]["status"] == 200:
        pytest.skip("a client that asks for numbers in place of names")
    return recording["request"], recording["response"]


def write(response: dict[str, Any]) -> Callable[[Exchange], None]:
    """The recorded response; a stream in pieces of 7 bytes."""

    def script(exchange: Exchange) -> None:
        if "stream" not in response:
            return exchange.answer(response["body"], response["status"])
        whole = "".join(response["stream"]).encode()
        if response["status"] != 200:
            return exchange.answer(whole, response["status"])
        exchange.begin()
        for start in range(0, len(whole), 7):
            exchange.chunk(whole[start : start + 7])
        return exchange.send(b"0\r\n\r\n")

    return script


def chunks(response: dict[str, Any]) -> list[dict[str, Any]]:
    """The JSON objects of an answer."""
    if "stream" in response:
        lines = "".join(response["stream"]).splitlines()
        return [json.loads(line[5:]) for line in lines if line.startswith("data:")]
    return response["body"] if isinstance(response["body"], list) else [response["body"]]


def expected(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Text, thoughts, calls and the end of an answer, read in the plainest way."""
    candidates = [each["candidates"][0] for each in found if "candidates" in each]
    parts = [part for each in candidates for part in each.get("content", {}).get("parts", ())]
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    reasons = [each["finishReason"] for each in candidates if "finishReason" in each]
    finish = FINISH.get(reasons[-1], "stop") if reasons else "content_filter"
    return {
        "text": "".join(part.get("text", "") for part in parts if not part.get("thought")),
        "reasoning": "".join(part["text"] for part in parts if part.get("thought")),
        "calls": [(call["name"], call.get("args", {})) for call in calls],
        "finish": "tool_calls" if calls and finish == "stop" else finish,
        "signed": sum(1 for part in parts if "functionCall" in part and "thoughtSignature" in part),
    }


def ask(request: dict[str, Any], response: dict[str, Any]) -> Reply:
    with serving(write(response)) as upstream:
        options = {"url": upstream.url, "model": "gemini-3-pro", "retries": 0}
        asked = Gemini("main", Gemini.Options().load(options))
        return Reply(lambda _: asked.stream(Prompt(()), Scope(), "stream" in request["url"])).read()


@pytest.mark.parametrize("path", list(recordings()))
def test_every_recorded_answer_comes_out_right(path: Path) -> None:
    request, response = load(path)
    if response["status"] != 200:
        kind = UpstreamRefused if "API_KEY_INVALID" in json.dumps(response) else ERRORS[response["status"]]
        with pytest.raises(kind):
            ask(request, response)
        return
    found = chunks(response)

    reply = ask(request, response)

    assert expected(found) == {
        "text": reply.text,
        "reasoning": reply.reasoning,
        "calls": [(call.name, json.loads(call.arguments)) for call in reply.tool_calls],
        "finish": reply.finish,
        "signed": len(reply.message.get("memo", {}).get("gemini", ())),
    }
    counts = [each["usageMetadata"] for each in found if "usageMetadata" in each][-1]
    assert reply.usage
    assert reply.usage.input_tokens + reply.usage.output_tokens == counts.get("totalTokenCount", 0)
    assert reply.usage.cached_tokens == counts.get("cachedContentTokenCount", 0)
    assert reply.usage.reasoning_tokens == counts.get("thoughtsTokenCount", 0)


FOREIGN = {
    "topK": "OpenAI has no top_k",
    "candidateCount": "choices are asked for one by one",
    "imageConfig": "pictures are not made",
    "speechConfig": "speech is not made",
    "cachedContent": "a cache is not named by OpenAI's clients",
    "modelArmorConfig": "an armour is not named by OpenAI's clients",
    "videoMetadata": "a part of a video is not named by OpenAI's clients",
    "googleSearch": "a tool of the provider",
    "codeExecution": "a tool of the provider",
    "fileSearch": "a tool of the provider",
    "urlContext": "a tool of the provider",
}
"""What the requests of OpenAI have no word for."""

NAMES = {
    "responseSchema": "responseJsonSchema",
    "parameters": "parametersJsonSchema",
}
"""Older names of what takes a whole JSON Schema under its newer one."""

FREE = {"args", "response", "responseJsonSchema", "parametersJsonSchema"}
"""What holds anything, in which nothing is renamed."""


def clean(value: Any) -> Any:
    """A recorded body with Gemini's differing spellings of one thing made one: snake case, nulls, empty objects."""
    if isinstance(value, list):
        return [clean(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, each in value.items():
        camel = re.sub("_(.)", lambda match: match[1].upper(), key)
        name = NAMES.get(camel, camel)
        kept = each if name in FREE else clean(each)
        if kept is not None and (kept not in ("", {}) or name in {"args", "response", "text"}):
            found[name] = kept
    return found


def normalize(request: dict[str, Any], generation: int) -> dict[str, Any]:
    """A recorded body as we would send it, each difference with its reason."""
    body: dict[str, Any] = clean(request["body"])
    # Safety is left to the provider, the model is in the address.
    for key in ("safetySettings", "model"):
        body.pop(key, None)
    config = body.get("generationConfig", {})
    # Said, but the default.
    if config.get("responseModalities") == ["TEXT"]:
        del config["responseModalities"]
    if config.get("responseMimeType") == "text/plain":
        del config["responseMimeType"]
    if config.get("thinkingConfig", {}).get("includeThoughts") is False:
        del config["thinkingConfig"]
    if not config:
        body.pop("generationConfig", None)
    _normalize_tools(body)
    if "systemInstruction" in body:
        parts = body["systemInstruction"].get("parts", [])
        parts = parts if isinstance(parts, list) else [parts]
        # The role of an instruction is ignored by Gemini, and it is never a thought.
        body["systemInstruction"] = {"parts": [{"text": part["text"]} for part in parts]}
    for number, content in enumerate(body["contents"]):
        content["parts"] = [each for part in content["parts"] for each in (part, *_media(part))]
        for part in content["parts"]:
            # Thoughts are not sent at all, so that no part needs to say that it is none.
            part.pop("thought", None)
            _normalize_exchange(part, number)
    if generation > 2:
        _sign(body["contents"])
    return body


def _normalize_tools(body: dict[str, Any]) -> None:
    calling = body.get("toolConfig", {}).get("functionCallingConfig", {})
    if calling:
        calling["mode"] = calling["mode"].upper()
    # Said, but the default.
    if calling.get("mode") == "AUTO":
        del body["toolConfig"]
    # What the body has of no tools, or none but functions, is only these.
    tools = [{"functionDeclarations": tool["functionDeclarations"]} for tool in body.get("tools", ()) if tool]
    if tools:
        body["tools"] = tools


def _normalize_exchange(part: dict[str, Any], number: int) -> None:
    """Ids are always sent, results are always `{"result": text}`."""
    for key, back in (("functionCall", 0), ("functionResponse", 1)):
        if key in part:
            part[key].setdefault("id", f"{part[key]['name']}{number - back}")
    if "functionResponse" in part:
        part["functionResponse"]["response"] = {"result": text_of(part["functionResponse"]["response"])}


def _media(part: dict[str, Any]) -> list[dict[str, Any]]:
    """What comes within a result; we send it beside the result, as Gemini 2 wants it and Gemini 3 takes it."""
    media: list[dict[str, Any]] = part.get("functionResponse", {}).pop("parts", [])
    return media


def _sign(contents: list[dict[str, Any]]) -> None:
    """The first call of a step is always signed."""
    for content in contents:
        calls = [part for part in content["parts"] if "functionCall" in part]
        if calls:
            calls[0].setdefault("thoughtSignature", UNSIGNED)


def text_of(response: dict[str, Any]) -> str:
    """The text of a recorded result."""
    found = response.get("result")
    return found if isinstance(found, str) else json.dumps(response)


def parse_prompt(body: dict[str, Any], origin: str) -> Prompt:
    """The prompt that becomes `body`, of those that OpenAI's clients can send."""
    messages: list[Message] = []
    for part in body.get("systemInstruction", {}).get("parts", ()):
        messages.append({"role": "system", "content": part["text"]})
    for content in body["contents"]:
        messages += _parse_content(content, origin)
    declarations = [each for tool in body.get("tools", ()) for each in tool["functionDeclarations"]]
    params = _parse_config(body.get("generationConfig", {}))
    strict, choice = _parse_calling(body.get("toolConfig", {}).get("functionCallingConfig", {}))
    tools = tuple(
        {"type": "function", "function": {"parameters": each.get("parametersJsonSchema"), **each, **strict}}
        for each in declarations
    )
    return Prompt(tuple(messages), tools, {**params, **choice})


def _parse_calling(calling: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the functions and the parameters have that becomes this mode."""
    strict = {"strict": True} if calling.get("mode") == "VALIDATED" else {}
    if "allowedFunctionNames" in calling:
        [name] = calling["allowedFunctionNames"]
        return strict, {"tool_choice": {"type": "function", "function": {"name": name}}}
    choice = {"ANY": "required", "NONE": "none"}.get(calling.get("mode", ""))
    return strict, {"tool_choice": choice} if choice else {}


def _parse_content(content: dict[str, Any], origin: str) -> Iterator[Message]:
    parts = content["parts"]
    calls = [part for part in parts if "functionCall" in part]
    if content.get("role") == "model":
        memo = [
            {"call": index, "signature": part["thoughtSignature"], "origin": origin}
            for index, part in enumerate(calls)
            if "thoughtSignature" in part
        ]
        message = {"role": "assistant", "content": "".join(part.get("text", "") for part in parts)}
        yield {**message, "tool_calls": [_parse_call(part) for part in calls], "memo": {"gemini": memo}}
    elif "functionResponse" in parts[0]:
        yield from _parse_results(parts)
    else:
        yield {"role": "user", "content": [_parse_part(part) for part in parts]}


def _parse_call(part: dict[str, Any]) -> dict[str, Any]:
    call = part["functionCall"]
    function = {"name": call["name"], "arguments": json.dumps(call["args"])}
    return {"id": call["id"], "type": "function", "function": function}


def _parse_results(parts: list[dict[str, Any]]) -> Iterator[Message]:
    """A message for each result, with the media that come after it."""
    message: Message = {}
    for part in parts:
        if "functionResponse" not in part:
            message["content"].append(_parse_part(part))
            continue
        if message:
            yield message
        response = part["functionResponse"]
        text = {"type": "text", "text": response["response"]["result"]}
        message = {"role": "tool", "tool_call_id": response["id"], "content": [text]}
    yield message


def _parse_part(part: dict[str, Any]) -> dict[str, Any]:
    if "text" in part:
        return {"type": "text", "text": part["text"]}
    if "fileData" in part:
        name = "a" + (mimetypes.guess_extension(part["fileData"]["mimeType"]) or ".wav")
        return {"type": "file", "file": {"file_id": part["fileData"]["fileUri"], "filename": name}}
    data = part["inlineData"]
    kind, url = data["mimeType"], f"data:{data['mimeType']};base64,{data['data']}"
    if kind.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    if kind.startswith("audio/"):
        return {"type": "input_audio", "input_audio": {"data": data["data"], "format": kind[6:].replace("mpeg", "mp3")}}
    return {"type": "file", "file": {"file_data": url}}


def _parse_config(config: dict[str, Any]) -> dict[str, Any]:
    names = {
        "temperature": "temperature",
        "topP": "top_p",
        "seed": "seed",
        "maxOutputTokens": "max_completion_tokens",
        "stopSequences": "stop",
        "responseLogprobs": "logprobs",
        "logprobs": "top_logprobs",
    }
    params = {names[key]: value for key, value in config.items() if key in names}
    if "responseMimeType" in config:
        schema = {"name": "a", "schema": config.get("responseJsonSchema")}
        params["response_format"] = {"type": "json_schema", "json_schema": schema}
    thinking = config.get("thinkingConfig", {})
    if "thinkingLevel" in thinking or "thinkingBudget" in thinking:
        params["reasoning_effort"] = thinking.get("thinkingLevel", "none")
    return params


def skip_foreign(body: dict[str, Any]) -> None:
    """Skips what no client of OpenAI can ask for."""
    text = json.dumps(body)
    for word, reason in FOREIGN.items():
        if f'"{word}"' in text and f'"{word}": null' not in text:
            pytest.skip(reason)
    config = clean(body).get("generationConfig", {})
    if config.get("responseModalities", ["TEXT"]) != ["TEXT"]:
        pytest.skip("nothing but text is asked for")
    if config.get("temperature", 0) > 2:
        pytest.skip("a value that the provider refused, and we refuse ourselves")
    if config.get("thinkingConfig", {}).get("thinkingBudget", 0) > 0:
        pytest.skip("a budget that no effort stands for")


@pytest.mark.parametrize("path", list(recordings()))
def test_every_recorded_request_is_what_we_send(path: Path) -> None:
    request, _ = load(path)
    skip_foreign(request["body"])
    address = urlsplit(request["url"])
    base, _, verb = f"{address.scheme}://{address.netloc}{address.path}".partition("/models/")
    model = verb.partition(":")[0]
    body = normalize(request, 2 if "gemini-2" in model else 3)
    thoughts = body.get("generationConfig", {}).get("thinkingConfig", {}).get("includeThoughts", False)
    asked = Gemini("main", Gemini.Options().load({"url": base, "model": model, "thoughts": thoughts}))

    rendered = asked.render_prompt(parse_prompt(body, f"{asked.provider}/{model}"), False)

    assert f"{base}{asked.address('stream' in verb)}".partition("?")[0] == f"{base}/models/{verb}"
    assert json.loads(json.dumps(rendered)) == body
