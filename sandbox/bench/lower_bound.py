"""Lower bound of a kernel's start: the part that Linux needs to fork a process with loaded libraries.

Contract: :func:`lower_bound_ms` is the median time from the fork of a process that has imported the kernels' modules,
with the fork server's memory layout, until its child has written to as many pages as an idle kernel owns. A real start
adds namespaces, Landlock, the connection and the cell. Costs a process and 20 ms per start.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from sandbox.isolation.spawn import kernel_environment

PAGE = 4096
PROGRAM = """
import gc, mmap, os, sys, time
from sandbox.guest import heap_layout
from sandbox.guest.isolation.linux import collapse_memory
heap_layout.reserve_arenas()
import IPython, numpy, pandas
pages, starts = int(sys.argv[1]), int(sys.argv[2])
memory = mmap.mmap(-1, pages * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(pages):
    memory[page * 4096] = 1
gc.collect()
heap_layout.fill_gaps()
gc.freeze()
collapse_memory()
for _ in range(starts):
    time.sleep(0.02)  # between two starts the processor's caches are used by other work
    read, write = os.pipe()
    begun = time.monotonic()
    if os.fork() == 0:
        for page in range(pages):
            memory[page * 4096] = 2
        os.write(write, str((time.monotonic() - begun) * 1e3).encode())
        os._exit(0)
    print(os.read(read, 64).decode())
    os.wait()
    os.close(read)
    os.close(write)
"""


def lower_bound_ms(private_mb: float, starts: int) -> float:
    """Median milliseconds of a fork and ``private_mb`` (10⁶ bytes) copied on write, over ``starts`` forks."""
    pages = round(private_mb * 1e6 / PAGE)
    command = [sys.executable, "-c", PROGRAM, str(pages), str(starts)]
    output = subprocess.run(command, env=kernel_environment({}), stdout=subprocess.PIPE, text=True, check=True).stdout
    return statistics.median(map(float, output.split()))
