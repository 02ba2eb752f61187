"""The process that owns a browser: ``python -P host.py DESCRIPTOR CHROMIUM DRIVER PAGES``.

Started by :mod:`rollout.families.miniwob.client`, by its path, so that it imports selenium and nothing of ours. It
has a network of its own without any interface but its loopback, where the kernel of the system allows that: the browser
reaches nothing, and nothing but this process reaches the driver. The browser ends with this process, and this process
when the other end of its socket is closed, also in the middle of a call: nothing is left after a killed worker. The
profile is in a locked folder below the temporary folder; a start removes folders whose lock is free.

Messages are JSON, one a packet. After the start: ``{}`` or ``{"fault": sentence}``. ``{"page", "seed"}`` opens the page
of a task and starts it; ``{"do", "element", "text"}`` acts on it. Each is answered with ``{"asks", "html", "done",
"reward"}``, with ``{"error"}`` for an action that cannot be done, or with ``{"fault"}`` when the browser has failed.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common import exceptions as failures
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

MESSAGE = 2**20
PAGE_S = 30
"""Longest load of a page, and longest script."""
FOLDER = "codeact-miniwob-"
KEYS = {
    "enter": Keys.ENTER, "tab": Keys.TAB, "backspace": Keys.BACKSPACE, "delete": Keys.DELETE, "escape": Keys.ESCAPE,
    "space": " ", "up": Keys.ARROW_UP, "down": Keys.ARROW_DOWN, "left": Keys.ARROW_LEFT, "right": Keys.ARROW_RIGHT,
    "home": Keys.HOME, "end": Keys.END, "pageup": Keys.PAGE_UP, "pagedown": Keys.PAGE_DOWN,
}  # fmt: skip
FLAGS = (
    "--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage", "--lang=en-US",
    "--window-size=500,500",
    "--force-device-scale-factor=1", "--no-first-run", "--disable-extensions", "--disable-background-networking",
    "--disable-component-update", "--disable-default-apps", "--disable-sync", "--disable-breakpad", "--mute-audio",
    "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9", "--proxy-bypass-list=<-loopback>",
    "--disable-features=Translate,MediaRouter,OptimizationHints,AutofillServerCommunication",
)  # fmt: skip
REFUSED = (
    failures.NoSuchElementException, failures.InvalidSelectorException, failures.InvalidElementStateException,
    failures.ElementClickInterceptedException, failures.StaleElementReferenceException,
    failures.MoveTargetOutOfBoundsException, failures.UnexpectedTagNameException, ValueError,
)  # fmt: skip
"""What a wrong action raises. Everything else is a failure of the browser."""
_SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
_MOMENT = "return new Promise(done => setTimeout(done, 20))"
_LIBC = ctypes.CDLL(None, use_errno=True)
_NEWUSER, _NEWNET, _PDEATHSIG, _SUBREAPER = 0x10000000, 0x40000000, 1, 36
_SIOCSIFFLAGS, _UP = 0x8914, 0x1 | 0x40


def main() -> None:
    """Serves the socket with the number in the arguments until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker decides when this process ends
    descriptor, chromium, driver, pages = sys.argv[1:]
    _leave_the_network()  # before there is a second thread
    _LIBC.prctl(_SUBREAPER, 1, 0, 0, 0)
    control, folder = socket.socket(fileno=int(descriptor)), _own_folder()
    ending = threading.Thread(target=_end_with, args=(control, folder))
    ending.start()
    try:
        browser = Browser(_started(chromium, driver, folder), Path(pages))
    except Exception as error:
        _answer(control, {"fault": f"Chromium does not start: {_sentence(error)}"})
    else:
        _answer(control, {})
        with suppress(OSError):
            _serve(control, browser)
    ending.join()


def _serve(control: socket.socket, browser: Browser) -> None:
    """Answers messages until the socket is closed."""
    while data := control.recv(MESSAGE):
        message = json.loads(data)
        try:
            reply = browser.open(**message) if "page" in message else browser.act(**message)
        except REFUSED as error:
            reply = {"error": _sentence(error)}
        except Exception as error:
            reply = {"fault": f"the browser has failed: {_sentence(error)}"}
        _answer(control, reply)


class Browser:
    """A browser with one page at a time."""

    def __init__(self, driver: webdriver.Chrome, pages: Path) -> None:
        self._driver, self._pages = driver, pages
        self._address = ""

    def open(self, page: str, seed: str) -> dict[str, Any]:
        """Loads the page of a task and starts the task."""
        self._address = (self._pages / f"{page}.html").as_uri()
        self._driver.get(self._address)
        return self._observe(seed)

    def act(self, do: str, element: int | str | None = None, text: str = "") -> dict[str, Any]:
        """Does one thing: look, click, hover, type, press, choose. Raises one of :data:`REFUSED`."""
        if any("\ue000" <= char <= "\uf8ff" or char > "\uffff" for char in text):
            raise ValueError("this text has characters that no key has")
        if do == "click":
            self._click(self._find(element))
        elif do == "hover":
            self._hover(self._find(element))
        elif do == "type":
            self._type(element, text)
        elif do == "press":
            self._keys(_key(text))
        elif do == "choose":
            Select(self._find(element)).select_by_visible_text(text)
        return self._observe(None)

    def _click(self, element: WebElement) -> None:
        if element.tag_name != "option":  # of a closed list, over which no mouse can be
            self._hover(element)
            self._driver.execute_script(_MOMENT)  # an icon that changes under the mouse has no size while it loads
        element.click()

    def _hover(self, element: WebElement) -> None:
        ActionChains(self._driver, duration=0).move_to_element(element).perform()

    def _type(self, element: int | str | None, text: str) -> None:
        if element is None:
            self._keys(text)
        else:
            self._find(element).send_keys(text)

    def _keys(self, keys: str) -> None:
        """Key presses on what has the focus."""
        ActionChains(self._driver, duration=0).send_keys(keys).perform()

    def _find(self, element: int | str | None) -> WebElement:
        """An element by its ref or by XPath. Raises ValueError when there is none."""
        if isinstance(element, str) and not element.strip().isdecimal():
            return self._driver.find_element(By.XPATH, element)
        found = self._driver.execute_script("return refs.at.get(arguments[0]) || null", int(element or 0))
        if not isinstance(found, WebElement):
            raise ValueError(f"no element has the ref {element}; look() shows the refs")
        return found

    def _observe(self, seed: str | None) -> dict[str, Any]:
        seen = self._driver.execute_script(_SCRIPT, self._address, seed)
        if seen is None:  # a link in what was typed
            return {"asks": "", "html": "", "done": True, "reward": -1.0}
        return dict(zip(("asks", "html", "done", "reward"), seen, strict=True))


def _key(name: str) -> str:
    plain = name.strip().lower().removeprefix("arrow") or name
    if plain not in KEYS and len(name) != 1:
        raise ValueError(f"there is no key {name!r}; keys are single characters and {', '.join(KEYS)}")
    return KEYS.get(plain, name)


def _started(chromium: str, driver: str, folder: Path) -> webdriver.Chrome:
    options = Options()
    options.binary_location = chromium
    options.unhandled_prompt_behavior = "dismiss"
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium refuses to start its own sandbox as root
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "SE_"))}
    own = dict.fromkeys(("TMPDIR", "HOME"), str(folder)) | {"TZ": "UTC", "LANG": "C.UTF-8", "LANGUAGE": "en"}
    service = Service(driver, env=kept | own, popen_kw={"preexec_fn": _end_with_parent})
    started = webdriver.Chrome(options, service)
    started.set_page_load_timeout(PAGE_S)
    started.set_script_timeout(PAGE_S)
    return started


def _end_with_parent() -> None:
    """The driver ends with this process, and Chromium with the driver, since they talk over a pipe."""
    _LIBC.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _end_with(control: socket.socket, folder: Path) -> None:
    """Waits until the other end of the socket is closed; then ends the browser and this process."""
    poll = select.poll()
    poll.register(control, select.POLLHUP)
    poll.poll()
    with suppress(ChildProcessError):
        while True:  # the children of a process that was killed become those of this one
            for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)
            os.waitpid(-1, 0)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _own_folder() -> Path:
    """A new folder, locked while this process runs. Removes those of killed processes."""
    for left in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        with suppress(OSError), (left / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=FOLDER))
    held = os.open(folder / "lock.new", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    (folder / "lock.new").rename(folder / "lock")  # never seen without its lock
    return folder


def _leave_the_network() -> None:
    """A network of this process and its children, with a loopback only; the present one where that is not allowed."""
    user, group = os.geteuid(), os.getegid()
    if _LIBC.unshare(_NEWNET) != 0:
        if _LIBC.unshare(_NEWUSER | _NEWNET) != 0:
            return
        for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path("/proc/self", name).write_text(line)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as some:
        fcntl.ioctl(some, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _UP))


def _sentence(error: Exception) -> str:
    """The first line of an error, without the driver's stack."""
    text = getattr(error, "msg", None) or str(error) or type(error).__name__
    return text.splitlines()[0].removeprefix("Message: ")[:300]


def _answer(control: socket.socket, reply: dict[str, Any]) -> None:
    control.send(json.dumps(reply).encode())


if __name__ == "__main__":
    main()
