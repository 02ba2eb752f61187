"""API-Bank: the next call of a dialogue, on simulated APIs written from its records and databases."""

from rollout.families.apibank.family import ApiBank, generate

__all__ = ["ApiBank", "generate"]
