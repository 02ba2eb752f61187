"""Checks on a laptop that all layouts train the same: toy models, real processes, the trainer's code.

``layouts`` compares every layout with one process that trains document by document; ``cases`` lists the layouts,
``toy_models`` makes models and corpus, ``processes`` runs them, ``reference_loop`` is the independent trainer among
them.
"""
