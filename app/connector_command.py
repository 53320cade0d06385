"""`cadenza connectors`: what there is to configure, and one real call to see whether it works."""

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any

from marshmallow import Schema, fields, missing

from app import load_service
from app.connector import Connector
from app.errors import ServiceError
from app.folder import Folders
from app.messages import Prompt, Reply
from app.problem import suggest
from app.registry import find
from app.scope import Scope
from app.server import start_model
from app.watcher import Watcher


def add_connectors(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.set_defaults(command=list_connectors)
    commands = parser.add_subparsers(metavar="COMMAND")
    trying = commands.add_parser("try", help="make one real call and show what came of it")
    trying.add_argument("name", metavar="NAME", help="a connector of connectors.yaml")
    trying.add_argument("text", metavar="TEXT", nargs="?", default="Say hello.")
    trying.set_defaults(command=try_connector)


def list_connectors(_: argparse.Namespace, __: Folders) -> int:
    """Lists the types of connectors with their options."""
    for name, connector in find("connectors", Connector).items():
        print(f"{name}: {(connector.__doc__ or '').partition(chr(10))[0]}")
        for line in describe_options(connector.Options()):
            print(f"    {line}")
    return 0


def describe_options(schema: Schema) -> Iterator[str]:
    """Each option of a schema: its name, what it takes, and its default."""
    for name, field in sorted(schema.load_fields.items()):
        if field.required:
            default = "required"
        elif field.load_default is missing or callable(field.load_default):
            default = "optional"
        else:
            default = f"default {field.load_default}"
        yield f"{name}: {_kind(field)}, {default}"


def try_connector(options: argparse.Namespace, folders: Folders) -> int:
    """Asks one connector, and prints the text as it comes, then finish, usage and time."""
    loaded = load_service(folders)
    settings = loaded.settings.connectors.get(options.name)
    if settings is None:
        hint = suggest(options.name, loaded.settings.connectors)
        print(f"connectors.yaml has no connector '{options.name}'; {hint}", file=sys.stderr)
        return 1
    start_model(loaded.settings, lambda text: print(text, file=sys.stderr))
    connector = loaded.connectors[settings.type](options.name, settings.options)
    try:
        _ask(connector, options.text)
    except ServiceError as error:
        print(f"{type(error).__name__}: {error.message}", file=sys.stderr)
        return 1
    return 0


def _ask(connector: Connector, text: str) -> None:
    scope, started = Scope(), time.monotonic()
    prompt = Prompt(({"role": "user", "content": text},))
    reply = Reply(lambda stream: connector.stream(prompt, scope, stream))
    with Watcher().watching(scope, None):
        for delta in reply:
            print(delta.text or delta.refusal, end="", flush=True)
    seconds = time.monotonic() - started
    print(f"\n\nfinish: {reply.finish}\nusage: {_describe_usage(reply)}\ntime: {seconds:.2f} s")


def _describe_usage(reply: Reply) -> str:
    if reply.usage is None:
        return "not told"
    return f"{reply.usage.input_tokens} tokens in, {reply.usage.output_tokens} tokens out"


def _kind(field: fields.Field[Any]) -> str:
    return type(field).__name__.removesuffix("Field").lower()
