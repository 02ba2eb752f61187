"""The model: Megatron-Core's GPTModel for Llama-like architectures and packed documents.

``spec`` reads the numbers of a Hugging Face config and ``source`` the model folder of a run (neither loads Megatron).
``gpt`` builds the model, ``layers`` and ``attention`` hold its modules, ``loss`` the cross-entropy. Import the modules
themselves.
"""
