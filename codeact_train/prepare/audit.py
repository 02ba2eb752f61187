from pathlib import Path


def write_audit(folder: Path) -> None: ...
