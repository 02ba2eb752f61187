"""Data sets of records: statistics, the card, and pushing to or pulling from a folder or the Hugging Face hub."""
