"""Strategies for answers of a model server: arbitrary JSON, valid replies with parts changed, and raw bytes."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

import httpx2
from hypothesis import strategies as st

from tests.helpers.fake_server import SOLUTION, answer, chat_reply, token_reply

TEXTS = st.text(st.characters(), max_size=30) | st.sampled_from(
    ["", "\ud800", "\udc00\ud800", "a\x00b", "\u2028", "<execute>", "<solution>", SOLUTION, "<execute>1</execute>" * 3]
)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.integers(-3, 300) | st.floats() | TEXTS
)  # NaN and infinities included
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
)
ERRORS = st.sampled_from(
    [
        {"error": {"message": "This model's maximum context length is 10 tokens", "code": 400}},
        {"error": {"message": "no such model", "code": "model_not_found"}},
        {"object": "error", "message": "dead", "code": 500},
        {"error": "text"},
        {"detail": [{"loc": ["body"], "msg": "field required"}]},
    ]
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside ``value``."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, one in inner for place in _places(one, (*path, key))]


@st.composite
def mutated(draw: st.DrawFn, tokens: bool) -> Any:
    """A valid reply in which one to three values are replaced, removed or repeated."""
    texts = TEXTS | st.just("<execute>\nprint(1)\n</execute>")
    start = (token_reply if tokens else chat_reply)(draw(texts)) | draw(st.sampled_from([{}, {"error": None}]))
    reply: Any = copy.deepcopy(start)
    for _ in range(draw(st.integers(1, 3))):
        places = _places(reply)
        if not places:
            break
        *way, last = draw(st.sampled_from(places))
        holder = reply
        for key in way:
            holder = holder[key]
        change = draw(st.sampled_from(["replace", "remove", "repeat"]))
        if change == "replace":
            holder[last] = draw(JSON)
        elif change == "remove":
            del holder[last]
        else:
            holder[last] = [holder[last]] * draw(st.integers(0, 3))
    return reply


def bodies(tokens: bool) -> st.SearchStrategy[bytes]:
    """The body of an answer: mutated replies, arbitrary JSON, errors and raw bytes."""
    values = st.one_of(mutated(tokens), mutated(tokens), mutated(tokens), JSON, ERRORS)
    spelt = st.builds(_spelt, values, st.booleans())
    return st.one_of(spelt, spelt, spelt, st.binary(max_size=60))


def _spelt(value: Any, ascii_only: bool) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only).encode(errors="surrogatepass")


def in_odd_form(body: bytes, random: Random) -> httpx2.Response:
    """The body as it may arrive: whole, cut, wrapped or repeated, with any status and odd headers."""
    form = random.choice(["whole"] * 6 + ["cut", "stream", "page", "deep", "long number", "twice", "byte"])
    if form == "cut":
        body = body[: random.randint(0, len(body))]
    elif form == "stream":
        body = b"data: " + body + b"\n\ndata: [DONE]\n\n"
    elif form == "page":
        body = b"<html>" + body
    elif form == "deep":
        body = random.choice([b"[", b'{"a":']) * random.choice([3, 5000])
    elif form == "long number":
        body = b'{"choices": ' + b"1" * random.choice([30, 5000]) + b"}"
    elif form == "twice":
        body += body
    elif form == "byte" and body:
        place = random.randrange(len(body))
        body = body[:place] + bytes([random.randrange(256)]) + body[place + 1 :]
    status = random.choice([200] * 60 + [201, 204, 206, 301, 304, 308, 400, 401, 404, 413, 422, 429, 500, 599])
    kinds = ["application/json"] * 4 + ["text/html", "text/event-stream", "", "application/json; charset=utf-16", "é"]
    headers = {"content_type": random.choice(kinds)}
    if extra := random.choice([""] * 12 + ["location", "content_encoding", "retry_after", "content_length"]):
        odd = ["", "-1", "nan", "gzip", "br", "http://[", "/v2", "http://h/\x7f", "Fri, 99 Foo"]
        headers[extra] = random.choice(odd)
    return answer(body, status, **headers)
