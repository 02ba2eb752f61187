"""Starts training jobs: under torchrun on this machine, or as a SLURM script."""
