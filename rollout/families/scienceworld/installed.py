"""What ScienceWorld needs on this machine: the package ``scienceworld``, which has the simulator, and Java."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rollout.families.data import MissingDataError

INSTALL = (
    "tasks.family: scienceworld needs {}; install what it needs: pip install 'codeact[scienceworld]' and, on Debian, "
    "apt-get install default-jre-headless"
)


@dataclass(frozen=True)
class Installed:
    """The program ``java`` and the file of the simulator."""

    java: str
    simulator: Path


def installed() -> Installed:
    """Finds both. Imports nothing.

    Raises:
        MissingDataError: something is not on this machine; its message says how to install it.
    """
    package = find_spec("scienceworld")
    places = package.submodule_search_locations if package else None
    if not places or find_spec("py4j") is None:
        raise MissingDataError(INSTALL.format("the package scienceworld"))
    home = os.environ.get("JAVA_HOME")
    java = (shutil.which("java", path=str(Path(home, "bin"))) if home else None) or shutil.which("java")
    if java is None:
        raise MissingDataError(INSTALL.format("Java"))
    return Installed(java, Path(places[0], "scienceworld.jar"))
