"""Code that runs inside the sandbox's processes: the supervisor, the fork server and the kernels.

It imports only the standard library and IPython, and no module of the host's side, because the code that kernels run
can read the fork server's memory.
"""
