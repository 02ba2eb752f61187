"""The model: Megatron-Core's GPTModel for Llama-like architectures and packed documents.

``spec`` reads the numbers of a Hugging Face config (no torch needed), ``gpt`` builds the model, ``layers`` and
``attention`` hold its modules, ``loss`` the cross-entropy. Import the modules themselves: all but ``spec`` load torch
and Megatron.
"""
