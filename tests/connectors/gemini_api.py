"""A Gemini connector, and what it sends."""

import json
from typing import Any

from app.messages import Prompt
from connectors.gemini import Gemini

USER = {"role": "user", "content": "Hi"}
HI = {"role": "user", "parts": [{"text": "Hi"}]}
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}}
PNG = "data:image/png;base64,iVBORw0KGgo="


def gemini(**options: Any) -> Gemini:
    url = "https://generativelanguage.googleapis.com/v1beta"
    return Gemini("main", Gemini.Options().load({"url": url, "model": "gemini-3-pro", **options}))


def sent(*messages: dict[str, Any], tools: tuple[dict[str, Any], ...] = (), **params: Any) -> dict[str, Any]:
    """The body that a prompt becomes."""
    return body(gemini(), *messages, tools=tools, **params)


def body(asked: Gemini, *messages: dict[str, Any], tools: Any = (), **params: Any) -> dict[str, Any]:
    """The body that a prompt becomes with this connector."""
    rendered: dict[str, Any] = json.loads(json.dumps(asked.render_prompt(Prompt(messages, tools, params), True)))
    return rendered


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


def call(call_id: str, name: str, arguments: str = "{}") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def result(call_id: str, content: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}
