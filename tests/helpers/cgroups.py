"""The cgroups of a process's pools."""

import os
from pathlib import Path


def cgroups_of(owner: int) -> list[Path]:
    """Their folders in every hierarchy. Other processes may remove theirs at the same time."""
    return [
        Path(parent, name)
        for parent, names, _ in os.walk("/sys/fs/cgroup")
        for name in names
        if name.startswith(f"codeact-{owner}-")
    ]
