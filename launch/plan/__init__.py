"""``codeact train --plan``: memory and time of a job on a cluster, estimated without the cluster.

Contract: reads the configuration, a model's ``config.json`` and the corpus if there is one; needs no GPU, no weights
and, for models whose shape is shipped, no network. Every GPU figure is predicted by the cost model of
``codeact_train.plan`` and marked as such. ``make`` estimates, ``show`` prints, ``dry_run`` trains two steps of a tiny
model.
"""
