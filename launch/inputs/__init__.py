"""Resolves the inputs of a run, a model and training records, to files on this machine."""
