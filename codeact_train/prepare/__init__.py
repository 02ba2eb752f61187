"""Prepare: training records to a corpus.

``build`` runs the pipeline. Worker processes (``workers``) encode each record into a row of numbers and documents
(``chunk``, ``encode``), which ``staging`` keeps on disk. Once all rows exist, ``dedup`` drops duplicates and
``mixture`` decides how often an epoch holds each record. ``layout`` writes the documents and plans their packs,
``statistics`` counts the files on disk into the ledger, ``manifest`` writes the metadata and ``audit`` an HTML page.
Selecting trajectories is the job of ``rollout``.
"""

from codeact_train.prepare.build import prepare
from codeact_train.prepare.tokenizer_check import check_tokenizer_settings

__all__ = ["check_tokenizer_settings", "prepare"]
