"""Runs a model server as a child process.

Contract: ``with serve(folder, config, log) as url:`` starts a server, waits until it answers and yields its base URL
(ending in ``/v1``). The server ends with the block, also after an exception or when this process is killed. Its output
goes to ``log``. Backends are this project's CPU server (``openvino``, ``transformers``, ``scripted``) and, on GPUs,
``vllm serve``, with the same settings under vLLM's names. Servers listen on the loopback address by default. A port
that another program holds is refused before the model is loaded. A program that takes it later, or answers ``/health``
there, is not mistaken for the server, because the socket must belong to the server's processes.

Call it from a thread that lives as long as the block: Linux ends the child with the thread that started it.

``vllm serve`` needs a GPU; the tests check only the command that is built for it.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2
import psutil
from pydantic import Field

from codeact_train import Settings
from codeact_train.system.parent import LAUNCHER


class ServeConfig(Settings):
    """How a model is served."""

    backend: Literal["openvino", "transformers", "scripted", "vllm"] = "openvino"
    """`openvino` batches on CPU; `transformers` is the slow reference; `vllm` uses GPUs; `scripted` has no model."""
    host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on. The servers have no authentication, so keep it private."""
    port: int = Field(0, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    threads: int = Field(2, gt=0)
    """Inference threads of the CPU backends."""
    cache_gib: int = Field(2, gt=0)
    """Key-value cache of `openvino`, in GiB."""
    max_batched_tokens: int | None = Field(None, gt=0)
    """Most tokens in one forward pass; null for the backend's default (`openvino`: 256)."""
    max_sequences: int = Field(128, gt=0)
    """Most sequences in one forward pass; further ones wait."""
    tensor_parallel: int = Field(1, gt=0)
    """GPUs one model is spread over (`vllm`)."""
    arguments: tuple[str, ...] = ()
    """Further arguments of the server program, such as `--max-model-len=8192` for `vllm`."""
    start_timeout_s: float = Field(900.0, gt=0)
    """Seconds until the server must answer."""

    def description(self) -> dict[str, Any]:
        """How models are served, for the results: all settings but the address, and the version of the software."""
        package = {"openvino": "openvino-genai", "transformers": "transformers", "vllm": "vllm"}.get(self.backend)
        version = importlib.metadata.version(package) if package else None
        return {**self.model_dump(mode="json", exclude={"host", "port", "start_timeout_s"}), "version": version}


@contextmanager
def serve(folder: Path, config: ServeConfig, log: Path, name: str | None = None) -> Iterator[str]:
    """A running server for the model in ``folder``; yields its base URL.

    Args:
        folder: Hugging Face model folder (for ``scripted``: the file of rules).
        config: backend and its settings.
        log: file that gets the server's output.
        name: what requests call the model; the folder's name when not given.

    Raises:
        ValueError: the server ended or did not answer in time; the message has the end of its log.
    """
    with _running(folder, config, log, name) as (url, _):
        yield url


def serve_until_stopped(folder: Path, config: ServeConfig, log: Path, on_ready: Callable[[str], None]) -> None:
    """Serves the model in ``folder`` until Ctrl-C; ``on_ready`` gets the base URL once the server answers.

    Raises:
        ValueError: as :func:`serve`, and when the server ends by itself.
    """
    with _running(folder, config, log, None) as (url, child):
        on_ready(url)
        with contextlib.suppress(KeyboardInterrupt):
            child.wait()
            raise ValueError(f"serve: the model server {_how_it_ended(child)}; the end of {log}:\n{_tail(log)}")


@contextmanager
def _running(
    folder: Path, config: ServeConfig, log: Path, name: str | None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The base URL and the process of a server that answers."""
    port = _usable_port(config)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "launch.submit.die_with_parent",
                *command(folder, config, port, name or folder.name),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | _QUIET | {LAUNCHER: str(os.getpid())},
            start_new_session=True,  # Ctrl-C reaches only the driver, which then ends the server
        )
    try:
        root = f"http://{f'[{config.host}]' if ':' in config.host else config.host}:{port}"
        _wait_until_ready(child, root, port, log, config.start_timeout_s)
        yield f"{root}/v1", child
    finally:
        _end(child)


_QUIET = {"TRANSFORMERS_VERBOSITY": "error", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
"""No telemetry, and no warnings about optional packages."""


def command(folder: Path, config: ServeConfig, port: int, name: str) -> list[str]:
    """The command line that serves ``folder`` on ``port`` under ``name``."""
    where = ["--host", config.host, "--port", str(port)]
    if config.backend == "vllm":
        options = ["--served-model-name", name, "--tensor-parallel-size", str(config.tensor_parallel)]
        options += ["--max-num-seqs", str(config.max_sequences), "--enable-prefix-caching"]
        if config.max_batched_tokens is not None:
            options += ["--max-num-batched-tokens", str(config.max_batched_tokens)]
        return ["vllm", "serve", str(folder), *where, *options, *config.arguments]
    settings = {"threads": config.threads} if config.backend == "transformers" else {}
    if config.backend == "openvino":
        settings = {"threads": config.threads, "cache_gib": config.cache_gib, "max_sequences": config.max_sequences}
        if config.max_batched_tokens is not None:
            settings["max_batched_tokens"] = config.max_batched_tokens
    program = [sys.executable, "-m", "rollout.servers", "--model", str(folder), "--backend", config.backend]
    return [*program, *where, *config.arguments, *(f"{key}={value}" for key, value in settings.items())]


def _usable_port(config: ServeConfig) -> int:
    """The configured port, or a free one. Raises ``ValueError`` when nothing can listen there."""
    with socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port whose last server has ended is free
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            fix = "give the address of this machine as serve.host, or another serve.port"
            if error.errno == errno.EADDRINUSE:
                fix = "another program holds the port; end it, or give another serve.port (0 takes a free one)"
            raise ValueError(f"serve.host={config.host}, serve.port={config.port}: {error.strerror}; {fix}") from None
        return int(probe.getsockname()[1])


def _wait_until_ready(child: subprocess.Popen[bytes], root: str, port: int, log: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise ValueError(f"serve: the model server {_how_it_ended(child)} before it answered:\n{_tail(log)}")
        with contextlib.suppress(httpx2.TransportError):
            if httpx2.get(f"{root}/health", timeout=5, trust_env=False).is_success and _listens(child.pid, port):
                return
        time.sleep(0.1)
    raise ValueError(
        f"serve.start_timeout_s={timeout_s:g}: the model server did not answer in that time; "
        f"increase it or read {log}:\n{_tail(log)}"
    )


def _listens(pid: int, port: int) -> bool:
    """Whether a process or one of its descendants listens on a port."""
    with contextlib.suppress(psutil.NoSuchProcess):
        server = psutil.Process(pid)
        for process in (server, *server.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                for socket_ in process.net_connections("tcp"):
                    if socket_.status == psutil.CONN_LISTEN and socket_.laddr.port == port:
                        return True
    return False


def _how_it_ended(child: subprocess.Popen[bytes]) -> str:
    code = child.returncode
    if code == -signal.SIGKILL:
        return "was killed by SIGKILL, which Linux sends when memory runs out (lower serve.cache_gib if it did),"
    return f"ended with code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"


def _end(child: subprocess.Popen[bytes]) -> None:
    """Sends SIGTERM to the server's process group, and SIGKILL after ten seconds or to what the server has left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(10.0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait(10.0)


def _tail(log: Path, lines: int = 12) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
