"""Checks on a laptop that all layouts train the same: toy models, real processes, the trainer's code.

``layouts`` compares every layout with one process that trains document by document; ``cases`` lists the layouts,
``toy_models`` makes models and corpus, ``processes`` runs them, ``reference_loop`` is the independent trainer among
them. Other rooms use the names below, which are imported on first use because they need torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codeact_train.parity.layouts import TOLERANCE as TOLERANCE
    from codeact_train.parity.layouts import Report as Report
    from codeact_train.parity.layouts import Verdict as Verdict
    from codeact_train.parity.layouts import compare as compare

__all__ = ["TOLERANCE", "Report", "Verdict", "compare"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.layouts"), name)
