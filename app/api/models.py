"""GET /v1/models and GET /v1/models/{urn}: the flows and presets that a caller may use."""

from contextlib import suppress
from typing import Any

from flask import Blueprint, Response

from app.api import edge
from app.api.exchange import current
from app.errors import ModelNotFound

blueprint = Blueprint("models", __name__)


@blueprint.get("/v1/models")
def list_models() -> Response:
    """Lists the models in their canonical form."""
    exchange = current()
    models = exchange.service.runner.models(edge.authenticate(exchange))
    return edge.render({"object": "list", "data": [render_model(str(urn), created) for urn, created in models]})


@blueprint.get("/v1/models/<path:model>")
def retrieve(model: str) -> Response:
    """Describes one model; the keys of its URN may stand in any order."""
    exchange = current()
    caller = edge.authenticate(exchange)
    runner = exchange.service.runner
    # Clients of old put the name into the URL as it is: its own percent-encoding is then the URL's, and decoded.
    raw = exchange.environ.get("RAW_URI", "").partition("?")[0].partition("/v1/models/")[2]
    for name in (model, raw):
        with suppress(ModelNotFound):
            task = runner.resolve(name, caller)
            return edge.render(render_model(str(task.urn), runner.created(task.name)))
    raise ModelNotFound(f"The model '{model}' does not exist", param="model")


def render_model(name: str, created: int) -> dict[str, Any]:
    """OpenAI's `model` object."""
    return {"id": name, "object": "model", "created": created, "owned_by": "cadenza"}
