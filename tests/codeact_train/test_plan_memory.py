"""The memory a plan estimates for activations is what autograd keeps of the trainer's model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, PreTrainedTokenizerFast, Qwen3Config

from codeact_train.data.corpus import Corpus
from codeact_train.data.sampler import Sampler
from codeact_train.distributed import parallel_context
from codeact_train.model.gpt import build
from codeact_train.model.spec import ModelSpec
from codeact_train.parity.toy_models import save_model
from codeact_train.plan.kernels import TRAINER
from codeact_train.plan.layout import ParallelLayout
from codeact_train.plan.memory import layer_activations
from codeact_train.plan.model_cost import ModelCost
from tests.helpers.models import SHAPE
from tests.helpers.processes import in_world
from tests.helpers.training import recipe


def kept_a_slot(folder: Path, corpus: Path, settings: dict[str, Any]) -> float:
    """The bytes, weights aside, that a forward pass keeps for the backward pass, per slot."""
    train = recipe(**settings)
    model = build(ModelSpec.read(folder), train, parallel_context.initialize(train.parallel, 0).device)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: list[torch.Tensor] = []  # the tensors themselves: a freed storage's place would be taken by another
    (micro, *_) = Sampler(Corpus(corpus), "train", train).batch(0).micro_batches
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        model(micro)
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in kept}
    return sum(size for place, size in storages.items() if place not in own) / micro.slots


def kept_a_layer(
    root: Path, tokenizer: PreTrainedTokenizerFast, corpus: Path, config: Any, processes: int, settings: dict[str, Any]
) -> tuple[float, ModelCost]:
    """Numbers that one process keeps of a slot in a layer: two models that differ by four layers tell it."""
    kept = {}
    for layers in (2, 6):
        folder = save_model(root / str(layers), tokenizer, config(layers))
        kept[layers] = in_world(processes, kept_a_slot, folder, corpus, settings)
    return (kept[6] - kept[2]) / 4 / 4, ModelCost.from_spec(ModelSpec.read(folder))  # fp32: 4 bytes a number


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_a_layer_keeps_what_the_plan_says(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, corpus: Path, recompute: Any
) -> None:
    def config(layers: int) -> Any:
        return LlamaConfig(**{**SHAPE, "num_hidden_layers": layers})

    kept, spec = kept_a_layer(tmp_path, tokenizer, corpus, config, 1, {"recompute": recompute})
    estimated = layer_activations(spec, ParallelLayout(recompute=recompute), TRAINER)
    # what CPU kernels keep beside it: attention goes document by document, its outputs are copied together, and a
    # number a head stays; a norm that is not fused keeps what it has normalised, and a number
    attention, norms = spec.query_width + spec.heads, 2 * (spec.hidden + 1)
    beside = {"none": attention + norms, "selective": attention, "full": 0}[recompute]
    assert kept == pytest.approx(estimated + beside, rel=0.01)


@pytest.mark.parametrize("family", [LlamaConfig, Qwen3Config])
def test_processes_that_share_a_key_value_head_keep_what_the_plan_says(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, corpus: Path, family: Any
) -> None:
    def config(layers: int) -> Any:
        return family(**{**SHAPE, "num_hidden_layers": layers, "num_key_value_heads": 1}, head_dim=8)

    settings = {"parallel": {"tensor": 2, "sequence_parallel": True}, "recompute": "selective"}
    kept, spec = kept_a_layer(tmp_path, tokenizer, corpus, config, 2, settings)
    estimated = layer_activations(
        spec, ParallelLayout(tensor=2, sequence_parallel=True, recompute="selective"), TRAINER
    )
    attention = (spec.query_width + spec.heads) / 2
    heads = (spec.heads / 2 + 1) * (spec.head_dim + 1) if spec.qk_norm else 0  # unfused norms, as above
    assert kept == pytest.approx(estimated + attention + heads, rel=0.01)
