"""The plainest wire format, for tests of what all connectors have in common."""

from collections.abc import Iterator
from typing import Any

import orjson

from app.connector import Connector
from app.event import Event
from app.messages import Delta, Prompt, Usage

KEY = "sk-canary-0123456789"
HI = Prompt(({"role": "user", "content": "Hi"},))
END = {"text": "", "finish": "stop"}


class Plain(Connector):
    """An answer is `{"text", "finish", "tokens"}`, streamed or whole."""

    path = "/ask"
    provider = "plain"

    def render_prompt(self, prompt: Prompt, stream: bool) -> dict[str, Any]:
        return {"messages": prompt.messages, "tools": prompt.tools, "params": prompt.params, "stream": stream}

    def parse_events(self, events: Iterator[Event]) -> Iterator[Delta]:
        for event in events:
            yield self.parse_answer(orjson.loads(event.data))

    def parse_answer(self, answer: Any) -> Delta:
        if "error" in answer:
            raise self.fail_late(answer)
        usage = Usage(output_tokens=answer["tokens"]) if "tokens" in answer else None
        return Delta(answer["text"], finish=answer.get("finish"), usage=usage)


def plain(url: str, name: str = "main", **options: Any) -> Plain:
    """A connector with these options."""
    return Plain(name, Plain.Options().load({"url": url, "model": "m", **options}))
