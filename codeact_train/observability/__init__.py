"""What a run reports about itself.

``loss_stats`` loss and accuracy of a batch, ``throughput`` rates and memory, ``mfu`` model FLOPs utilisation,
``metrics`` the event log and the console, ``trackers`` TensorBoard and others, ``profiler`` a window of steps,
``anomaly`` and ``anomaly_dump`` steps that went wrong.
"""
