"""The command line: `cadenza check`, `cadenza run`, `cadenza keys`, `cadenza connectors`."""

import argparse
import os
import socket
import sys
from collections.abc import Callable, Sequence, Sized

from app import Loaded, load_service
from app.connector_command import add_connectors
from app.folder import ROOT, Folders
from app.key import KeyRing
from app.server import PROBLEMS, start_model
from app.urn import Urn

EXAMPLE = """
Cadenza listens on {url}
{note}
  curl -N {url}/v1/chat/completions -H "Authorization: Bearer {key}" -H "Content-Type: application/json" -d '{body}'
"""
EXAMPLE_BODY = '{"model": "%s", "stream": true, "messages": [{"role": "user", "content": "What is a cadenza?"}]}'


class CommandError(Exception):
    """What a command could not do, told to the one who typed it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace, Folders], int] = options.command
    try:
        return command(options, Folders.of())
    except (*PROBLEMS, CommandError) as error:
        print(error, file=sys.stderr)
        return 1


def check(_: argparse.Namespace, folders: Folders) -> int:
    """Checks configuration, plugins and templates, and tells every problem."""
    settings = load_service(folders).settings
    print(
        f"{folders.config}: in order: {_plural(settings.connectors, 'connector')}, "
        f"{_plural(settings.flows, 'flow')}, {_plural(settings.presets, 'preset')}"
    )
    return 0


def run(options: argparse.Namespace, folders: Folders) -> int:
    """Starts the service: the embedded model if a connector asks for it, then gunicorn in this process's place."""
    loaded = load_service(folders)
    listener = _listen(options.host, options.port)
    start_model(loaded.settings, lambda text: print(text, flush=True))
    if options.welcome:
        print(_welcome(listener, loaded, KeyRing(folders.secrets / "keys")), flush=True)
    for name, path in vars(folders).items():
        os.environ[f"CADENZA_{name.upper()}"] = str(path.absolute())
    command = _server_command(options, folders, listener)
    os.chdir(ROOT)
    os.execv(sys.executable, command)


def add_key(options: argparse.Namespace, folders: Folders) -> int:
    """Makes a key for an owner and prints it, this once."""
    print(KeyRing(folders.secrets / "keys").add(options.owner))
    return 0


def list_keys(_: argparse.Namespace, folders: Folders) -> int:
    """Lists the keys: owner, beginning of the hash, when it was made."""
    for row in KeyRing(folders.secrets / "keys").list():
        print(f"{row.owner}\t{row.prefix}\t{row.created}")
    return 0


def revoke_keys(options: argparse.Namespace, folders: Folders) -> int:
    """Takes an owner's keys back, or the one whose hash begins as given; this counts at once."""
    count = KeyRing(folders.secrets / "keys").revoke(options.owner, options.key)
    if not count:
        raise CommandError(f"{options.owner} has no such key")
    print(f"revoked {count}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cadenza", description="LLM orchestration behind the OpenAI API.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("check", help="check the configuration and the templates").set_defaults(command=check)
    server = commands.add_parser("run", help="serve, with gunicorn")
    server.add_argument("--host", default="127.0.0.1")
    server.add_argument("--port", type=_port, default=8000)
    server.add_argument("--workers", type=_count, help="processes (default: one for each core)")
    server.add_argument("--threads", type=_count, help="requests and streams that a process serves at once")
    server.add_argument("--welcome", action="store_true", help="make the first key if there is none; print a curl line")
    server.set_defaults(command=run)
    _add_keys(commands.add_parser("keys", help="the API keys that clients use"))
    add_connectors(commands.add_parser("connectors", help="what can be asked, and whether it answers"))
    return parser


def _add_keys(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    adding = commands.add_parser("add", help="make a key and print it once")
    adding.add_argument("owner", metavar="NAME")
    adding.set_defaults(command=add_key)
    commands.add_parser("list", help="who has keys").set_defaults(command=list_keys)
    revoking = commands.add_parser("revoke", help="take keys back")
    revoking.add_argument("owner", metavar="NAME")
    revoking.add_argument("--key", help="only the key whose hash begins so, as `cadenza keys list` shows it")
    revoking.set_defaults(command=revoke_keys)


def _listen(host: str, port: int) -> socket.socket:
    """The socket to serve on, open before anything is started: who connects from now on is answered."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        text = f"cannot listen on {host} port {port}: {error.strerror}; choose another with --port"
        raise CommandError(text) from error
    listener.set_inheritable(True)
    return listener


def _server_command(options: argparse.Namespace, folders: Folders, listener: socket.socket) -> list[str]:
    own = folders.config / "gunicorn.conf.py"
    settings = own if own.exists() else ROOT / "config" / "gunicorn.conf.py"
    command = [sys.executable, "-m", "gunicorn", "--config", str(settings.absolute())]
    command += ["--bind", f"fd://{listener.fileno()}"]
    for name in ("workers", "threads"):
        value = getattr(options, name)
        command += [f"--{name}", str(value)] if value else []
    return [*command, "wsgi:app"]


def _welcome(listener: socket.socket, loaded: Loaded, keys: KeyRing) -> str:
    host, port = listener.getsockname()[:2]
    if keys.list():
        key, note = "$CADENZA_KEY", "Put your key in CADENZA_KEY (`cadenza keys add NAME` makes another) and try:"
    else:
        key, note = keys.add("first"), "This key is shown once; it is kept as a hash only. Try:"
    model = str(Urn(loaded.settings.service.namespace, (("flow", "chat"),)))
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return EXAMPLE.format(url=url, note=note, key=key, body=EXAMPLE_BODY % model)


def _plural(things: Sized, noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _port(text: str) -> int:
    return _number(text, 0, 65535)


def _count(text: str) -> int:
    return _number(text, 1, 65535)


def _number(text: str, low: int, high: int) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"must be a number from {low} to {high}, not '{text}'")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
