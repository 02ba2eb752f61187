"""MiniWoB++: small web pages with a task each, in a real browser (arXiv 1802.08802)."""

from rollout.families.miniwob.family import MiniWob

__all__ = ["MiniWob", "generate"]

generate = MiniWob()
