"""From conversations to packs: what is trained, what is dropped, and how full the packs are."""

import json
import tempfile
from pathlib import Path

from codeact_train import Corpus, PrepareConfig
from codeact_train.data.toy_tokenizer import make_toy_tokenizer
from codeact_train.prepare import prepare

WORDS = ["crate", "bolt", "depot", "ship", "river", "stone"]
TURNS = [
    ("user", "count the crate"),
    ("assistant", "<execute>print(count)</execute>"),
    ("user", "Observation: total"),
    ("assistant", "<solution>total</solution>"),
]


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_toy_tokenizer([" ".join(WORDS)], 301).save_pretrained(folder / "model")  # any model folder has one
        records = folder / "mine.jsonl"
        with records.open("w", encoding="utf-8") as file:
            for number in range(12):
                words = " ".join(WORDS[: number % 6 + 1])  # every second half repeats the first
                turns = [{"role": role, "content": f"{content} {words}"} for role, content in TURNS]
                file.write(json.dumps({"id": f"record-{number}", "conversations": turns}) + "\n")
        prepare(records, folder / "model", folder / "mine", PrepareConfig(sequence_length=512, deduplicate="exact"))

        corpus = Corpus(folder / "mine")
        dropped = [json.loads(line) for line in (folder / "mine" / "dropped.jsonl").read_text().splitlines()]
        print(f"{len(corpus)} documents; dropped: {[(one['id'], one['reason']) for one in dropped[:2]]} …")
        document = corpus.document(0)
        print(f"first document: {len(document.ids)} tokens, {int((document.weights > 0).sum())} of them trained")
        packs = corpus.packs("train")
        print(f"{len(packs)} packs, {sum(corpus.lengths) - len(corpus)} slots used of {len(packs) * 512}")


if __name__ == "__main__":
    main()
