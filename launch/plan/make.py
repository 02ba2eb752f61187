"""A plan: estimates for the configuration's layout and for every other layout of the cluster."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codeact_train import ModelSpec
from codeact_train.plan import (
    Cluster,
    Estimate,
    ModelCost,
    ParallelLayout,
    Workload,
    estimate,
    rank,
    shipped_folder,
    validate,
)
from launch.config import LoopConfig
from launch.inputs.resolve_model import BUILT_IN, resolve_model
from launch.run_dir import RunDir
from launch.submit import slurm


@dataclass(frozen=True)
class Plan:
    """A plan; all of its figures are predicted."""

    model: str
    cost: ModelCost
    spec: ModelSpec
    cluster: Cluster
    work: Workload
    chosen: Estimate
    ranked: list[Estimate]
    command: str
    script: str

    def as_json(self) -> dict[str, Any]:
        """The plan as plain values."""
        return {
            "predicted": True,
            "model": {"name": self.model, "parameters": self.cost.parameters, **asdict(self.cost)},
            "cluster": self.cluster.model_dump(),
            "workload": asdict(self.work),
            "chosen": _plain(self.chosen),
            "layouts": [_plain(one) for one in self.ranked],
            "command": self.command,
            "slurm": self.script,
        }


def make_plan(config: LoopConfig, given: str, packs: int | None) -> Plan:
    """Estimates a configuration.

    Args:
        config: the configuration.
        given: its file and overrides on the command line, quoted for a shell.
        packs: number of packs to assume while there is no corpus.

    Raises:
        ValueError: naming key, value and fix for a job that cannot run.
    """
    cluster = named_cluster(config)
    if config.train.backend != "megatron":
        raise ValueError(
            f"train.backend={config.train.backend}: the cost model covers Megatron-Core's layouts only; "
            "plan with train.backend=megatron, or train without a plan"
        )
    folder = shape_folder(config.model)
    corpus = RunDir(config.run).corpus
    present = (corpus / "corpus.json").is_file()
    if present:
        RunDir(config.run).check_corpus(config.prepare)
    validate(config.train, folder, processes=cluster.gpus, prepare=config.prepare, corpus=corpus if present else None)
    spec = ModelSpec.read(folder)
    cost = ModelCost.from_spec(spec)
    if present:
        work = Workload.from_corpus(corpus, spec.window, config.train)
    else:
        work = Workload.assumed(config.prepare.sequence_length, spec.window, config.train, packs)
    return Plan(
        model=config.model,
        cost=cost,
        spec=spec,
        cluster=cluster,
        work=work,
        chosen=estimate(cost, cluster, work, ParallelLayout.from_config(config.train, cluster.gpus)),
        ranked=rank(cost, cluster, work),
        command=f"codeact train {given} launch.processes={cluster.gpus_per_node}",
        script=slurm.script(config, cluster, given),
    )


def named_cluster(config: LoopConfig) -> Cluster:
    """The cluster of a configuration. Raises ``ValueError`` when ``launch.cluster`` is not set."""
    if config.launch.cluster is None:
        raise ValueError(
            "launch.cluster=null: no cluster to plan for; give the name of a file in configs/clusters, or a path"
        )
    return Cluster.load(config.launch.cluster)


def shape_folder(model: str) -> Path:
    """A folder with the model's ``config.json``; fetches that file alone where possible."""
    if (Path(model) / "config.json").is_file():
        return Path(model)
    if model == BUILT_IN:
        return resolve_model(model)
    return shipped_folder(model) or _from_hub(model)


def _from_hub(model: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(model, "config.json")).parent
    except Exception as error:  # the hub client raises some twenty types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"model={model!r}: no folder with a config.json, no shipped shape (configs/shapes), and the hub does not "
            f"answer ({reason}); give a folder that holds its config.json"
        ) from error


def _plain(one: Estimate) -> dict[str, Any]:
    """An estimate with its sums."""
    return {
        **asdict(one),
        "name": one.layout.name,
        "fits": one.memory.fits,
        "memory_total_gb": one.memory.total,
        "step_s": one.time.total,
    }
