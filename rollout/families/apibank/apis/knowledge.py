"""Calculator, search, and services that the original asks elsewhere: dictionary, translation, captions, documents.

What the original gets from a server or a model is not among the data. Such an API knows the inputs of the records,
in the database ``Recorded``, and raises ValueError for others.
"""

from __future__ import annotations

import re
from typing import Any

from rollout.families.apibank.apis.base import TODAY, World, api, filled, found, moment
from rollout.families.arithmetic import evaluate

RECORDED = "Recorded"
"""Database of the inputs and outputs of records: API → list of pairs."""
CATALOGUE = "Catalogue"
"""Database of the descriptions that ``ToolSearcher`` returns: API → description."""


@api("GetToday", ("date", "str", "The current date. Format: %Y-%m-%d"))
def get_today(world: World) -> str:
    """Gets the current date."""
    return TODAY


@api(
    "Calculator",
    ("result", "float", "The result of the formula."),
    formula="The formula: numbers, +, -, *, / and brackets, such as (1 + 2) * 3.",
)
def calculate(world: World, formula: str) -> float:
    """Calculates with addition, subtraction, multiplication and division."""
    text = filled("formula", formula)
    try:
        return float(evaluate(text))
    except (TypeError, ValueError) as fault:
        raise ValueError(f"The formula is invalid: {fault}.") from None


@api(
    "QueryHistoryToday",
    ("history", "list", "What happened on this day."),
    "History",
    date="The day of the year. Format: %m-%d",
)
def query_history(world: World, date: str) -> Any:
    """Queries what happened in history on a day of the year."""
    parts = date.strip().split("-")
    year_less = "-".join(parts[1:]) if len(parts) == 3 else date
    events = found(world["History"], moment(f"2000-{year_less.strip()}", "%Y-%m-%d")[5:], "date")
    return [
        f"Title: {one['Title'].strip()}, Date: {one['Date'].strip()}, Description: {one['Description'].strip()}"
        for one in events
    ]


@api("Wiki", ("results", "dict", "The address and the summary of the page."), "Wiki", keyword="What is searched for.")
def search_wiki(world: World, keyword: str) -> Any:
    """Searches Wikipedia for a keyword."""
    page = found(world["Wiki"], filled("keyword", keyword).lower(), "keyword")
    return {"url": page["url"], "summary": page["summary"]}


@api("SearchEngine", ("results", "list", "The two best pages."), "SearchEngine", keyword="What is searched for.")
def search_engine(world: World, keyword: str) -> Any:
    """Searches for pages about a keyword."""
    import bm25s

    pages, documents = world["SearchEngine"]["raw_documents"], world["SearchEngine"]["tokenized_documents"]
    known = {word for document in documents for word in document}
    words = [word for word in re.findall(r"\w+|[^\w\s]", filled("keyword", keyword).lower()) if word in known]
    if not words:
        return pages[:2]
    index = bm25s.BM25()
    index.index(documents, show_progress=False)
    best, _ = index.retrieve([words], k=2, show_progress=False)
    return [pages[int(place)] for place in best[0]]


@api(
    "DocumentQA",
    ("answer", "str", "The answer to the question."),
    "QuestionAnswering",
    url="The address of the document.",
    question="The question about the document.",
)
def answer_question(world: World, url: str, question: str) -> str:
    """Answers a question about a document. In every record, the question is too difficult."""
    found(world["QuestionAnswering"], url.strip(), "document")
    filled("question", question)
    return "The question is too difficult to answer."


@api("SpeechRecognition", ("transcript", "str", "The text."), "SpeechRecognition", url="The address of the recording.")
def recognise_speech(world: World, url: str) -> Any:
    """Writes down the speech of a recording."""
    return found(world["SpeechRecognition"], url.strip(), "recording")


@api("ImageCaption", ("caption", "str", "The caption."), RECORDED, url="The address of the image.")
def caption_image(world: World, url: str) -> Any:
    """Describes an image."""
    return _recorded(world, "ImageCaption", url=url)


@api(
    "Dictionary",
    ("results", "list", "The meanings: parts of speech, definitions, examples and synonyms."),
    RECORDED,
    keyword="The word.",
)
def look_up(world: World, keyword: str) -> Any:
    """Looks a word up in a dictionary."""
    return _recorded(world, "Dictionary", keyword=keyword)


@api(
    "Translate",
    ("translated_text", "str", "The translation."),
    RECORDED,
    src="The text.",
    tgt_lang="The code of the language of the translation, such as fr.",
)
def translate(world: World, src: str, tgt_lang: str) -> Any:
    """Translates a text into another language."""
    return _recorded(world, "Translate", src=src, tgt_lang=tgt_lang)


def _recorded(world: World, name: str, **inputs: str) -> Any:
    """The output of the record with these inputs; case does not count."""
    wanted = _plain(inputs)
    for given, output in world[RECORDED].get(name, ()):
        if _plain(given) == wanted:
            return output
    raise ValueError(f"{name} knows the inputs of the data set only, and these are others.")


def _plain(inputs: dict[str, Any]) -> dict[str, str]:
    return {name: str(value).strip().lower() for name, value in inputs.items()}


@api(
    "ToolSearcher",
    ("best_matchs", "Union[List[dict], dict]", "The best tool, after GetUserToken where it needs a token."),
    f"{RECORDED} {CATALOGUE}",
    keywords="The keywords to search for.",
)
def search_tool(world: World, keywords: str) -> Any:
    """Searches the library for the tool that fits keywords best.

    The original compares embeddings of a small model. Here the searches of the records have their results, and others
    get the tool with most words in common.
    """
    try:
        return _recorded(world, "ToolSearcher", keywords=keywords)
    except ValueError:
        pass
    wanted = _words(filled("keywords", keywords))
    catalogue = world[CATALOGUE]
    best = max(sorted(catalogue), key=lambda name: _likeness(wanted, name, catalogue[name]["description"]))
    if "token" not in catalogue[best]["input_parameters"]:
        return catalogue[best]
    token = catalogue["GetUserToken"]
    summary = f"get user token{token['description']}"
    return [{**token, "desc_for_search": summary}, catalogue[best]]


def _likeness(wanted: set[str], name: str, description: str) -> float:
    """Share of the words of the search in the name, which count twice, and in the description."""
    named, described = _words(name), _words(description)
    return sum(2 * (word in named) + (word in described) for word in wanted) - len(named) / 100


def _words(text: str) -> set[str]:
    """Words in lower case, those of ``CamelCase`` apart."""
    return set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower()))
