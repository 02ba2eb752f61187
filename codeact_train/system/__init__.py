"""What a process is to its machine: exit codes, failures in a sentence, its folders, locks and parent.

Only the standard library, so that every package and the command line can use it.
"""
