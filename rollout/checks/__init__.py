"""Checks without a model: answers and worked examples of families, and recorded runs replayed."""
