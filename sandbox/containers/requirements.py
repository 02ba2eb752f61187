"""What an image installs: ``python -m sandbox.containers.requirements`` prints it for pip.

Contract: the requirements of the sandbox, its service and the command alone, from the metadata of the installed
project (the extra ``sandbox`` of setup.py), so no second list has to be kept. The project itself must be installed,
without its dependencies.
"""

from __future__ import annotations

from importlib.metadata import requires

EXTRA = 'extra == "sandbox"'


def requirements() -> list[str]:
    """Names and ranges; the versions that were tested together are in constraints.txt."""
    return [text.partition(";")[0].strip() for text in requires("codeact") or () if EXTRA in text.replace("'", '"')]


if __name__ == "__main__":
    print("\n".join(requirements()))
