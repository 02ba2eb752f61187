"""Everything that runs inside the sandbox's processes: the warden, the fork server, the kernels.

Imports the standard library and IPython only, nothing of the host's side: what stands in the fork server's memory is
readable by the code that kernels run.
"""
