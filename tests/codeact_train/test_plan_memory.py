"""The memory a plan reckons for activations is what autograd keeps of the trainer's model."""

import multiprocessing

import pytest
import torch
from train_jobs import SHAPE, recipe, save_model
from transformers import LlamaConfig

from codeact_train import parallel
from codeact_train.batches import Batches
from codeact_train.corpus import Corpus
from codeact_train.model import build
from codeact_train.plan.dimensions import Dimensions
from codeact_train.plan.kernels import TRAINER
from codeact_train.plan.layout import Layout
from codeact_train.plan.memory import layer_activations
from codeact_train.shape import ModelShape


def kept_a_slot(folder, corpus, recompute, answer) -> None:
    """Send the bytes, weights aside, that a forward pass keeps for the backward pass, per slot."""
    train = recipe(recompute=recompute)
    model = build(ModelShape.read(folder), train, parallel.start(train.parallel, 0).device)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = []  # the tensors themselves: a freed storage's place would be taken by another
    (micro, *_) = Batches(Corpus(corpus), "train", train).step(0).micro_batches
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        model(micro)
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in kept}
    answer.send(sum(size for place, size in storages.items() if place not in own) / micro.slots)


@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
def test_a_layer_keeps_what_the_plan_says(tmp_path, tokenizer, corpus, recompute):
    """Two models that differ by four layers keep four layers' activations more or less."""
    context = multiprocessing.get_context("fork")
    kept = {}
    for layers in (2, 6):
        folder = save_model(tmp_path / str(layers), tokenizer, LlamaConfig(**{**SHAPE, "num_hidden_layers": layers}))
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=kept_a_slot, args=(folder, corpus, recompute, there))
        process.start()
        there.close()
        kept[layers] = here.recv()
        process.join()
    shape = Dimensions.of(ModelShape.read(folder))
    reckoned = layer_activations(shape, Layout(recompute=recompute), TRAINER)
    # what CPU kernels keep beside it: attention goes document by document, its outputs are copied together, and a
    # number a head stays; a norm that is not fused keeps what it has normalised, and a number
    attention, norms = shape.query_width + shape.heads, 2 * (shape.hidden + 1)
    beside = {"none": attention + norms, "selective": attention, "full": 0}[recompute]
    assert (kept[6] - kept[2]) / 4 == pytest.approx(4 * (reckoned + beside), rel=0.01)  # fp32: 4 bytes an element
