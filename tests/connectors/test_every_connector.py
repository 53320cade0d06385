"""What holds for every connector: a conversation made with one goes on with any other."""

import json
from typing import Any

import pytest

from app.connector import Connector
from app.messages import Message, Prompt
from app.registry import find

CONNECTORS = find("connectors", Connector)
NEEDED: dict[str, dict[str, Any]] = {"bedrock": {"access_key_id": "AKIDEXAMPLE", "region": "us-east-1"}}
CALL = {"id": "call_Ab1-_/x", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
MEMO = {name: [{"signature": "canary"}] for name in ("somebody", "else")}
TALK: tuple[Message, ...] = (
    {"role": "system", "content": "Be kind"},
    {"role": "user", "content": [{"type": "text", "text": "Weather in Oslo?"}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL], "memo": MEMO},
    {"role": "tool", "tool_call_id": CALL["id"], "content": "Rain"},
)


def make(name: str) -> Connector:
    """A connector of this type with as little configuration as it takes."""
    options = {"url": "http://127.0.0.1:9/v1", "model": "m", **NEEDED.get(name, {})}
    loaded = dict(CONNECTORS[name].Options().load(options))
    return CONNECTORS[name]("main", loaded)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", sorted(CONNECTORS))
def test_a_tool_exchange_made_elsewhere_goes_on(name: str, stream: bool) -> None:
    body = json.dumps(make(name).render_prompt(Prompt(TALK, (TOOL,)), stream))

    for said in ("Be kind", "Weather in Oslo?", "weather", "Oslo", "Rain"):
        assert said in body
    assert "canary" not in body, "what one provider wants back is nothing to another"
