"""Evaluation: benchmarks, the sweep over checkpoints, statistics and the report of a run.

Contract: these names are what other rooms use. They are imported on first use, so that reading a configuration imports
neither Ray nor torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eval.benchmarks import (
        BENCHMARKS,
        Benchmark,
    )
    from eval.benchmarks.spec import (
        BenchmarkSpec,
    )
    from eval.config import (
        EvaluateConfig,
    )
    from eval.report import (
        terminal_report,
        write_report,
    )
    from eval.results import (
        CheckpointRef,
        EvalResult,
        read_results,
    )
    from eval.sweep import (
        evaluate_checkpoints,
        evaluate_servers,
    )

_MODULES = {
    "BENCHMARKS": "benchmarks",
    "Benchmark": "benchmarks",
    "BenchmarkSpec": "benchmarks.spec",
    "CheckpointRef": "results",
    "EvalResult": "results",
    "EvaluateConfig": "config",
    "evaluate_checkpoints": "sweep",
    "evaluate_servers": "sweep",
    "read_results": "results",
    "terminal_report": "report",
    "write_report": "report",
}
__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "BenchmarkSpec",
    "CheckpointRef",
    "EvalResult",
    "EvaluateConfig",
    "evaluate_checkpoints",
    "evaluate_servers",
    "read_results",
    "terminal_report",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
