"""What MiniWoB++ needs on this machine: the pages of the package ``miniwob``, selenium, Chromium and its driver."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rollout.families.data import MissingDataError

CHROMIUM, DRIVER = "MINIWOB_CHROME_BINARY", "MINIWOB_CHROMEDRIVER"
"""Environment variables of the package ``miniwob``; without them the programs are looked for in the path."""
_NAMES = {
    CHROMIUM: ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    DRIVER: ("chromedriver", "chromium.chromedriver"),
}
INSTALL = (
    "tasks.family: miniwob needs {}; install what it needs: pip install 'codeact[miniwob]' and, on Debian, apt-get "
    "install chromium chromium-driver"
)


@dataclass(frozen=True)
class Installed:
    """Paths of the two programs and of the folder with the pages."""

    chromium: str
    driver: str
    pages: Path


def installed() -> Installed:
    """Finds everything. Imports nothing.

    Raises:
        MissingDataError: something is not on this machine; its message says how to install it.
    """
    package = find_spec("miniwob")
    places = package.submodule_search_locations if package else None
    if not places:
        raise MissingDataError(INSTALL.format("the package miniwob"))
    if find_spec("selenium") is None:
        raise MissingDataError(INSTALL.format("the package selenium"))
    return Installed(_program(CHROMIUM), _program(DRIVER), Path(places[0], "html", "miniwob"))


def _program(variable: str) -> str:
    """The path of a program."""
    chosen = os.environ.get(variable)
    found = next(filter(None, map(shutil.which, [chosen] if chosen else _NAMES[variable])), None)
    if found is None and chosen:
        raise MissingDataError(f"{variable}={chosen}: there is no such program; set it to a path or take it out")
    if found is None:
        raise MissingDataError(INSTALL.format("Chromium" if variable == CHROMIUM else "the driver of Chromium"))
    return found
