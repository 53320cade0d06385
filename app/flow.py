"""What a flow is, and what it may use."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from marshmallow import Schema, fields

from app.connector import Connector
from app.messages import Delta, Message, Prompt, Reply
from app.scope import Scope
from app.template import Templates


class ConnectorName(fields.String):
    """An option that names a connector of `connectors.yaml`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(metadata={"reference": "connector"}, **kwargs)


class TemplateName(fields.String):
    """An option that names a template; None, or nothing in the URN, for none."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(metadata={"reference": "template"}, allow_none=True, **kwargs)


class Turn:
    """What a flow may use while it answers one prompt.

    Args:
        prompt: what the client asks.
        options: the flow's options, from its defaults, the configuration and the URN.
        scope: the client request that this is done for.
        services: what the configuration offers.
        stream: whether the client wants the answer as it comes.
    """

    def __init__(
        self,
        prompt: Prompt,
        options: Mapping[str, Any],
        scope: Scope,
        services: "Services",
        stream: bool,
    ) -> None:
        self.prompt = prompt
        self.options = options
        self._scope = scope
        self._services = services
        self._stream = stream

    def ask(self, connector: str, prompt: Prompt) -> Reply:
        """The reply of the connector of that name: iterate it to pass it on as it comes, `read()` it to have it whole.

        Nothing is sent before that. The tokens count for the client's usage either way.
        """
        asked = self._services.connectors[connector]
        return Reply(lambda stream: asked.stream(prompt, self._scope, stream), self._stream)

    def render(self, template: str, /, **values: Any) -> tuple[Message, ...]:
        """The messages of a template, with `values` filled in."""
        return self._services.templates.render(template, **values)


class Services:
    """What turns share: the configured connectors by name, and the templates."""

    def __init__(self, connectors: Mapping[str, Connector], templates: Templates) -> None:
        self.connectors = connectors
        self.templates = templates


class Flow:
    """Orchestration logic: turns a prompt into an answer, by whatever it asks on the way.

    A flow is one module under `flows/`; its file name is its name in the URN, the fields of `Options` are the
    keys that the URN may set.
    """

    Options: ClassVar[type[Schema]] = Schema

    def run(self, turn: Turn) -> Iterator[Delta]:
        """Answers `turn.prompt`. What is yielded goes to the client; it runs when it is iterated, not before.

        Raises:
            ServiceError: what the client is to be told.
        """
        raise NotImplementedError
