"""WikiTableQuestions: questions over tables of Wikipedia, answered with pandas or sqlite."""

from rollout.families.wikitablequestions.family import WikiTableQuestions, generate

__all__ = ["WikiTableQuestions", "generate"]
