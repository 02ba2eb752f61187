"""Episodes: tasks × models × kernels → trajectories, run on Ray; and the selection of training records.

Contract: these names are what other rooms use. They are imported on first use, so that reading a configuration imports
neither Ray nor torch. Model servers are in :mod:`rollout.servers`, clients of models in :mod:`rollout.engines`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rollout.bank.files import (
        atomic_file,
        write_atomically,
    )
    from rollout.bank.store import (
        TrajectoryStore,
        read_trajectories,
        verify_bank,
    )
    from rollout.bank.trajectory import (
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
    from rollout.checks.example_runs import (
        run_examples,
    )
    from rollout.collect.planning import (
        Collection,
        judge_for,
    )
    from rollout.collect.run import (
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
    from rollout.environment import (
        Action,
        Budget,
        Environment,
        EnvironmentFault,
        Observation,
        ended,
    )
    from rollout.episode.loop import (
        open_environment,
        run_episode,
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
    from rollout.kernel_source import (
        EpisodeKernel,
        KernelSource,
        open_kernel_source,
    )
    from rollout.postprocess.costs import (
        CollectionPlan,
        MissingData,
        bank_table,
        plan_collection,
        read_prices,
    )
    from rollout.postprocess.exports import (
        export_bank,
    )
    from rollout.postprocess.regrade import (
        TaskReferences,
        regrade_bank,
    )
    from rollout.protocol import (
        CHOICE_FORMS,
        EpisodeProtocol,
    )
    from rollout.registry import (
        ENGINES,
        GRADERS,
        KERNEL_SOURCES,
        TASK_FAMILIES,
        Registry,
    )
    from rollout.select import (
        CountTokens,
        SelectConfig,
        language_of,
        select_records,
        token_table,
    )
    from rollout.workers import (
        EpisodeJob,
        ray_session,
    )

_MODULES = {
    "CHOICE_FORMS": "protocol",
    "Action": "environment",
    "Budget": "environment",
    "CollectConfig": "config",
    "Collection": "collect.planning",
    "CollectionPlan": "postprocess.costs",
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
    "Message": "bank.trajectory",
    "MissingData": "postprocess.costs",
    "Observation": "environment",
    "Outcome": "bank.trajectory",
    "ProtocolRef": "bank.trajectory",
    "Reason": "bank.trajectory",
    "Refused": "families.data",
    "Registry": "registry",
    "Sampling": "bank.trajectory",
    "SelectConfig": "select",
    "Source": "config",
    "StoredModel": "bank.trajectory",
    "TASK_FAMILIES": "registry",
    "Task": "families",
    "TaskRef": "bank.trajectory",
    "TaskReferences": "postprocess.regrade",
    "TaskSet": "families",
    "Toolset": "families",
    "Trajectory": "bank.trajectory",
    "TrajectoryStore": "bank.store",
    "WorkerConfig": "config",
    "atomic_file": "bank.files",
    "bank_table": "postprocess.costs",
    "collect_trajectories": "collect.run",
    "digest_of": "bank.trajectory",
    "ended": "environment",
    "export_bank": "postprocess.exports",
    "is_complete": "collect.run",
    "judge_for": "collect.planning",
    "language_of": "select",
    "load_tasks": "families",
    "lost_sentence": "collect.run",
    "open_environment": "episode.loop",
    "open_kernel_source": "kernel_source",
    "plan_collection": "postprocess.costs",
    "ray_session": "workers",
    "read_prices": "postprocess.costs",
    "read_trajectories": "bank.store",
    "regrade_bank": "postprocess.regrade",
    "run_episode": "episode.loop",
    "run_examples": "checks.example_runs",
    "run_missing": "collect.run",
    "select_records": "select",
    "token_table": "select",
    "verify_bank": "bank.store",
    "write_atomically": "bank.files",
}
__all__ = [
    "CHOICE_FORMS",
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
