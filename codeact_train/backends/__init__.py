"""The state of a run on one of two backends, behind one protocol.

``run_state`` is the protocol the training loop sees, ``build`` chooses the implementation: ``megatron`` for families
with a mapping to Megatron-Core, ``deepspeed`` for any causal language model of transformers.
"""
