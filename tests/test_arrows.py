"""Who may import whom, between the rooms and between the packages of a room; and that importing is cheap.

Each table is read from the bottom up: a package may import those its line names, its own modules, and nothing else of
ours. Imports for type checkers alone count too. A module at a room's top is a package of one file.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS: dict[str, str] = {
    "sandbox": "",
    "codeact_train": "",
    "rollout": "sandbox",
    "eval": "rollout sandbox codeact_train",
    "launch": "sandbox codeact_train rollout eval",
}
PACKAGES: dict[str, dict[str, str]] = {
    "codeact_train": {
        "system": "",
        "config": "",
        "data": "config system",
        "corpus": "data",
        "prepare": "config data system",
        "distributed": "config system",
        "model": "config data distributed system",
        "hf": "config data model system",
        "plan": "config data prepare model system",
        "observability": "config data distributed model plan system",
        "checkpoint": "config distributed system",
        "backends": "config data distributed model hf observability checkpoint",
        "startup_checks": "config data distributed model hf backends",
        "trainer": "config system data distributed model hf plan observability checkpoint backends startup_checks",
        "train": "config system data distributed model plan observability checkpoint startup_checks trainer",
        "parity": "config system data prepare distributed observability trainer",
    },
    "sandbox": {
        "limits": "",
        "result": "",
        "validation": "",
        "workspace": "",
        "guest": "workspace",
        "isolation": "guest limits result workspace",
        "host": "guest isolation limits result workspace",
        "tools": "guest host limits",
        "state": "guest host result tools validation workspace",
        "kernel": "host limits result state tools workspace",
        "pool": "host isolation kernel limits result state tools",
        "replay": "kernel pool result state tools",
        "jupyter": "host isolation limits pool result validation",
        "service": "guest host isolation kernel limits pool result state tools validation",
        "bench": "host isolation jupyter kernel pool result service",
        "security_suite": "host isolation kernel limits pool result",
        "containers": "guest",
    },
    "rollout": {
        "registry": "",
        "bank": "",
        "environment": "bank",
        "protocol": "bank environment",
        "families": "bank environment protocol registry",
        "select": "bank families registry",
        "config": "bank families registry",
        "servers": "bank",
        "engines": "bank families servers",
        "graders": "bank engines registry",
        "kernel_source": "config protocol registry",
        "codeact": "bank environment families graders kernel_source protocol registry",
        "episode": "bank codeact engines environment families graders kernel_source protocol",
        "workers": "bank config engines episode families kernel_source protocol",
        "collect": "bank config engines episode families protocol registry workers",
        "postprocess": "bank config families graders protocol registry",
        "checks": "bank config engines environment episode families graders kernel_source protocol registry workers",
    },
    "eval": {
        "stats": "",
        "parity": "",
        "scale": "",
        "benchmarks": "scale",
        "config": "benchmarks",
        "results": "scale",
        "scores": "results scale stats",
        "pass_at_k": "results stats",
        "sweep": "benchmarks config parity results",
        "report": "pass_at_k results scores stats",
        "tables": "",
        "paper": "results scores tables",
        "export": "pass_at_k report results scores stats tables",
        "study": "benchmarks config paper results stats sweep tables",
        "forging": "",
    },
    "launch": {
        "console": "",
        "output_files": "",
        "install": "",
        "serve": "",
        "inputs": "console output_files",
        "mixture": "inputs",
        "publish": "inputs",
        "config": "console inputs serve",
        "run_dir": "",
        "submit": "config",
        "plan": "config console inputs mixture run_dir submit",
        "stages": "config console inputs publish run_dir serve submit",
        "loop": "config console run_dir stages",
        "prompts": "",
        "study": "config run_dir stages",
        "cli": "config console inputs loop mixture output_files plan prompts publish run_dir serve stages study submit",
    },
}
PUBLIC = {
    "codeact_train": {
        "codeact_train",
        "codeact_train.checkpoint.train_folder",
        "codeact_train.system",
        *(f"codeact_train.system.{module}" for module in ("exit_codes", "failures", "folders", "job_lock")),
        *(f"codeact_train.system.{module}" for module in ("library_warnings", "parent")),
        "codeact_train.parity",
        "codeact_train.plan",
        "codeact_train.prepare",
    },
    "rollout": {
        "rollout",
        *(f"rollout.{package}" for package in ("checks.replay", "checks.validate", "engines", "families", "servers")),
    },
    "eval": {"eval", "eval.benchmarks.validation", "eval.forging"},
    "sandbox": {
        "sandbox",
        "sandbox.service",
        "sandbox.validation",
        *(f"sandbox.bench.{module}" for module in ("figures", "kills", "measure", "soak")),
        *(f"sandbox.security_suite.{module}" for module in ("run", "scorecard")),
    },
}
"""The packages of a room that other rooms may import from. The benchmarks and the security suite of the sandbox are
programs that the command line runs."""
GPU_ONLY = {"flash_attn", "transformer_engine", "liger_kernel", "vllm", "deepspeed"}


def imported(path: Path) -> Iterator[str]:
    """Dotted names of everything a file imports, submodules included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def tops(path: Path) -> set[str]:
    """The top-level packages a file imports."""
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_they_may(room: str) -> None:
    allowed = {room, *ROOMS[room].split()}
    wrong = {
        str(path.relative_to(ROOT)): found
        for path in (ROOT / room).rglob("*.py")
        if (found := tops(path) & set(ROOMS) - allowed)
    }
    assert not wrong


@pytest.mark.parametrize("room", PACKAGES)
def test_packages_of_a_room_import_only_what_they_may(room: str) -> None:
    table = {package: {package, *allowed.split()} for package, allowed in PACKAGES[room].items()}
    wrong = []
    for path in sorted((ROOT / room).rglob("*.py")):
        inside = path.relative_to(ROOT / room)
        package = inside.parts[0].removesuffix(".py")
        if inside.parts[0] in ("__init__.py", "__main__.py"):
            continue
        assert package in table, f"{room}/{package} is in no table; give it a line"
        used = {name.split(".")[1] for name in imported(path) if name.startswith(f"{room}.")} & set(table)
        wrong += [f"{path.relative_to(ROOT)} imports {other}" for other in sorted(used - table[package])]
    assert not wrong


@pytest.mark.parametrize("room", PUBLIC)
def test_other_rooms_import_only_the_public_packages_of_a_room(room: str) -> None:
    wrong = []
    for path in (path for other in set(ROOMS) - {room} for path in sorted((ROOT / other).rglob("*.py"))):
        modules = {node.module for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)}
        used = {module for module in modules if module and module.split(".")[0] == room}
        wrong += [f"{path.relative_to(ROOT)} imports from {module}" for module in sorted(used - PUBLIC[room])]
    assert not wrong


@pytest.mark.parametrize("room", PACKAGES)
def test_no_package_of_a_room_imports_one_that_imports_it(room: str) -> None:
    table = PACKAGES[room]
    order = list(table)
    assert all(order.index(other) < order.index(package) for package in table for other in table[package].split())


def test_no_modules_import_one_another_in_a_circle() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
    }
    graph = {
        module: {
            name if name in modules else name.rpartition(".")[0]
            for name in imported(path)
            if name in modules or name.rpartition(".")[0] in modules
        }
        - {module}
        for module, path in modules.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


def test_gpu_only_packages_are_imported_in_one_place_each() -> None:
    places: dict[str, list[str]] = {}
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            for name in tops(path) & GPU_ONLY:
                places.setdefault(name, []).append(str(path.relative_to(ROOT)))
    assert all(len(found) == 1 for found in places.values()), places


def test_help_needs_neither_torch_nor_ray() -> None:
    code = "import sys; import launch.cli; sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
