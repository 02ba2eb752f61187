"""Functions of the domain ``cryptobotanists_plant_dna_sequencer``.

The genetic code of this domain has two amino acids; every other codon, an incomplete one included, is ``X``.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from rollout.families.base import Toolset

_TO_MRNA = {"A": "U", "C": "G", "G": "C", "T": "A"}
_TO_DNA = {base: dna for dna, base in _TO_MRNA.items()}
_AMINO_ACIDS = {"AUG": "Methionine", "UUU": "Phenylalanine", "UUC": "Phenylalanine"}
_CODON = 3


class Dna(Toolset):
    """Reads and translates sequences. Without state."""

    kind: ClassVar[str | None] = "m3tooleval-dna"
    names = (
        "count_nucleotides",
        "transcribe_dna_to_mrna",
        "translate_mrna_to_amino_acid",
        "find_max_nucleotide",
        "is_valid_dna_sequence",
        "reverse_transcribe_mrna_to_dna",
    )

    def count_nucleotides(self, dna_sequence: str) -> dict[str, int]:
        """Returns how often each nucleotide occurs in a DNA sequence, in the order of their first place."""
        return dict(Counter(dna_sequence))

    def transcribe_dna_to_mrna(self, dna_sequence: str) -> str:
        """Returns the mRNA of a DNA sequence."""
        return "".join(_TO_MRNA.get(base, base) for base in dna_sequence)

    def translate_mrna_to_amino_acid(self, mrna_sequence: str) -> str:
        """Returns the chain of amino acids of an mRNA sequence, with '-' between them and X for an unknown one."""
        codons = [mrna_sequence[at : at + _CODON] for at in range(0, len(mrna_sequence), _CODON)]
        return "-".join(_AMINO_ACIDS.get(codon, "X") for codon in codons)

    def find_max_nucleotide(self, *args: str | int) -> tuple[str, int]:
        """Returns the nucleotide with the largest count, and the count. Arguments: nucleotide, count, nucleotide, …"""
        counts: dict[Any, Any] = dict(zip(args[::2], args[1::2], strict=False))
        most = max(counts, key=lambda name: counts[name])
        return str(most), counts[most]

    def is_valid_dna_sequence(self, dna_sequence: str) -> bool:
        """Returns whether a sequence has the letters A, C, G and T only."""
        return set(dna_sequence) <= set(_TO_MRNA)

    def reverse_transcribe_mrna_to_dna(self, mrna_sequence: str) -> str:
        """Returns the DNA that an mRNA sequence was transcribed from."""
        return "".join(_TO_DNA.get(base, base) for base in mrna_sequence)
