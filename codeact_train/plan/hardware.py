"""A cluster as a few numbers: memory, compute rates and bandwidths of its GPUs.

Contract: one YAML file per cluster (``configs/clusters``), each number with its source. Peaks are the maker's;
``gemm_tflops`` and ``attention_tflops`` are the rates a plan uses, calibrated on published training runs
(``plan.published``). No number here was measured by this project.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import Field, ValidationError

from codeact_train.config.base import Settings
from codeact_train.plan.package_data import data_folder

CLUSTERS = data_folder("clusters")


class Gpu(Settings):
    """One GPU model."""

    name: str
    """The maker's name for it."""
    memory_gib: float = Field(gt=0)
    """Memory available to a process, as the driver reports it."""
    memory_gb_s: float = Field(gt=0)
    """Bandwidth of that memory, the maker's figure, in 1e9 bytes per second."""
    peak_tflops: float = Field(gt=0)
    """Dense bf16 rate of the tensor cores, the maker's figure; the denominator of MFU."""
    gemm_tflops: float = Field(gt=0)
    """Sustained rate of a large bf16 matrix product in training; calibrated."""
    attention_tflops: float = Field(gt=0)
    """Sustained rate of the fused attention kernel, forward and backward together; calibrated."""


class Cluster(Settings):
    """Nodes of equal GPUs."""

    name: str = ""
    """Name it was loaded by."""
    nodes: int = Field(1, ge=1)
    """Number of nodes."""
    gpus_per_node: int = Field(ge=1)
    """GPUs per node."""
    gpu: Gpu
    """The GPU model."""
    intra_gb_s: float = Field(gt=0)
    """Bandwidth between GPUs of a node, each direction, the maker's figure, in 1e9 bytes per second."""
    inter_gb_s: float = Field(gt=0)
    """Network bandwidth per GPU between nodes, each direction, in 1e9 bytes per second."""
    cpus_per_node: int = Field(ge=1)
    """CPU cores a job may request per node."""
    memory_gib_per_node: int = Field(ge=1)
    """Main memory a job may request per node."""

    @property
    def gpus(self) -> int:
        """Total number of GPUs."""
        return self.nodes * self.gpus_per_node

    @classmethod
    def load(cls, name: str) -> Cluster:
        """Load a cluster by the name of its file in ``configs/clusters``, or by path.

        Raises ``ValueError`` for an unknown name or an invalid file.
        """
        path = Path(name) if name.endswith((".yaml", ".yml")) else CLUSTERS / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in CLUSTERS.glob("*.yaml")))
            raise ValueError(f"launch.cluster={name}: no such cluster; choose one of {known}, or give a YAML file")
        try:
            return cls.model_validate({**yaml.safe_load(path.read_text(encoding="utf-8")), "name": path.stem})
        except ValidationError as fault:
            wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in fault.errors())
            raise ValueError(f"{path} is not a valid cluster description: {wrong}") from None
        except (yaml.YAMLError, TypeError, UnicodeDecodeError) as fault:
            raise ValueError(f"{path} is not a valid cluster description: {' '.join(str(fault).split())}") from None
