"""Objects that a kernel creates do not share pages with those of the fork server."""

import subprocess
import sys

PROGRAM = """
import gc
from sandbox.guest import heap_layout
heap_layout.reserve_arenas()
import decimal, email.message, http.client, unittest.mock, xml.dom.minidom
gc.collect()
shared = {id(each) >> 12 for each in gc.get_objects()}
among_shared = lambda made: sum(id(each) >> 12 in shared for each in made) / len(made)
make = lambda: [bytes(size) for size in range(20, 470, 16) for _ in range(4)]
before, _ = make(), heap_layout.fill_gaps()
print(among_shared(before), among_shared(make()))
"""


def test_new_objects_do_not_lie_among_shared_ones() -> None:
    output = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    before, after = map(float, output.split())
    assert after < 0.05 < before  # left alone, Python puts them into the gaps
