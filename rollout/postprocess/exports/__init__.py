"""Data sets for other trainers, made from a bank: preference pairs, groups with rewards, labelled and best episodes.

Contract: the forms are those of TRL's conversational data sets (https://huggingface.co/docs/trl/dataset_formats), one
JSON object a line; TRL is not imported. The same bank gives the same rows in the same order.
"""

from rollout.postprocess.exports.best import best_of
from rollout.postprocess.exports.write import FORMS, Export, export_bank

__all__ = ["FORMS", "Export", "best_of", "export_bank"]
