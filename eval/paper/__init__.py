"""The paper's results as data, its aggregates, and its tables with rows of runs."""

from eval.paper.tables import paper_tables

__all__ = ["paper_tables"]
