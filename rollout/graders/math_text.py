"""Mathematical answers as text: which part of a reply is the answer, and one spelling for equal texts.

Contract: pure, linear in the length, and without symbolic algebra. ``\\frac12`` and ``\\dfrac{1}{2}`` become the same
text; ``2/4`` and ``1/2`` do not, which :mod:`rollout.graders.algebra` compares.
"""

from __future__ import annotations

import re

LONGEST_ANSWER = 1_000
"""Characters of an answer that is compared; the longest of the MATH data set has 146."""
_LEAD = re.compile(r"(?is).*\b(?:answer|result|solution|value)s?\b[^.$\\]{0,80}?(?:\bis\b|\bare\b|:|=)\s*(?P<tail>.+)")
_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""A sequence that sets a terminal's colour or the like."""
_CONCLUSION = re.compile(r"(?i)^(?:so|thus|hence|therefore|then)\b[, ]*")
_DOLLARS = re.compile(r"\$([^$]+)\$")
_SPACES = re.compile(
    r"(?<!\\)\\[,!;: ]|~|\\quad|\\qquad|\\left(?![a-z])|\\right(?![a-z])|\\displaystyle|\\limits|\\bigl?|\\bigr"
)
_TEXT = re.compile(r"\\(?:text|mbox|mathrm|textbf|mathbf|textit|textrm|operatorname)\s*\{([^{}]*)\}")
_WORDS = {"degrees", "degree", "dollars", "cents", "units", "unit", "square", "cubic", "cm", "m", "km", "mm", "inches"}
_WORDS |= {"inch", "feet", "foot", "ft", "miles", "mile", "meters", "meter", "hours", "hour", "minutes", "seconds"}
_WORDS |= {"percent", "mph", "lbs", "pounds", "grams", "people", "ways", "radians", "days", "years", "points"}
_UNIT = re.compile(r"(?<=[\d})])\s*(?:[a-z]+(?:\s+[a-z]+)?)\s*(?:\^\{?[23]\}?)?$")
_SHORT_FRACTION = re.compile(r"\\frac\s*(\d)\s*(\d)(?!\d)")
_MACRO_FRACTION = re.compile(r"\\frac\s*(\\[a-zA-Z]+)\s*(\d)(?!\d)")
_HALF_FRACTION = re.compile(r"\\frac\s*(\{[^{}]*\})\s*(\d)|\\frac\s*(\d)\s*(\{[^{}]*\})")
_PLAIN_FUNCTION = re.compile(r"(?<![\\a-zA-Z])(sin|cos|tan|log|ln|exp|pi|infty|alpha|theta)(?![a-zA-Z])")
_PROSE = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{3,}")


def extract(reply: str) -> str:
    """The answer in a reply: the last ``\\boxed``, the text after "the answer is", the only ``$…$``, else all of it."""
    reply = reply[-20 * LONGEST_ANSWER :]  # the answer is at the end
    reply = _ESCAPE.sub("", reply)
    plain = "".join(sign if sign.isprintable() or sign in "\n\t" else " " for sign in reply).strip()
    boxed = last_boxed(plain)
    if boxed is not None:
        return boxed.strip()
    lead = _LEAD.fullmatch(plain)
    if lead:
        plain = lead["tail"].strip()
    formulas = _DOLLARS.findall(plain)
    outside = _DOLLARS.sub(" ", plain)
    if len(formulas) == 1 and _PROSE.search(outside):
        plain = formulas[0]
    return plain.strip()


def last_boxed(text: str) -> str | None:
    """What is in the last ``\\boxed{…}`` or ``\\fbox{…}``; None when there is none that closes."""
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if start < 0:
        return None
    begin = text.find("{", start)
    if begin < 0 or text[start:begin].strip() not in ("\\boxed", "\\fbox"):
        return text[start + len("\\boxed") :].split("$")[0].strip() or None
    depth = 0
    for at in range(begin, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return text[begin + 1 : at]
    return None


def normalise(answer: str) -> str:
    """One spelling: without spaces, dollar signs, units, and marks of size; fractions with braces."""
    text = answer.strip()
    for opening, closing in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        if len(text) > 2 * len(opening) and text.startswith(opening) and text.endswith(closing):
            text = text[len(opening) : -len(closing)]
    text = text.replace("\\$", "").replace("$", "").replace("\\%", "%").replace("−", "-").replace("–", "-")
    text = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("\\cdot", "*").replace("\\times", "*")
    text = (
        text.replace("^\\circ", "")
        .replace("^{\\circ}", "")
        .replace("°", "")
        .replace("π", "\\pi")
        .replace("∞", "\\infty")
    )
    text = re.sub(r"(?<=\d),\s*\\!\s*(?=\d{3})", "", text)
    text = re.sub(r"√\s*\(?(\w+)\)?", r"\\sqrt{\1}", _CONCLUSION.sub("", text))
    text = _SPACES.sub(lambda match: " " if match[0] in ("\\ ", "~") else "", text)
    text = _TEXT.sub(lambda match: f" {match[1]} ", text).strip().rstrip(".").strip()
    if (unit := _UNIT.search(text)) and set(re.findall(r"[a-z]+", unit[0])) <= _WORDS:
        text = text[: unit.start()]
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"(?<=\d)\s*%$", "", text)
    text = _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", text)
    text = _MACRO_FRACTION.sub(r"\\frac{\1}{\2}", text)
    text = _HALF_FRACTION.sub(lambda m: f"\\frac{m[1]}{{{m[2]}}}" if m[1] else f"\\frac{{{m[3]}}}{m[4]}", text)
    text = re.sub(r"\\sqrt\s*(\w)", r"\\sqrt{\1}", text)
    text = re.sub(r"(?<![\d.])\.(?=\d)", "0.", text)
    return re.sub(r"\s+", " ", text).strip()


def squeezed(normalised: str) -> str:
    """A normalised answer without spaces, for comparison."""
    return normalised.replace(" ", "").replace("{}", "")


def is_words(normalised: str) -> bool:
    """Whether an answer is a word or a name, such as ``Evelyn`` or ``(B)``, and not a formula."""
    return bool(
        re.fullmatch(r"\(?[A-Za-z]\)|[A-Za-z]{2,}(?:[ ,'-]+[A-Za-z]+)*\.?", normalised)
    ) and not _PLAIN_FUNCTION.search(normalised)


def nesting(text: str) -> int:
    """The most brackets of any kind that are open at once."""
    depth = most = 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        most = max(most, depth)
    return most


def is_prose(answer: str) -> bool:
    """Whether an answer reads as sentences: at least five words that are no commands."""
    return len(_PROSE.findall(answer)) >= 5


def to_latex(normalised: str) -> str:
    """A normalised answer with the notation of programs (``2*sqrt(3)``, ``x**2``, ``pi``) in LaTeX."""
    text = normalised.replace("**", "^")
    text = re.sub(r"(?<![\\a-zA-Z])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}", text)
    text = re.sub(r"\^\(([^()]*)\)", r"^{\1}", text)
    text = _PLAIN_FUNCTION.sub(r"\\\1", text)
    text = re.sub(r"(?:\s*,)?\s+(?:and|or)\s+", ",", text)
    return text.replace("*", " \\cdot ")
