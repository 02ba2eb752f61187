"""Episodes: the loop from a task's prompt to its outcome, simulated users, and branches of a failed episode."""
