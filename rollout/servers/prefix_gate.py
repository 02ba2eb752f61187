"""Holds a request back while the beginning of its prompt is being computed for another one.

Why: the pipeline looks a prompt up in its prefix cache when the request is added. Requests that arrive together (a
wave of episodes with one system prompt) would each find an empty cache and each compute the same beginning: 16
requests of 300 tokens with half in common took 75 passes of 64 tokens instead of 40. Held until the first of them
has a token, the others find the beginning there.

Contract: :meth:`PrefixGate.admits` is true when the first block of the prompt that was never computed is not in work
for another request; then the caller adds it and says :meth:`entered`, and later :meth:`prefilled`. A block that the
pipeline has evicted is only computed again: the gate decides when, never what. Cost: one hash for each 32 tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

BLOCK = 32
"""Tokens in a cache block of openvino-genai on CPU."""


class PrefixGate:
    """Which prompt beginnings are computed and which are in work."""

    def __init__(self) -> None:
        self._computed: set[int] = set()
        self._in_work: dict[int, list[int]] = {}

    def admits(self, prompt_ids: Sequence[int]) -> bool:
        """Whether the request should enter now."""
        missing = next((block for block in _blocks(prompt_ids) if block not in self._computed), None)
        return all(missing not in blocks for blocks in self._in_work.values())

    def entered(self, number: int, prompt_ids: Sequence[int]) -> None:
        """Request ``number`` was added to the pipeline."""
        self._in_work[number] = _blocks(prompt_ids)

    def in_work(self) -> list[int]:
        """The requests whose prompts are not computed yet."""
        return list(self._in_work)

    def prefilled(self, number: int) -> None:
        """The prompt of request ``number`` is computed."""
        self._computed.update(self._in_work.pop(number))

    def dropped(self, number: int) -> None:
        """Request ``number`` left, its prompt computed or not."""
        self._in_work.pop(number, None)


def _blocks(prompt_ids: Sequence[int]) -> list[int]:
    """A hash for every full block, each over the whole prompt up to its end."""
    hashes, so_far = [], 0
    for start in range(0, len(prompt_ids) - BLOCK + 1, BLOCK):
        so_far = hash((so_far, *prompt_ids[start : start + BLOCK]))
        hashes.append(so_far)
    return hashes
