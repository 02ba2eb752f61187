"""Protocols by name: the YAML files of :data:`LIBRARY`, and files of one's own.

Contract: :func:`protocol_values` returns the keys of a file, merged over those of the protocol that it ``extends``.
A name without a suffix is a shipped protocol; anything else is a path, relative to the current folder. Nothing is
checked here except that the file is a mapping; :class:`rollout.protocol.EpisodeProtocol` checks the keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

LIBRARY = Path(__file__).with_name("library")


def protocol_names() -> list[str]:
    """The shipped protocols, sorted."""
    return sorted(path.stem for path in LIBRARY.glob("*.yaml"))


def protocol_values(values: Any, extending: tuple[str, ...] = ()) -> Any:
    """The keys that a protocol's name or mapping stands for. Values of another type are returned as they are.

    Raises:
        ValueError: there is no such protocol, its file is not a mapping, or it extends itself.
    """
    if isinstance(values, str):
        return protocol_values(_read(values, extending), (*extending, values))
    if not isinstance(values, dict) or "extends" not in values:
        return values
    own = dict(values)
    base = own.pop("extends")
    if not isinstance(base, str):
        raise ValueError(f"protocol.extends: {base!r} is not the name of a protocol; choose from: {_known()}")
    return {**protocol_values(base, extending), **own}


def _read(name: str, extending: tuple[str, ...]) -> dict[str, Any]:
    if name in extending:
        raise ValueError(f"protocol.extends: {' → '.join((*extending, name))} is a circle; remove one of these keys")
    shipped = LIBRARY / f"{name}.yaml"
    path = shipped if name in protocol_names() else Path(name).expanduser()
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise ValueError(
            f"protocol: {name!r} is neither a shipped protocol nor a file; choose from: {_known()}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"protocol: {path} is not YAML: {' '.join(str(error).split())}; correct the file") from None
    if not isinstance(values, dict):
        raise ValueError(f"protocol: {path} is not a mapping; write keys such as `max_steps: 5`")
    return {str(key): value for key, value in values.items()}


def _known() -> str:
    return ", ".join(protocol_names())
