"""Build of the distribution ``codeact``: the five rooms, the recipes and the console command.

Name, description, licence and classifiers are in ``pyproject.toml``; the version is ``sandbox.__version__``. The ranges
here are the oldest versions needed, ``constraints.txt`` pins those that are tested together.
"""

from pathlib import Path

from setuptools import find_packages, setup

ROOMS = ["sandbox", "codeact_train", "rollout", "eval", "launch"]
SANDBOX = Path(__file__).with_name("sandbox") / "containers" / "requirements.txt"

setup(
    packages=[*find_packages(include=[pattern for room in ROOMS for pattern in (room, f"{room}.*")]), "configs"],
    package_data={
        "*": ["py.typed"],
        "configs": ["*.yaml", "*.json", "base/*.yaml", "clusters/*.yaml", "shapes/*/config.json"],
        "codeact_train": ["prepare/templates/*"],
        "eval": ["paper/published/*.yaml", "templates/*"],
        "launch": ["submit/templates/*"],
        "rollout": [
            "families/miniwob/page.js",
            "families/scienceworld/tasks.jsonl",
            "protocol/examples/*.yaml",
            "protocol/examples/built_in/*.yaml",
            "protocol/library/*.yaml",
            "protocol/shots/*.yaml",
        ],
        "sandbox": ["containers/*", "containers/*/*"],
    },
    install_requires=[
        *SANDBOX.read_text().splitlines(),
        "bm25s>=0.3.16",
        "datasets>=3.0",
        "datasketch>=2.0",
        "gguf>=0.10",
        "huggingface_hub>=0.30",
        "jinja2>=3.1",
        "markupsafe>=2.1",
        "math-verify>=0.9.0",
        "megatron-core>=0.16.1,<0.20",
        "openai>=2.0",
        "openvino-genai>=2026.4",
        "psutil>=6.0",  # also an undeclared dependency of Megatron-Core's checkpoint writer
        "py3langid>=0.4",
        "pyarrow>=15.0",
        "pygments>=2.17",
        "ray>=2.40",
        "safetensors>=0.4",
        "scipy>=1.11",
        "sentencepiece>=0.2",
        "tensorboard>=2.15",
        "sympy>=1.13",
        "tokenizers>=0.20",
        "torch>=2.11",
        "transformers>=5.0",
    ],
    extras_require={
        "dev": [
            "pytest>=8",
            "pytest-asyncio>=0.24",
            "pytest-xdist>=3.6",  # `make test` runs the files of tests in two processes
            "hypothesis>=6",
            "ruff>=0.6",
            "mypy>=1.11",
            "nbclient>=0.10",  # the notebooks among the examples
            "codespell>=2.3",
            "deepspeed>=0.19",  # for the tests of backend=deepspeed; no kernel of it is compiled
            "kubernetes-validate>=1.33",
            "pre-commit>=3.8",
        ],
        "deepspeed": ["deepspeed>=0.19"],
        "alfworld": ["textworld[pddl]>=1.7"],
        "docs": ["mkdocs-material>=9.5", "mkdocstrings[python]>=0.26"],
        "flash": ["flash-attn>=2.8"],
        "inspect": ["inspect-ai>=0.3.285"],
        "miniwob": ["miniwob>=1.1", "selenium>=4.40"],
        "mlflow": ["mlflow-skinny>=3.0"],
        "reasoning-gym": ["reasoning-gym>=0.1.19"],
        "scienceworld": ["scienceworld>=1.2.3"],
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
