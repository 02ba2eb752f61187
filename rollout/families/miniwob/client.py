"""Pages in progress, in browsers that processes of their own hold (:mod:`rollout.families.miniwob.host`).

Contract: an episode has a browser for itself. When it ends well, the next episode of this process gets that browser and
loads its own page there, so there are as many browsers as episodes at the same time. A browser that dies, hangs or does
not start is an ``EnvironmentFault`` of the kind ``infra``, and is never used again. Browsers end with this process,
however that ends. Safe to use from several threads.

Cost: a browser takes about 2 s to start and some 200 MiB; a page is loaded in 0.1 s, and an action takes 0.1 s.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from rollout.environment import EnvironmentFault
from rollout.families.data import MissingDataError
from rollout.families.miniwob.installed import installed

START_S = 150.0
"""Longest wait for a browser that starts, many at once on few cores included."""
REPLY_S = 45.0
PAGES_OF_A_BROWSER = 200
"""A browser is replaced after so many pages, because its memory grows."""
_MESSAGE = 2**20
_HOST = Path(__file__).with_name("host.py")


class Browser:
    """A browser in a process of its own."""

    def __init__(self) -> None:
        """Starts the process, and returns while the browser starts. Raises MissingDataError as :func:`installed`."""
        parts = installed()
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sock.settimeout(START_S)
        self.pages = 0
        with theirs:
            arguments = [str(theirs.fileno()), parts.chromium, parts.driver, str(parts.pages)]
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_HOST), *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the worker
            )

    def wait(self) -> None:
        """Waits until it has started. Raises EnvironmentFault."""
        self._read()
        self._sock.settimeout(REPLY_S)

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """The reply to a message. Raises EnvironmentFault when the browser has failed."""
        try:
            self._sock.send(json.dumps(message).encode())
        except OSError as error:
            raise EnvironmentFault("infra", f"the browser does not answer: {error!r}") from None
        return self._read()

    def close(self) -> None:
        """Ends the browser, also in the middle of a call; does not wait for its end."""
        with suppress(OSError):  # wakes a thread that waits for a reply
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        threading.Thread(target=self._process.wait, name="browser-ends", daemon=True).start()

    def _read(self) -> dict[str, Any]:
        try:
            data = self._sock.recv(_MESSAGE)
        except OSError as error:
            raise EnvironmentFault("infra", f"the browser does not answer: {error!r}") from None
        reply: dict[str, Any] = json.loads(data) if data else {"fault": "the process of the browser has ended"}
        if "fault" in reply:
            raise EnvironmentFault("infra", str(reply["fault"]))
        return reply


class _Idle:
    """The browsers of this process that no episode uses. A forked child starts its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner, self._browsers = 0, list[Browser]()

    def take(self) -> Browser | None:
        with self._lock:
            return self._browsers.pop() if self._owner == os.getpid() and self._browsers else None

    def give(self, browser: Browser) -> None:
        with self._lock:
            if self._owner != os.getpid():
                self._owner, self._browsers = os.getpid(), []
            self._browsers.append(browser)

    def close(self) -> None:
        while (browser := self.take()) is not None:
            browser.close()


_IDLE = _Idle()


def close_idle_browsers() -> None:
    """Ends the browsers that no episode uses."""
    _IDLE.close()


class RunningPage:
    """The page of one episode."""

    def __init__(self, page: str, seed: str) -> None:
        """Opens the page and starts its task; blocks for as long as that takes.

        Raises:
            EnvironmentFault: no browser shows it.
        """
        self._lock = threading.Lock()
        self.done, self.reward = False, 0.0
        self.text = ""
        """What the page asks for and its HTML, since the last action."""
        self.fault: EnvironmentFault | None = None
        """Why the page cannot go on."""
        self._browser, reply = _opened(page, seed)
        self._take(reply)

    def act(self, do: str, element: int | str | None = None, text: str = "") -> str:
        """Does one thing, and returns what the page shows then.

        Raises:
            ValueError: it cannot be done.
            EnvironmentFault: the browser has failed.
        """
        with self._lock:
            if self.fault is not None:
                raise self.fault
            if self.done:
                return self.text
            try:
                reply = self._browser.ask({"do": do, "element": element, "text": text})
            except EnvironmentFault as fault:
                self.fault = fault
                raise
            if "error" in reply:
                raise ValueError(reply["error"])
            self._take(reply)
            return self.text

    def verdict(self) -> tuple[bool, float]:
        """Whether the page has ended the task, and its reward. Waits for a running action. Raises EnvironmentFault."""
        with self._lock:
            if self.fault is not None:
                raise self.fault
            return self.done, self.reward

    def close(self) -> None:
        """Gives the browser to the next episode; ends it when it has failed or is busy."""
        free = self._lock.acquire(blocking=False)
        if free and self.fault is None and self._browser.pages < PAGES_OF_A_BROWSER:
            self.fault = EnvironmentFault("infra", "the episode of this page has ended")
            _IDLE.give(self._browser)
        else:
            self._browser.close()
        if free:
            self._lock.release()

    def _take(self, reply: dict[str, Any]) -> None:
        self.done, self.reward = bool(reply["done"]), float(reply["reward"])
        self.text = "The page has ended the task." if self.done else f"{reply['asks']}\n{reply['html']}"


def _opened(page: str, seed: str) -> tuple[Browser, dict[str, Any]]:
    """A browser that shows a page. One that has died since its last episode is replaced."""
    if (browser := _IDLE.take()) is not None:
        with suppress(EnvironmentFault):
            return browser, _open(browser, page, seed)
    try:
        browser = Browser()
    except MissingDataError as error:  # on another machine than the one that has loaded the tasks
        raise EnvironmentFault("infra", str(error)) from None
    try:
        browser.wait()
    except EnvironmentFault:
        browser.close()
        raise
    return browser, _open(browser, page, seed)


def _open(browser: Browser, page: str, seed: str) -> dict[str, Any]:
    browser.pages += 1
    try:
        reply = browser.ask({"page": page, "seed": seed})
        if "error" in reply:
            raise EnvironmentFault("infra", f"the page {page} does not open: {reply['error']}")
    except EnvironmentFault:
        browser.close()
        raise
    return reply
