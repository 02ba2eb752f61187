"""The security suite: hostile cells that are run, and the scorecard of what stopped them.

Contract: a case is code that prints ``BREACH`` when it succeeds. ``run.run_suite`` runs every case in a new kernel,
beside a sibling kernel and a victim process on the host, and judges by what the host observes: the cell's outcome, the
time it took, the sibling, the victim, the host's memory. Of a kernel's own output only the word ``BREACH`` counts.

``protocol`` attacks the connection and the kernel, ``resources`` exhausts time, memory, processes, disk and output,
``escape`` reaches for files, network and other processes, ``leaks`` looks for inherited state. ``ordinary_work`` checks
that legitimate code still runs, ``notebook_cells`` that cells behave as in Jupyter, ``printed`` that what cells print
is shown, and where it belongs.
"""
