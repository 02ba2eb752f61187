"""The word ``run`` in ``evaluate.base_protocols``: it stands for the protocol of the run.

Contract: pure. ``{extends: run, example: every}`` becomes the keys of the run's protocol with the given ones changed,
under a name of its own, so that results say what they were measured with. What cannot be read is returned as it is, and
the check of its own section names the error.
"""

from __future__ import annotations

from typing import Any

from rollout import EpisodeProtocol


def with_run_protocol(values: Any) -> Any:
    """The values of a configuration with ``extends: run`` replaced."""
    evaluate = values.get("evaluate") if isinstance(values, dict) else None
    listed = evaluate.get("base_protocols") if isinstance(evaluate, dict) else None
    if not isinstance(evaluate, dict) or not isinstance(listed, list | tuple):
        return values
    try:
        run = EpisodeProtocol.model_validate(values.get("protocol", {})).model_dump()
    except ValueError:  # reported for the key `protocol`
        return values
    return {**values, "evaluate": {**evaluate, "base_protocols": [_changed(one, run) for one in listed]}}


def _changed(one: Any, run: dict[str, Any]) -> Any:
    if not isinstance(one, dict) or one.get("extends") != "run":
        return one
    own = {key: value for key, value in one.items() if key != "extends"}
    name = f"{run['name']}, {'with an example' if own.get('example') else 'changed'}"
    return {**run, "name": name, **own}
