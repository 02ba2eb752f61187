"""The function ``search`` of open questions: pages of Wikipedia, or paragraphs that the user has."""

from rollout.families.search.paragraphs import ParagraphSource
from rollout.families.search.toolset import Page, SearchSource, SearchToolset, SourceUnavailableError
from rollout.families.search.wikipedia import WikipediaSource

__all__ = ["Page", "ParagraphSource", "SearchSource", "SearchToolset", "SourceUnavailableError", "WikipediaSource"]
