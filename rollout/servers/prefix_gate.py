"""Delays a request while another request is computing the same prompt prefix.

Why: the pipeline looks a prompt up in its prefix cache when the request is added. Requests that arrive together (many
episodes with one system prompt) would all find an empty cache and compute the same prefix: 16 requests of 300 tokens
with half in common took 75 passes of 64 tokens instead of 40. When the others wait until the first has a token, they
find the prefix in the cache.

Contract: :meth:`PrefixGate.admits` is true when no other request is computing the first missing block of the prompt.
The caller then adds the request and calls :meth:`entered`, and later :meth:`prefilled`. A block that the pipeline has
evicted is computed again: the gate changes when a request runs, never its result. Cost: one hash for each 32 tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

BLOCK = 32
"""Tokens in a cache block of openvino-genai on CPU."""


class PrefixGate:
    """The prompt prefixes that are computed, and those in progress."""

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
        """The requests whose prompts are being computed."""
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
