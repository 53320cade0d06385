"""GET /v1/models and GET /v1/models/{urn}: the flows and presets that a caller may use."""

from typing import Any

from flask import Blueprint, Response

from app.api import edge
from app.api.exchange import current
from app.errors import BadRequest, ModelNotFound

blueprint = Blueprint("models", __name__)


@blueprint.get("/v1/models")
def list_models() -> Response:
    """Lists the models in their canonical form."""
    caller = edge.authenticate()
    models = current().service.runner.models(caller)
    return edge.render({"object": "list", "data": [render_model(str(urn), created) for urn, created in models]})


@blueprint.get("/v1/models/<path:model>")
def retrieve(model: str) -> Response:
    """Describes one model; the keys of its URN may stand in any order."""
    caller = edge.authenticate()
    runner = current().service.runner
    try:
        task = runner.resolve(model, caller)
    except (ModelNotFound, BadRequest):
        raise ModelNotFound(f"The model '{model}' does not exist", param="model") from None
    return edge.render(render_model(str(task.urn), runner.created(task.name)))


def render_model(name: str, created: int) -> dict[str, Any]:
    """OpenAI's `model` object."""
    return {"id": name, "object": "model", "created": created, "owned_by": "cadenza"}
