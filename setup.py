"""Installs the five rooms, the recipes beside them and the console command ``codeact``.

Versions that were tested together stand in ``constraints.txt``; the ranges here say only what is needed.
"""

from pathlib import Path

from setuptools import find_packages, setup

ROOMS = ["sandbox", "codeact_train", "rollout", "eval", "launch"]
SANDBOX = Path(__file__).with_name("sandbox") / "containers" / "requirements.txt"

setup(
    name="codeact",
    version="0.1.0",
    description="Train language-model agents that act by writing Python: collect, train, evaluate, as one loop.",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=[*find_packages(include=[pattern for room in ROOMS for pattern in (room, f"{room}.*")]), "configs"],
    package_data={
        "configs": ["*.yaml", "clusters/*.yaml", "shapes/*/config.json"],  # no code: what stands beside the rooms
        "codeact_train": ["prepare/templates/*"],
        "eval": ["templates/*"],
        "launch": ["submit/templates/*"],
        "sandbox": ["containers/*", "containers/kubernetes/*"],
    },
    install_requires=[
        *SANDBOX.read_text().splitlines(),
        "datasets>=3.0",
        "datasketch>=2.0",
        "gguf>=0.10",
        "huggingface_hub>=0.30",
        "jinja2>=3.1",
        "markupsafe>=2.1",
        "megatron-core==0.16.1",
        "openai>=2.0",
        "openvino-genai>=2026.4",
        "psutil>=5.9",  # Megatron-Core's checkpoint writer needs it and does not say so
        "pygments>=2.17",
        "ray>=2.40",
        "safetensors>=0.4",
        "scipy>=1.11",
        "sentencepiece>=0.2",
        "tensorboard>=2.15",
        "tokenizers>=0.20",
        "torch>=2.11",
        "transformers>=5.0",
    ],
    extras_require={
        "dev": [
            "pytest>=8",
            "pytest-asyncio>=0.24",
            "hypothesis>=6",
            "ruff>=0.6",
            "mypy>=1.11",
            "codespell>=2.3",
            "deepspeed>=0.19",  # the tests of backend=deepspeed; nothing of it is compiled
            "kubernetes-validate>=1.33",
            "pre-commit>=3.8",
        ],
        "deepspeed": ["deepspeed>=0.19"],
        "flash": ["flash-attn>=2.8"],
        "mlflow": ["mlflow-skinny>=3.0"],
        "vllm": ["vllm>=0.30"],
        "wandb": ["wandb>=0.20"],
    },
    entry_points={
        "console_scripts": ["codeact = launch.cli:main"],
        "jupyter_client.kernel_provisioners": [
            "codeact-zygote = sandbox.jupyter.provisioner:ZygoteProvisioner",
        ],
    },
)
