"""Saving and resuming the state of a run.

``manager`` owns the checkpoint folder, ``state`` is what it needs from a backend, ``async_save`` writes Megatron's
distributed format in a thread, ``optimizer_state`` gives optimizers that form, ``integrity`` fingerprints tensors, and
``retention`` decides which checkpoints stay.
"""
