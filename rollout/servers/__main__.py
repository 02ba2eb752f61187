"""The model server as a program: ``python -m rollout.servers --model <folder> [--backend …] [key=value …]``.

Contract: prints one JSON line ``{"url", "model", "digest"}`` on stdout when it is ready, then serves until SIGTERM or
SIGINT. Backends: ``openvino`` (continuous batching on CPU), ``transformers`` (one job at a time, the reference),
``scripted`` (no model: ``--model`` is a file of rules). What follows as ``key=value`` are the backend's settings.
A wrong setting or model is one sentence on stderr and exit code 2.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from rollout.servers.api import create_app
from rollout.servers.backend import Backend

BACKENDS = ("openvino", "transformers", "scripted")


def open_backend(kind: str, model: Path, settings: dict[str, str]) -> Backend:
    """Loads ``model`` with the backend ``kind``; settings are its own, as text."""
    if kind == "openvino":
        from rollout.servers.openvino import OpenVINOBackend, OpenVINOSettings

        return OpenVINOBackend(model, OpenVINOSettings.model_validate(settings))
    if kind == "transformers":
        from rollout.servers.transformers import TransformersBackend, TransformersSettings

        return TransformersBackend(model, TransformersSettings.model_validate(settings))
    from rollout.servers.scripted import Script, ScriptedBackend

    return ScriptedBackend(Script.model_validate(json.loads(model.read_text()) | settings))


async def serve_until_signalled(backend: Backend, host: str, port: int) -> None:
    """Answers requests until SIGTERM or SIGINT; prints the ready line. ``port`` 0 takes any free one."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(create_app(backend), handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    url = f"http://{host}:{runner.addresses[0][1]}/v1"
    print(json.dumps({"url": url, "model": backend.name, "digest": backend.digest}), flush=True)
    await stop.wait()
    await runner.cleanup()
    await backend.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry of the program."""
    parser = argparse.ArgumentParser(description="Serve a model on CPU behind OpenAI's HTTP routes.")
    parser.add_argument("--model", type=Path, required=True, help="Hugging Face folder, or the file of rules")
    parser.add_argument("--backend", choices=BACKENDS, default="openvino")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings of the backend, such as threads=2")
    options = parser.parse_args(arguments)
    if any("=" not in setting for setting in options.settings):
        parser.error("settings are written key=value, such as threads=2")
    if not options.model.exists():
        parser.error(f"--model {options.model}: no such file or folder")
    settings = dict(setting.split("=", 1) for setting in options.settings)
    try:
        backend = open_backend(options.backend, options.model, settings)
    except ValueError as error:
        parser.error(str(error))
    asyncio.run(serve_until_signalled(backend, options.host, options.port))


if __name__ == "__main__":
    main()
