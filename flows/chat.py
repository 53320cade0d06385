"""The plainest flow: one prompt, one connector, one answer."""

from collections.abc import Iterator

from marshmallow import Schema

from app.flow import ConnectorName, Flow, TemplateName, Turn
from app.messages import Delta


class Chat(Flow):
    """Passes the prompt to a connector, with a system template in front of it if one is named."""

    class Options(Schema):
        """`connector`: who is asked; `template`: what is put in front."""

        connector = ConnectorName(load_default="main")
        template = TemplateName(load_default=None)

    def run(self, turn: Turn) -> Iterator[Delta]:
        prompt = turn.prompt
        if turn.options["template"]:
            prompt = prompt.prepend(*turn.render(turn.options["template"]))
        yield from turn.ask(turn.options["connector"], prompt)
