"""The arrows between the rooms, frozen: who may import whom, and that importing is cheap and needs no GPU package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "sandbox": set(),
    "codeact_train": set(),
    "rollout": {"sandbox"},
    "eval": {"rollout", "sandbox", "codeact_train"},
    "launch": {"sandbox", "codeact_train", "rollout", "eval"},
}
GPU_ONLY = {"flash_attn", "transformer_engine", "liger_kernel", "vllm", "deepspeed"}


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_only_what_they_may(room: str) -> None:
    wrong = {
        str(path.relative_to(ROOT)): found
        for path in (ROOT / room).rglob("*.py")
        if (found := imports_of(path) & set(MAY_IMPORT) - MAY_IMPORT[room] - {room})
    }
    assert not wrong


def test_eval_takes_only_the_export_and_corpus_forms_from_the_trainer() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {node.module}"
        for path in (ROOT / "eval").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("codeact_train")
        and node.module not in ("codeact_train.export", "codeact_train.corpus")
    ]
    assert not wrong


def test_gpu_only_packages_are_imported_in_one_place_each() -> None:
    places: dict[str, list[str]] = {}
    for room in MAY_IMPORT:
        for path in (ROOT / room).rglob("*.py"):
            for name in imports_of(path) & GPU_ONLY:
                places.setdefault(name, []).append(str(path.relative_to(ROOT)))
    assert all(len(found) == 1 for found in places.values()), places


def test_help_needs_neither_torch_nor_ray() -> None:
    code = "import sys; import launch.cli; sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
