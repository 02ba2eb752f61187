"""The model server as a program: ``python -m rollout.servers --model <folder> [--backend …] [key=value …]``.

Contract: prints one JSON line ``{"url", "model", "digest"}`` on stdout when it is ready, then serves until SIGTERM or
SIGINT. Backends: ``openvino`` (continuous batching on CPU), ``transformers`` (one request at a time, the reference),
``scripted`` (no model: ``--model`` is a file of rules). ``key=value`` arguments are settings of the backend. A wrong
setting, model or address is one sentence on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError

from rollout.servers.backend import Backend
from rollout.servers.server import ModelServer, bound_socket, cannot_listen
from sandbox.validation import format_errors

BACKENDS = ("openvino", "transformers", "scripted")


def open_backend(kind: str, model: Path, settings: dict[str, str]) -> Backend:
    """Loads ``model`` with the backend ``kind``; ``settings`` are the backend's, as text."""
    if kind == "openvino":
        from rollout.servers.openvino import OpenVINOBackend, OpenVINOSettings

        return OpenVINOBackend(model, OpenVINOSettings.model_validate(settings))
    if kind == "transformers":
        from rollout.servers.transformers import TransformersBackend, TransformersSettings

        return TransformersBackend(model, TransformersSettings.model_validate(settings))
    from rollout.servers.scripted import Script, ScriptedBackend

    return ScriptedBackend(Script.model_validate(json.loads(model.read_text()) | settings))


async def serve_until_signalled(backend: Backend, listening: socket.socket) -> None:
    """Serves until SIGTERM or SIGINT; prints the ready line."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn handles the signal, shuts down and raises it again; this handler makes that harmless
        asyncio.get_running_loop().add_signal_handler(number, lambda: None)
    host, port = listening.getsockname()[:2]
    ready = {"url": f"http://{host}:{port}/v1", "model": backend.name, "digest": backend.digest}
    await ModelServer(backend, lambda: print(json.dumps(ready), flush=True)).serve(sockets=[listening])
    await backend.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry of the program."""
    parser = argparse.ArgumentParser(description="Serve a model on CPU behind OpenAI's HTTP routes.")
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder, or the file of rules")
    parser.add_argument("--backend", choices=BACKENDS, default="openvino")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings of the backend, such as threads=2")
    options = parser.parse_args(arguments)
    if any("=" not in setting for setting in options.settings):
        parser.error("settings are written key=value, such as threads=2")
    if not options.model.exists():
        parser.error(f"--model {options.model}: no such file or folder")
    settings = dict(setting.split("=", 1) for setting in options.settings)
    try:
        bound = bound_socket(options.host, options.port)  # first: loading a model takes long
        backend = _loaded(options.backend, options.model, settings)
    except ValueError as error:
        parser.error(str(error))
    try:
        bound.listen()
    except OSError as error:  # another program has begun to listen there in between
        parser.error(str(cannot_listen(options.host, options.port, error)))
    asyncio.run(serve_until_signalled(backend, bound))


def _loaded(kind: str, model: Path, settings: dict[str, str]) -> Backend:
    """The backend; what its library raises for a model folder becomes a ``ValueError`` that names the folder."""
    try:
        return open_backend(kind, model, settings)
    except ValidationError as error:
        raise ValueError(format_errors("", error)) from error
    except (OSError, RuntimeError, SafetensorError, KeyError, ImportError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"--model {model}: cannot be served by {kind}: {reason}") from error


if __name__ == "__main__":
    main()
