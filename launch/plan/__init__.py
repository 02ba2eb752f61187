"""``codeact train --plan``: what a job would need and take on a cluster, said before it has one.

Contract: reads the configuration, a model's ``config.json`` and the corpus if there is one; needs no GPU, no weights
and, for models whose shape is shipped, no network. Every figure of a GPU is predicted by the cost model of
``codeact_train.plan`` and says so. ``make`` reckons, ``show`` prints, ``dry_run`` trains two tiny steps, ``verb`` is
what the command calls.
"""
