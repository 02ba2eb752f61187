"""Tasks whose question has another right answer than the one that the benchmark expects, and why.

Contract: what the benchmark expects stays right; these answers are right besides. Under the reference system's rule
(:data:`rollout.graders.legacy.LEGACY`) they are not.
"""

from __future__ import annotations

from typing import Any

ALSO_RIGHT: dict[str, tuple[Any, ...]] = {
    # asks for the message and expects a length; the three messages are equally long
    "message_decoder/longest_decoded_string": ("kcH", "deH", "jdG"),
    # A, G and C are equally common
    "cryptobotanists_plant_dna_sequencer/find_most_common_nucleotide_and_transcribe": ("CCC", "GGG"),
    # both valid sequences have six letters
    "cryptobotanists_plant_dna_sequencer/validate_find_longest_valid_sequence": ("GTCAGT",),
    # asks for the nucleotide and expects its count, too; all four are equally common
    "cryptobotanists_plant_dna_sequencer/find_most_common_nucleotide_combined_sequence": (
        "A",
        ("G", 3),
        ("C", 3),
        ("T", 3),
    ),
    # says "a tariff of 7.5 units" and expects 7.5 %
    "trade_calculator/estimate_final_value": (157.5,),
    # two hotels fit, and the question does not say which one
    "travel_itinerary_planning/plan_trip_to_0": (700,),
}
"""Name of a task → its other right answers."""
