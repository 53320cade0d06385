"""GET /healthz: the process is alive. GET /readyz: it is configured and can answer."""

from flask import Blueprint, Response

from app.api import edge

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def alive() -> Response:
    """Says that the process answers requests."""
    return edge.render({"status": "alive"})


@blueprint.get("/readyz")
def ready() -> Response:
    """Says that the service can be given traffic: a worker serves only after its configuration was loaded."""
    return edge.render({"status": "ready"})
