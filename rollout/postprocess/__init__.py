"""What is made of a finished bank: verdicts of another grader, its costs, and exports for other trainers."""
