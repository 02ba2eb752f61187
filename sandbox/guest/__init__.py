"""Code that runs inside the sandbox's processes: the supervisor, the fork server and the kernels.

It imports only the standard library and IPython, and no module of the host's side, because the code that kernels run
can read the fork server's memory.
"""

__version__ = "0.1.0"
"""Version of the whole project. Kernels report it, and package metadata is slow to read."""
