"""Proofs on a laptop: toy models, real processes, the trainer's own code.

``layouts`` holds every layout against one process that trains document by document; ``rows`` says which layouts,
``toys`` makes models and corpus, ``processes`` runs them, ``plain_loop`` is the independent trainer among the rows.
"""
