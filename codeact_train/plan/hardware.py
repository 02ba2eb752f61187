"""A cluster as a few numbers: what its GPUs hold, how fast they compute, how fast they talk.

Contract: one YAML file a cluster (``configs/clusters``), each number with its source beside it. Peaks are the maker's;
``gemm_tflops`` and ``attention_tflops`` are what a plan reckons with, calibrated on published training runs
(``plan.published``). Nothing here is a measurement of this project.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from codeact_train.config.base import Settings

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "clusters"


class Gpu(Settings):
    """One GPU."""

    name: str
    """What the maker calls it."""
    memory_gib: float = Field(gt=0)
    """Memory a process can get, as the driver reports it."""
    memory_gb_s: float = Field(gt=0)
    """Bandwidth of that memory, the maker's figure, in 1e9 bytes a second."""
    peak_tflops: float = Field(gt=0)
    """Dense bf16 rate of the tensor cores, the maker's figure: the denominator of MFU."""
    gemm_tflops: float = Field(gt=0)
    """Rate a large bf16 matrix product sustains within training; calibrated."""
    attention_tflops: float = Field(gt=0)
    """Rate the fused attention kernel sustains, forward and backward together; calibrated."""


class Cluster(Settings):
    """Nodes of equal GPUs."""

    name: str = ""
    """How it was asked for; set when it is loaded."""
    nodes: int = Field(1, ge=1)
    """How many nodes."""
    gpus_per_node: int = Field(ge=1)
    """GPUs of one node."""
    gpu: Gpu
    """What each GPU is."""
    intra_gb_s: float = Field(gt=0)
    """Bandwidth between GPUs of a node, each direction, the maker's figure, in 1e9 bytes a second."""
    inter_gb_s: float = Field(gt=0)
    """Bandwidth of one GPU's share of its node's network, each direction, in 1e9 bytes a second."""
    cpus_per_node: int = Field(ge=1)
    """Processor cores a job may ask for on one node."""
    memory_gib_per_node: int = Field(ge=1)
    """Main memory a job may ask for on one node."""

    @property
    def gpus(self) -> int:
        """GPUs of all nodes."""
        return self.nodes * self.gpus_per_node

    @classmethod
    def load(cls, name: str) -> Cluster:
        """A cluster by the name of its file in ``configs/clusters``, or by a path to one.

        Raises ``ValueError`` naming the known ones.
        """
        path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.yaml")))
            raise ValueError(f"launch.cluster={name}: no such description; one of {known}, or a path to a YAML file")
        try:
            return cls.model_validate({**yaml.safe_load(path.read_text(encoding="utf-8")), "name": path.stem})
        except ValidationError as fault:
            wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in fault.errors())
            raise ValueError(f"{path} does not describe a cluster: {wrong}") from None
        except (yaml.YAMLError, TypeError) as fault:
            raise ValueError(f"{path} does not describe a cluster: {' '.join(str(fault).split())}") from None
