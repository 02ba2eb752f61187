"""The Megatron-Core backend: families with a mapping, in any mix of tensor, pipeline, context and data parallelism.

``state`` is what the training loop sees; ``forward_backward`` builds the model and computes a global batch,
``optimizer`` builds optimizer and schedule and takes a step.
"""
