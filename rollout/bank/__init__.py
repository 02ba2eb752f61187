"""The bank: the record of an episode, and the append-only store of these records."""
