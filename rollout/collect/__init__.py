"""Collection: tasks × engines → trajectories in the bank, planned and run."""
