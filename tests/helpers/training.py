"""Small models and records made on the spot, and processes to train with.

Training runs in forked copies of this process, which has Megatron imported already: a job of four processes starts in a
second instead of twenty. OpenMP stays at one thread, because its threads do not survive a fork.
"""

import gzip
import json
import multiprocessing
import os
import random
import socket
import sys
import traceback
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PretrainedConfig, PreTrainedTokenizerFast

from codeact_train import train
from codeact_train.config.train import TrainConfig

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WORDS = "crate bolt depot ship river stone table price total count print value list tool answer".split()  # noqa: SIM905


def conversation(rng: random.Random, turns: int) -> list[dict]:
    """A task, some actions with observations, an answer."""
    words = lambda n: " ".join(rng.choices(WORDS, k=n))  # noqa: E731
    messages = [{"role": "system", "content": "act"}, {"role": "user", "content": words(rng.randint(2, 10))}]
    for _ in range(turns):
        messages.append({"role": "assistant", "content": f"<execute>\n{words(4)}\n</execute>"})
        messages.append({"role": "user", "content": f"Observation:\n{words(rng.randint(1, 6))}"})
    return [*messages, {"role": "assistant", "content": f"<solution>{words(2)}</solution>"}]


def write_records(path: Path, count: int, seed: int = 0) -> Path:
    """``count`` records from two sources."""
    rng = random.Random(seed)
    lines = [
        {"id": f"r{i}", "source": ("math", "table")[i % 2], "conversations": conversation(rng, rng.randint(0, 3))}
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def llama(folder: Path, tokenizer: PreTrainedTokenizerFast, *, tied: bool) -> Path:
    """A randomly initialised Llama with grouped queries, saved as a Hugging Face folder."""
    return save_model(folder, tokenizer, LlamaConfig(**SHAPE, tie_word_embeddings=tied))


SHAPE = {
    "vocab_size": 301, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 8,
    "num_key_value_heads": 4, "max_position_embeddings": 512, "initializer_range": 0.1, "eos_token_id": 2,
    "pad_token_id": 0, "bos_token_id": 1,
}  # fmt: skip


def save_model(folder: Path, tokenizer: PreTrainedTokenizerFast, config: PretrainedConfig) -> Path:
    """A model of ``config`` with random weights; biases and norms too, so that none of them can be mistaken."""
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def recipe(**changes: object) -> TrainConfig:
    """A short run that moves the loss."""
    settings = {
        "epochs": 2,
        "global_batch_packs": 4,
        "optimizer": {"lr": 3e-3, "min_lr": 3e-4, "warmup_steps": 2, "weight_decay": 0.1},
        "tensorboard": False,
        **changes,
    }
    return TrainConfig.model_validate(settings)


def _process(rank: int, world: int, port: int, config: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    with (Path(config).parent / f"log-{rank}.txt").open("w") as log:
        sys.stdout = sys.stderr = log
        try:
            code = train.main(["--config", config])
        except Exception:
            traceback.print_exc()
            code = 1
    os._exit(code)


def start_job(
    out: Path, model: Path, corpus: Path, train: TrainConfig, world: int = 1
) -> list[multiprocessing.process.BaseProcess]:
    """Start training in ``world`` processes as torchrun would."""
    config = write_job(out, model, corpus, train)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_process, args=(rank, world, port, str(config))) for rank in range(world)]
    for process in processes:
        process.start()
    return processes


def run_job(out: Path, model: Path, corpus: Path, train: TrainConfig, world: int = 1) -> int:
    """Train to the end; returns the exit code."""
    processes = start_job(out, model, corpus, train, world)
    for process in processes:
        process.join(timeout=240)
    stuck = [p for p in processes if p.is_alive()]
    for process in stuck:
        process.kill()
    logs = "\n".join(path.read_text() for path in sorted(out.glob("log-*.txt")))
    assert not stuck, f"the job did not end:\n{logs}"
    assert len({p.exitcode for p in processes}) == 1, logs
    assert processes[0].exitcode in (0, 2, 3, 75), logs
    return processes[0].exitcode


def write_job(out: Path, model: Path, corpus: Path, train: TrainConfig) -> Path:
    """The file a trainer is started with."""
    out.mkdir(parents=True, exist_ok=True)
    job = {"model": str(model), "corpus": str(corpus), "out": str(out), "train": train.model_dump()}
    (out / "job.json").write_text(json.dumps(job))
    return out / "job.json"


def events(out: Path, kind: str) -> list[dict]:
    """The events of one kind in a run's metrics."""
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


def write_conversations(path: Path, conversations: dict[str, list[str]], **keys: str) -> Path:
    """Records of these ids; texts are by turns the user's and the assistant's."""
    roles = ("user", "assistant")
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt", encoding="utf-8") as file:
        for name, texts in conversations.items():
            turns = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
            file.write(json.dumps({"id": name, "conversations": turns, **keys}) + "\n")
    return path
