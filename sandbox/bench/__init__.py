"""What the kernels cost, beside stock jupyter_client and ipykernel, and whether anything stays behind.

``measure`` times ours and the rival's in turns, in one run on one machine, and holds them against targets; ``soak``
has thousands of kernels alive and starts and stops thousands; ``kills`` ends the processes everything hangs on. All
return :class:`sandbox.bench.figures.Figure` rows. On a busy machine the ratio is what counts.
"""
