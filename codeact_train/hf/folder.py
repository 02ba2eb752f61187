"""The safetensors of a Hugging Face folder, read slice by slice.

Contract: opening reads the index; the first access to a file reads its header. Files are memory-mapped, so a slice
reads its bytes only. :meth:`SafeTensors.check` compares a folder with its configuration without reading a weight.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from codeact_train.hf.parameter_map import Shapes
from codeact_train.system.failures import read_json_object

FETCH_AGAIN = "fetch the model again"

_NOT_WEIGHTS = ("rotary_emb.inv_freq", "lm_head.weight")
"""Suffixes of tensor names to ignore: older exports hold RoPE frequencies, and some hold a head tied to the embedding.
"""


class SafeTensors:
    """Slices of the tensors in a Hugging Face folder, regardless of which file holds them."""

    def __init__(self, folder: Path | str):
        """Raises ``ValueError`` when the folder has no safetensors."""
        self.folder = Path(folder)
        self._open: dict[str, Any] = {}
        self._stack = ExitStack()
        index = self.folder / "model.safetensors.index.json"
        if index.is_file():
            self._files: dict[str, str] = read_json_object(index, FETCH_AGAIN, "weight_map")["weight_map"]
        elif (self.folder / "model.safetensors").is_file():
            self._files = dict.fromkeys(self._file("model.safetensors").keys(), "model.safetensors")
        else:
            raise ValueError(f"model={folder}: no model.safetensors; save the model with safetensors first")

    def __enter__(self) -> SafeTensors:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def names(self) -> list[str]:
        """Every tensor of the folder, sorted."""
        return sorted(self._files)

    def __getitem__(self, name: str) -> Any:
        """A lazy slice; index it to read. Raises ``ValueError`` for a missing tensor."""
        if name not in self._files:
            raise ValueError(f"model={self.folder}: tensor {name} of its config.json is missing; fetch the model again")
        return self._file(self._files[name]).get_slice(name)

    def check(self, expected: Shapes) -> None:
        """Raises ``ValueError`` unless the folder holds exactly these tensors, with these shapes."""
        for name, shape in expected.items():
            stored = tuple(self[name].get_shape())
            if stored != shape:
                raise ValueError(
                    f"model={self.folder}: tensor {name} is {list(stored)}, its config.json implies {list(shape)}; "
                    "use files of the same model"
                )
        others = [name for name in self.names() if name not in expected and not name.endswith(_NOT_WEIGHTS)]
        if others:
            raise ValueError(
                f"model={self.folder}: no mapping for tensor {others[0]} ({len(others)} such); "
                "set train.backend=deepspeed, which trains what transformers loads"
            )

    def _file(self, name: str) -> Any:
        """An open file. Raises ``ValueError`` when a file of the index is missing or truncated."""
        if name not in self._open:
            try:
                self._open[name] = self._stack.enter_context(safe_open(self.folder / name, "pt"))
            except (OSError, SafetensorError) as error:
                raise ValueError(f"model={self.folder}: cannot read {name} ({error}); fetch the model again") from error
        return self._open[name]
