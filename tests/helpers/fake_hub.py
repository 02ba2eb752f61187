"""A small Hugging Face hub on the loopback address: data sets, commits, files. Enough for the client's push and pull.

Everything is in memory. ``refuse`` makes it answer each request with that status; ``requests`` lists method and path.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class FakeHub:
    """The state of the hub: data set → files of its newest commit."""

    def __init__(self) -> None:
        self.data_sets: dict[str, dict[str, bytes]] = {}
        self.commits: list[str] = []
        self.requests: list[tuple[str, str]] = []
        self.refuse: int | None = None
        self.url = ""

    @property
    def revision(self) -> str:
        """The newest commit."""
        return hashlib.sha1(repr(self.commits).encode()).hexdigest()

    def commit(self, name: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
        """Applies the operations of a commit."""
        files = self.data_sets[name]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            else:
                assert line["key"] == "header", line
                self.commits.append(value["summary"])
        return {
            "commitUrl": f"{self.url}/datasets/{name}/commit/{self.revision}",
            "commitOid": self.revision,
            "pullRequestUrl": None,
        }

    def tree(self, name: str) -> list[dict[str, Any]]:
        """Every file, as the API lists them."""
        found = self.data_sets[name].items()
        return [{"type": "file", "path": path, "size": len(data), "oid": _digest(data)} for path, data in found]


def _digest(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Runs a hub."""
    hub = FakeHub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: FakeHub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or self._chunked()
        self._answer(lambda path: self._post(path, body))

    def do_GET(self) -> None:
        self._answer(self._get)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing."""

    def _chunked(self) -> bytes:
        whole = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return whole

    def _answer(self, route: Any) -> None:
        path = unquote(urlsplit(self.path).path)
        self.state.requests.append((self.command, path))
        if self.state.refuse is not None:
            self._send(self.state.refuse, {"error": "the hub refuses"})
            return
        try:
            status, content = route(path)
        except KeyError:
            status, content = 404, {"error": "Repository not found"}
        self._send(status, content)

    def _post(self, path: str, body: bytes) -> tuple[int, Any]:
        hub = self.state
        if path == "/api/repos/create":
            given = json.loads(body)
            name = f"{given['organization']}/{given['name']}" if given.get("organization") else given["name"]
            hub.data_sets.setdefault(name, {})
            return 200, {"url": f"{hub.url}/datasets/{name}", "id": name, "name": name}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        _, _, kind, owner, name, verb, *_ = path.split("/")
        assert kind == "datasets", path
        if verb == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return 200, {"files": files}
        assert verb == "commit", path
        return 200, hub.commit(f"{owner}/{name}", [json.loads(line) for line in body.splitlines()])

    def _get(self, path: str) -> tuple[int, Any]:
        hub, parts = self.state, path.strip("/").split("/")
        if parts[:2] == ["api", "datasets"]:
            name = "/".join(parts[2:4])
            tree = hub.tree(name)
            if parts[4:5] == ["tree"]:
                return 200, tree
            siblings = [{"rfilename": entry["path"]} for entry in tree]
            return 200, {"id": name, "sha": hub.revision, "siblings": siblings, "private": False, "tags": []}
        name, file = "/".join(parts[1:3]), "/".join(parts[5:])
        assert parts[0] == "datasets" and parts[3] == "resolve", path
        return 200, hub.data_sets[name][file]

    def _send(self, status: int, content: Any) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if data is not content else "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{_digest(data)}"')
        self.send_header("X-Repo-Commit", self.state.revision)
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
