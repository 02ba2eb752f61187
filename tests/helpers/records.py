"""Records written on the spot."""

import gzip
import json
import random
from pathlib import Path

from codeact_train.parity.toy_models import WORDS


def conversation(rng: random.Random, turns: int) -> list[dict[str, str]]:
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


def write_conversations(path: Path, conversations: dict[str, list[str]], **keys: str) -> Path:
    """Records of these ids; texts are by turns the user's and the assistant's."""
    roles = ("user", "assistant")
    with (gzip.open if path.suffix == ".gz" else open)(path, "wt", encoding="utf-8") as file:
        for name, texts in conversations.items():
            turns = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
            file.write(json.dumps({"id": name, "conversations": turns, **keys}) + "\n")
    return path
