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
    from eval.export import (
        ExportOptions,
        export_files,
        export_table,
    )
    from eval.paper import (
        paper_tables,
    )
    from eval.pass_at_k import (
        pass_of,
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
    from eval.scale import (
        ScoreScale,
    )
    from eval.scores import (
        mean_score,
    )
    from eval.study.actions import (
        ActionStudy,
    )
    from eval.study.config import (
        StudyConfig,
    )
    from eval.study.measure import (
        measure_actions,
    )
    from eval.sweep import (
        evaluate_checkpoints,
        evaluate_servers,
    )
    from eval.tables import (
        Table,
        render_tables,
    )

_MODULES = {
    "ActionStudy": "study.actions",
    "BENCHMARKS": "benchmarks",
    "Benchmark": "benchmarks",
    "BenchmarkSpec": "benchmarks.spec",
    "CheckpointRef": "results",
    "EvalResult": "results",
    "EvaluateConfig": "config",
    "ExportOptions": "export",
    "ScoreScale": "scale",
    "StudyConfig": "study.config",
    "Table": "tables",
    "evaluate_checkpoints": "sweep",
    "evaluate_servers": "sweep",
    "export_files": "export",
    "export_table": "export",
    "mean_score": "scores",
    "measure_actions": "study.measure",
    "paper_tables": "paper",
    "pass_of": "pass_at_k",
    "read_results": "results",
    "render_tables": "tables",
    "terminal_report": "report",
    "write_report": "report",
}
__all__ = [
    "BENCHMARKS",
    "ActionStudy",
    "Benchmark",
    "BenchmarkSpec",
    "CheckpointRef",
    "EvalResult",
    "EvaluateConfig",
    "ExportOptions",
    "ScoreScale",
    "StudyConfig",
    "Table",
    "evaluate_checkpoints",
    "evaluate_servers",
    "export_files",
    "export_table",
    "mean_score",
    "measure_actions",
    "paper_tables",
    "pass_of",
    "read_results",
    "render_tables",
    "terminal_report",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
