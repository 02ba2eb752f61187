"""Episodes: tasks × models × kernels → trajectories, run on Ray; and the selection of training records.

Contract: these names are what other rooms use. They are imported on first use, so that reading a configuration imports
neither Ray nor torch. Model servers are in :mod:`rollout.servers`, clients of models in :mod:`rollout.engines`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rollout.collect import (
        collect_trajectories,
        is_complete,
        lost_sentence,
        run_missing,
    )
    from rollout.config import (
        CollectConfig,
        JudgeConfig,
        Source,
        WorkerConfig,
    )
    from rollout.costs import (
        CollectionPlan,
        MissingData,
        bank_table,
        plan_collection,
        read_prices,
    )
    from rollout.environment import (
        Action,
        Budget,
        Environment,
        EnvironmentFault,
        Observation,
        ended,
    )
    from rollout.episode import (
        open_environment,
        run_episode,
    )
    from rollout.example_runs import (
        run_examples,
    )
    from rollout.exports import (
        export_bank,
    )
    from rollout.families import (
        Demonstration,
        Task,
        TaskSet,
        Toolset,
        load_tasks,
    )
    from rollout.families.data import (
        DataFamily,
        DataRoot,
        DataSource,
        FamilyInfo,
        Refused,
    )
    from rollout.files import (
        atomic_file,
        write_atomically,
    )
    from rollout.kernel_source import (
        EpisodeKernel,
        KernelSource,
        open_kernel_source,
    )
    from rollout.planning import (
        Collection,
        judge_for,
    )
    from rollout.protocol import (
        EpisodeProtocol,
    )
    from rollout.registry import (
        ENGINES,
        GRADERS,
        KERNEL_SOURCES,
        TASK_FAMILIES,
        Registry,
    )
    from rollout.regrade import (
        TaskReferences,
        regrade_bank,
    )
    from rollout.select import (
        CountTokens,
        SelectConfig,
        language_of,
        select_records,
        token_table,
    )
    from rollout.store import (
        TrajectoryStore,
        read_trajectories,
        verify_bank,
    )
    from rollout.trajectory import (
        Message,
        Outcome,
        ProtocolRef,
        Reason,
        Sampling,
        StoredModel,
        TaskRef,
        Trajectory,
        digest_of,
    )
    from rollout.workers import (
        EpisodeJob,
        ray_session,
    )

_MODULES = {
    "Action": "environment",
    "Budget": "environment",
    "CollectConfig": "config",
    "Collection": "planning",
    "CollectionPlan": "costs",
    "CountTokens": "select",
    "DataFamily": "families.data",
    "DataRoot": "families.data",
    "DataSource": "families.data",
    "Demonstration": "families",
    "ENGINES": "registry",
    "Environment": "environment",
    "EnvironmentFault": "environment",
    "EpisodeJob": "workers",
    "EpisodeKernel": "kernel_source",
    "EpisodeProtocol": "protocol",
    "FamilyInfo": "families.data",
    "GRADERS": "registry",
    "JudgeConfig": "config",
    "KERNEL_SOURCES": "registry",
    "KernelSource": "kernel_source",
    "Message": "trajectory",
    "MissingData": "costs",
    "Observation": "environment",
    "Outcome": "trajectory",
    "ProtocolRef": "trajectory",
    "Reason": "trajectory",
    "Refused": "families.data",
    "Registry": "registry",
    "Sampling": "trajectory",
    "SelectConfig": "select",
    "Source": "config",
    "StoredModel": "trajectory",
    "TASK_FAMILIES": "registry",
    "Task": "families",
    "TaskRef": "trajectory",
    "TaskReferences": "regrade",
    "TaskSet": "families",
    "Toolset": "families",
    "Trajectory": "trajectory",
    "TrajectoryStore": "store",
    "WorkerConfig": "config",
    "atomic_file": "files",
    "bank_table": "costs",
    "collect_trajectories": "collect",
    "digest_of": "trajectory",
    "ended": "environment",
    "export_bank": "exports",
    "is_complete": "collect",
    "judge_for": "planning",
    "language_of": "select",
    "load_tasks": "families",
    "lost_sentence": "collect",
    "open_environment": "episode",
    "open_kernel_source": "kernel_source",
    "plan_collection": "costs",
    "ray_session": "workers",
    "read_prices": "costs",
    "read_trajectories": "store",
    "regrade_bank": "regrade",
    "run_episode": "episode",
    "run_examples": "example_runs",
    "run_missing": "collect",
    "select_records": "select",
    "token_table": "select",
    "verify_bank": "store",
    "write_atomically": "files",
}
__all__ = [
    "ENGINES",
    "GRADERS",
    "KERNEL_SOURCES",
    "TASK_FAMILIES",
    "Action",
    "Budget",
    "CollectConfig",
    "Collection",
    "CollectionPlan",
    "CountTokens",
    "DataFamily",
    "DataRoot",
    "DataSource",
    "Demonstration",
    "Environment",
    "EnvironmentFault",
    "EpisodeJob",
    "EpisodeKernel",
    "EpisodeProtocol",
    "FamilyInfo",
    "JudgeConfig",
    "KernelSource",
    "Message",
    "MissingData",
    "Observation",
    "Outcome",
    "ProtocolRef",
    "Reason",
    "Refused",
    "Registry",
    "Sampling",
    "SelectConfig",
    "Source",
    "StoredModel",
    "Task",
    "TaskRef",
    "TaskReferences",
    "TaskSet",
    "Toolset",
    "Trajectory",
    "TrajectoryStore",
    "WorkerConfig",
    "atomic_file",
    "bank_table",
    "collect_trajectories",
    "digest_of",
    "ended",
    "export_bank",
    "is_complete",
    "judge_for",
    "language_of",
    "load_tasks",
    "lost_sentence",
    "open_environment",
    "open_kernel_source",
    "plan_collection",
    "ray_session",
    "read_prices",
    "read_trajectories",
    "regrade_bank",
    "run_episode",
    "run_examples",
    "run_missing",
    "select_records",
    "token_table",
    "verify_bank",
    "write_atomically",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
