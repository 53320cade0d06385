"""Cadenza: LLM orchestration behind the OpenAI API. Here, and only here, everything is put together."""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flask import Flask

from app import log
from app.api import chat, edge, health, models
from app.api.chat_request import ChatRequest
from app.api.exchange import Service
from app.config import ConfigError, Settings, load
from app.connector import Connector
from app.flow import Flow
from app.folder import Folders
from app.key import KeyRing
from app.registry import find
from app.runner import Runner
from app.secret import SecretMissing, SecretStore
from app.template import Templates
from app.watcher import Watcher

__version__ = "0.1.0"


class Application(Flask):
    """Flask without the question, several times a request, whether a function might be asynchronous."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


@dataclass(frozen=True)
class Loaded:
    """A configuration that has been checked, and the plugins it speaks of."""

    settings: Settings
    flows: Mapping[str, type[Flow]]
    connectors: Mapping[str, type[Connector]]
    templates: Templates
    secrets: SecretStore


def load_service(folders: Folders) -> Loaded:
    """Reads and checks all that a service is made of.

    Raises:
        ConfigError: what is wrong with the configuration or the templates, all of it.
        RegistryError: a plugin package is not what it should be.
        SecretError: a file of keys, or the service's identity, cannot be used.
    """
    flows, connectors = find("flows", Flow), find("connectors", Connector)
    templates, secrets = Templates(folders.templates), SecretStore(folders.secrets, os.environ)
    problems = list(templates.problems())
    schemas = {name: each.Options for name, each in connectors.items()}
    options = {name: each.Options for name, each in flows.items()}
    try:
        settings = load(folders.config, secrets, schemas, options, templates.names())
    except ConfigError as error:
        raise ConfigError([*error.problems, *problems]) from None
    if problems:
        raise ConfigError(problems)
    KeyRing(folders.secrets / "keys").list()
    with suppress(SecretMissing):
        secrets.load("identity")
    return Loaded(settings, flows, connectors, templates, secrets)


def create_app(folders: Folders | None = None) -> Flask:
    """The WSGI application.

    Args:
        folders: where configuration, templates and secrets are; named by the environment if None.

    Raises:
        ConfigError, RegistryError, SecretError: what is wrong, before anything is served.
    """
    folders = folders or Folders.of()
    loaded = load_service(folders)
    settings = loaded.settings
    log.configure(settings.service.log_level)
    connectors = {name: loaded.connectors[each.type](name, each.options) for name, each in settings.connectors.items()}
    flows = {name: flow() for name, flow in loaded.flows.items()}
    service = Service(
        settings=settings,
        runner=Runner(settings, flows, connectors, loaded.templates),
        keys=KeyRing(folders.secrets / "keys"),
        watcher=Watcher(),
        identity=loaded.secrets.load_or_create("identity"),
        chat_request=ChatRequest(max_n=settings.service.max_choices),
    )
    app = Application("cadenza", static_folder=None, template_folder=None)
    edge.install(app, service)
    for resource in (chat, models, health):
        app.register_blueprint(resource.blueprint)
    return app
