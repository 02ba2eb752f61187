"""Plays ``cryptobotanists_plant_dna_sequencer``."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from rollout.families.calling_expert import Call, Player

_SEQUENCE = re.compile(r"'([A-Z]{4,})'")


def read_sequences(prompt: str) -> Player:
    """Follows the steps that the task names."""
    sequences = _SEQUENCE.findall(prompt)
    if "longest valid" in prompt:
        valid = yield [Call("is_valid_dna_sequence", (sequence,)) for sequence in sequences]
        return str(max((sequence for sequence, sound in zip(sequences, valid, strict=True) if sound), key=len))
    if "is valid" in prompt:
        (sound,) = yield [Call("is_valid_dna_sequence", (sequences[0],))]
        return (yield from _amino_acids(sequences[0])) if sound else "Invalid DNA sequence"
    if prompt.startswith("Transcribe"):
        chain = yield from _amino_acids(sequences[0])
        return str("Methionine" in chain) if "Methionine" in prompt else str(len(chain.split("-")))
    dna = "".join(sequences)
    if "mRNA sequence" in prompt:
        (dna,) = yield [Call("reverse_transcribe_mrna_to_dna", (dna,))]
    (counts,) = yield [Call("count_nucleotides", (dna,))]
    if not re.search("most common|maximum", prompt):
        return str(counts)
    name, count = yield from _most_common(counts)
    if "transcribe that" in prompt:
        (mrna,) = yield [Call("transcribe_dna_to_mrna", (name * 3,))]
        return str(mrna)
    return str(name) if "not the count" in prompt else str((name, count))


def _amino_acids(dna: str) -> Generator[Sequence[Call], list[Any], str]:
    """The chain of amino acids of a DNA sequence."""
    (mrna,) = yield [Call("transcribe_dna_to_mrna", (dna,))]
    (chain,) = yield [Call("translate_mrna_to_amino_acid", (mrna,))]
    return str(chain)


def _most_common(counts: Mapping[str, int]) -> Generator[Sequence[Call], list[Any], tuple[str, int]]:
    pairs = tuple(part for pair in counts.items() for part in pair)
    ((name, count),) = yield [Call("find_max_nucleotide", pairs)]
    return name, count
