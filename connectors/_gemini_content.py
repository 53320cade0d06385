"""Messages in Gemini's words."""

import mimetypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from app.errors import BadRequest
from app.messages import Message

Part = dict[str, Any]

Signatures = Callable[[Message], Mapping[int, str]]
"""The thought signatures of an assistant message, by the number of the call."""


def render_contents(messages: Sequence[Message], signatures: Signatures) -> dict[str, Any]:
    """`contents` and `systemInstruction`. Whatever a system message says anywhere is an instruction.

    Args:
        messages: of the prompt.
        signatures: what the calls in a message are signed with.
    """
    system, contents, names, last = list[Part](), list[dict[str, Any]](), dict[str, str](), ""
    for index, message in enumerate(messages):
        role = _ROLES[message["role"]]
        names.update(_called(message))
        parts = _render_message(message, f"messages[{index}]", names)
        if role == "model":
            parts += _render_calls(message, signatures(message))
        if role == "system":
            system += parts
        # The results of one turn belong together, and what the user says next does not belong to them.
        elif role == last:
            contents[-1]["parts"] += parts
        elif parts:
            contents.append({"role": "user" if role == "result" else role, "parts": parts})
            last = role
    if not contents:
        return {"contents": [{"role": "user", "parts": system}]}
    return {"contents": contents, **({"systemInstruction": {"parts": system}} if system else {})}


_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "model",
    "tool": "result",
    "function": "result",
}


def _render_message(message: Message, place: str, names: Mapping[str, str]) -> list[Part]:
    """All but the calls; `names` are those of the functions that were called, by the ids of the calls."""
    parts = _render_content(message.get("content"), place)
    if message["role"] in ("tool", "function"):
        return _render_result(message, parts, names)
    if message["role"] == "assistant":
        return _render_said(message, parts, place)
    return parts


def _render_content(content: str | Sequence[Part] | None, place: str) -> list[Part]:
    if content is None or isinstance(content, str):
        return [{"text": content or ""}]
    return [_render_part(part, f"{place}.content[{index}]") for index, part in enumerate(content)]


def _render_part(part: Part, place: str) -> Part:
    render = _PARTS.get(part["type"])
    if render is None:
        raise BadRequest(f"Invalid '{place}': this model takes no parts of type '{part['type']}'.", param=place)
    return render(part[part["type"]], place)


def _render_text(text: str, _: str) -> Part:
    return {"text": text}


def _render_image(image: Mapping[str, Any], place: str) -> Part:
    return _render_url(image["url"], place)


def _render_audio(audio: Mapping[str, Any], _: str) -> Part:
    kind = {"mp3": "mpeg"}.get(audio["format"], audio["format"])
    return {"inlineData": {"mimeType": f"audio/{kind}", "data": audio["data"]}}


def _render_file(file: Mapping[str, Any], place: str) -> Part:
    return _render_url(file.get("file_data") or file.get("file_id") or "", place, file.get("filename"))


_PARTS: dict[str, Callable[[Any, str], Part]] = {
    "text": _render_text,
    "refusal": _render_text,
    "image_url": _render_image,
    "input_audio": _render_audio,
    "file": _render_file,
}


def _render_url(url: str, place: str, name: str | None = None) -> Part:
    scheme = url.partition(":")[0]
    head, _, data = url.partition(",")
    if scheme == "data" and head.endswith(";base64") and data:
        return {"inlineData": {"mimeType": head[5:].partition(";")[0], "data": data}}
    if scheme in ("http", "https", "gs"):
        kind = mimetypes.guess_type(name or url.partition("?")[0].rpartition("/")[2], strict=False)[0]
        # Python's name for it is not known to Gemini.
        kind = "audio/wav" if kind == "audio/x-wav" else kind
        return {"fileData": {**({"mimeType": kind} if kind else {}), "fileUri": url}}
    raise BadRequest(f"Invalid '{place}': it must be a data URL in base64, an http or a gs URL.", param=place)


def _render_said(message: Message, parts: Sequence[Part], place: str) -> list[Part]:
    """What an assistant said; Gemini takes no empty parts from itself."""
    if message.get("audio"):
        raise BadRequest(f"Invalid '{place}.audio': this model takes no audio of its own.", param=f"{place}.audio")
    said = [*parts, {"text": message.get("refusal") or ""}]
    return [part for part in said if part["text"]]


def _calls(message: Message) -> Sequence[dict[str, Any]]:
    if message.get("function_call"):
        return [{"function": message["function_call"]}]
    return message.get("tool_calls") or ()


def _called(message: Message) -> Iterator[tuple[str, str]]:
    """The ids and names of the functions that are called in `message`."""
    for call in _calls(message):
        yield call.get("id", ""), (call.get("function") or call["custom"])["name"]


def _render_calls(message: Message, signatures: Mapping[int, str]) -> Iterator[Part]:
    for index, call in enumerate(_calls(message)):
        function = call.get("function")
        rendered = {
            "name": function["name"] if function else call["custom"]["name"],
            "args": _parse_arguments(function["arguments"]) if function else {"input": call["custom"]["input"]},
        }
        if "id" in call:
            rendered["id"] = call["id"]
        signature = {"thoughtSignature": signatures[index]} if index in signatures else {}
        yield {"functionCall": rendered, **signature}


def _parse_arguments(text: str) -> dict[str, Any]:
    """The arguments of a call, which must be an object here: what is none, such as half of one, becomes part of one."""
    try:
        arguments = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        arguments = None
    return arguments if isinstance(arguments, dict) else {"arguments": text}


def _render_result(message: Message, parts: Sequence[Part], names: Mapping[str, str]) -> list[Part]:
    """The result of a call; what is no text in it comes after it."""
    call_id = message.get("tool_call_id", "")
    text = "".join(part["text"] for part in parts if "text" in part)
    response = {"name": message.get("name") or names.get(call_id, call_id), "response": {"result": text}}
    if call_id:
        response["id"] = call_id
    return [{"functionResponse": response}, *(part for part in parts if "text" not in part)]
