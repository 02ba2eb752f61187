"""The option ``--plan`` of ``codeact collect``. Imports neither torch nor Ray."""

from __future__ import annotations

import json
from pathlib import Path

from launch.config import LoopConfig
from launch.plan.collection import make_collection_plan, show_collection_plan


def check_options(*, plan: bool, of_plan: dict[str, bool]) -> None:
    """Refuses options of ``codeact collect`` that have no effect without ``--plan``."""
    idle = [option for option, given in of_plan.items() if given]
    if idle and not plan:
        raise ValueError(f"collect: {', '.join(idle)} needs --plan; add --plan, or remove it to collect")


def plan_collection(config: LoopConfig, prices: Path | None, *, as_json: bool) -> None:
    """Prints the plan of a collection."""
    made = make_collection_plan(config, prices)
    if as_json:
        print(json.dumps(made.as_json(), indent=1))
    else:
        show_collection_plan(made)
