"""Benchmarks of the kernels against stock jupyter_client and ipykernel, and leak tests.

``measure`` times our kernels and the baseline in turns, in one run on one machine, and compares them with targets;
``soak`` holds thousands of kernels at once and starts and stops thousands; ``kills`` kills the processes that own them.
All return :class:`sandbox.bench.figures.Figure` rows. On a busy machine only the ratios are meaningful.
"""
