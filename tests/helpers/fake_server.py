"""A model server in this process that gives any answer, and episodes that need no kernel."""

from __future__ import annotations

import http.server
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx2

from rollout.bank.trajectory import Message
from rollout.engines.openai_client import OpenAIEngine
from rollout.families.base import Task
from sandbox import CellResult

URL = "http://model.test/v1"
SOLUTION = "<solution>1</solution>"
TASK = Task("f", "k", "train", "trained", "t-1", "Print 1.", "1", "text")
CHAT = (
    Message(role="system", kind="instruction", content="Act by writing Python."),
    Message(role="user", kind="task", content="Print 1."),
)
LATER = (
    *CHAT,
    Message(role="assistant", kind="action", content="<execute>print(1)</execute>"),
    Message(role="user", kind="observation", content="1"),
)
"""A conversation in which the model has spoken."""
Answer = httpx2.Response | Exception


def chat_reply(content: Any = SOLUTION, *, finish: Any = "stop", **message: Any) -> dict[str, Any]:
    """The body of a chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    return {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}


def token_reply(text: Any = SOLUTION, /, **choice: Any) -> dict[str, Any]:
    """The body of a completion with token ids and log-probabilities."""
    ids = list(text.encode(errors="replace")) if isinstance(text, str) else []
    values = {
        "index": 0,
        "text": text,
        "finish_reason": "stop",
        "token_ids": ids,
        "logprobs": {"tokens": [], "token_logprobs": [-0.5] * len(ids)},
    }
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    return {"id": "c", "object": "text_completion", "model": "m", "choices": [values | choice], "usage": usage}


def calling(*calls: tuple[str, str], text: str | None = None) -> Any:
    """A reply with calls of (name, arguments)."""
    written = [
        {"id": f"id-{name}-{index}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for index, (name, arguments) in enumerate(calls)
    ]
    return answer(chat_reply(text, finish="tool_calls", tool_calls=written))


def answer(body: Any, status: int = 200, **headers: str) -> httpx2.Response:
    """A response; ``body`` is bytes, or anything that JSON can spell."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    fields = [(name.encode(), value.encode()) for name, value in ({"content-type": "application/json"} | named).items()]
    return httpx2.Response(status, headers=fields, stream=httpx2.ByteStream(content))


class Answers(httpx2.AsyncBaseTransport):
    """Gives its answers one after another, then the last one again; raises those that are exceptions."""

    def __init__(self, *answers: Answer | Callable[[httpx2.Request], Answer]) -> None:
        self.waiting = deque(answers)
        self.seen: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request)
        given = self.waiting.popleft() if len(self.waiting) > 1 else self.waiting[0]
        given = given if isinstance(given, httpx2.Response | Exception) else given(request)
        if isinstance(given, Exception):
            raise given
        return httpx2.Response(given.status_code, headers=given.headers, stream=given.stream)


class BytesPrompt:
    """Renders a conversation as the bytes of its text, in place of a tokenizer."""

    def ids(self, messages: Sequence[Message]) -> list[int]:
        return list("".join(message.content for message in messages).encode())

    def continued(self, prompt: str | Sequence[Message], texts: Sequence[str]) -> list[list[int]]:
        begun = prompt if isinstance(prompt, str) else "".join(message.content for message in prompt)
        return [list(f"{begun}{text}".encode()) for text in texts]


def engine_on(transport: httpx2.AsyncBaseTransport, *, tokens: bool = False, **settings: Any) -> OpenAIEngine:
    """The client of a server that answers through ``transport``; with ``tokens``, on the route of token ids."""
    engine = OpenAIEngine("e", settings.pop("urls", [URL]), "m", transport=transport, **{"retries": 0} | settings)
    if tokens:
        engine._prompt = BytesPrompt()  # type: ignore[assignment]
    return engine


class NoKernels:
    """A kernel source whose cells print 1."""

    tier = "none"

    async def acquire(self, tools: Any) -> NoKernels:
        return self

    async def run(self, code: str, timeout_s: float | None = None) -> CellResult:
        return CellResult(status="ok", stdout="1\n")

    async def close(self) -> None: ...


@contextmanager
def http_server(handle: Callable[[str, dict[str, str], bytes], tuple[int, bytes]]) -> Iterator[str]:
    """A server in a thread; yields its base URL.

    Args:
        handle: (path, headers in lower case, body) of a GET or POST → status and JSON body.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"] or 0))
            status, reply = handle(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
