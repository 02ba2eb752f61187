"""What tests of several rooms need: a tiny Llama as a Hugging Face folder, and servers in this process.

With several processes (``pytest -n 2``) the tests of the trainer run in one of them, before any other: they fork it,
and a process with the threads of Ray or of a server cannot be forked safely. Other files are shared out one by one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from rollout.servers.server import ModelServer, bound_socket

MakeLlama = Callable[..., Path]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Shares out the tests in the order of the folders, which begins with the trainer's and ends with short files."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            trainer = "tests/codeact_train"
            return trainer if nodeid.startswith(f"{trainer}/") else super()._split_scope(nodeid)

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def make_llama(tmp_path_factory: pytest.TempPathFactory) -> MakeLlama:
    """A function that writes a random Llama (2 layers, 4 heads of 32, 2 key-value heads) and returns its folder."""

    def make(seed: int = 0, *, tied: bool = True, name: str = "tiny") -> Path:
        from tests.helpers.models import serving_llama  # imports torch and transformers

        return serving_llama(tmp_path_factory.mktemp("models") / name, seed=seed, tied=tied)

    return make


@pytest.fixture(scope="session")
def tiny_llama(make_llama: MakeLlama) -> Path:
    """One such model, shared by every test that does not change it."""
    return make_llama()


@pytest.fixture(scope="session")
def serve_here() -> Iterator[Callable[[Any], str]]:
    """A function that puts a backend behind HTTP in a thread of this process and returns the base URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    ends: list[Callable[[], Coroutine[Any, Any, None]]] = []

    async def start(backend: Any) -> str:
        ready = asyncio.Event()
        server, listening = ModelServer(backend, ready.set), bound_socket("127.0.0.1", 0)
        serving = asyncio.create_task(server.serve(sockets=[listening]))

        async def end() -> None:
            server.should_exit = True
            await serving
            await backend.close()

        ends.append(end)
        await ready.wait()
        return f"http://127.0.0.1:{listening.getsockname()[1]}/v1"

    def serve(backend: Any) -> str:
        return asyncio.run_coroutine_threadsafe(start(backend), loop).result()

    yield serve
    for end in reversed(ends):
        asyncio.run_coroutine_threadsafe(end(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@pytest.fixture(scope="session")
def tiny_server(tiny_llama: Path, serve_here: Callable[[Any], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Base URL of the tiny Llama behind openvino-genai."""
    from rollout.servers.openvino import OpenVINOBackend, OpenVINOSettings

    settings = OpenVINOSettings(threads=1, cache_gib=1, gguf_cache=tmp_path_factory.mktemp("gguf"))
    return serve_here(OpenVINOBackend(tiny_llama, settings))
