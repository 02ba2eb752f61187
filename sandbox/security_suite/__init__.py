"""Hostile cells, run for real, and the scorecard of what stopped them.

Contract: a case is code that prints ``BREACH`` when it gets what it must not get. ``run.run_battery`` runs every case
in a kernel of its own, beside a sibling and a victim on the host, and judges by what the host can see: the cell's
outcome, the time it took, the sibling, the victim, the host's memory. Nothing a kernel says about itself counts, except
that a confessed breach is one.
"""
