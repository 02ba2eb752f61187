"""Small tokenizers with the chat templates and the tokenizer shapes of known model families.

``write_family(name, folder)`` writes ``tokenizer.json`` (or ``tokenizer.model`` for ``sentencepiece``),
``tokenizer_config.json`` and ``chat_template.jinja``. Vocabularies are a few hundred tokens, trained here. What follows
the family is what decides ids: normalizer, pre-tokenizer, byte fallback, flags of added tokens, post-processor. The
templates are in ``tests/data/chat_templates``.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import sentencepiece
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

TEMPLATES = Path(__file__).parents[1] / "data" / "chat_templates"

WORDS = "lamp kettle garden window paper cloud bridge violin carpet sugar act think count total"
_LINE = f"{WORDS} print ( ) = 1 2 3 10 [INST] [/INST] <<SYS>> user assistant system model tool"
TEXTS = [
    _LINE,
    "two  blanks\n\nand a line\n\n\n",
    "assistant\n\nlamp\n\n\nkettle",
    "café – 漢字 ok",
    "<think> </think>",
] * 12

_GPT_4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN = _GPT_4.replace(r"\p{N}{1,3}", r"\p{N}")
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def special(text: str, **flags: bool) -> AddedToken:
    """A control token, matched before the text is normalized unless ``flags`` say otherwise."""
    return AddedToken(text, special=True, **{"normalized": False, **flags})


def ordinary(text: str, *, normalized: bool = False) -> AddedToken:
    """An added token that is not marked special."""
    return AddedToken(text, special=False, normalized=normalized)


# --- tokenizer shapes -------------------------------------------------------------------------------------------------


def byte_level(added: Sequence[AddedToken], *, pattern: str | None = None, normalizer: Any = None) -> Tokenizer:
    """Byte-level BPE: GPT-2's split, or that of ``pattern``."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=pattern is not None))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pattern is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        split = pre_tokenizers.Split(Regex(pattern), "isolated")
        last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, last])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return _with_added(tokenizer, added)


def llama_like(
    added: Sequence[AddedToken], *, prefix: str, controls: Sequence[str] = ("<unk>", "<s>", "</s>"), begin: str = "<s>"
) -> Tokenizer:
    """BPE over SentencePiece pieces with byte fallback.

    ``prefix``: a blank before each stretch of text ("each"), before the first word only ("first"), or none ("none").
    """
    vocab, merges = _pieces()
    size = len(controls) + len(_BYTES)
    every = {token: index for index, token in enumerate([*controls, *_BYTES])}
    every |= {piece: size + index for index, piece in enumerate(vocab)}
    model = models.BPE(every, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    replace = normalizers.Replace(" ", "▁")
    if prefix == "first":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", "first", split=False)
    else:
        prepend = [normalizers.Prepend("▁")] if prefix == "each" else []
        tokenizer.normalizer = normalizers.Sequence([*prepend, replace])
    strip = [decoders.Strip(" ", 1, 0)] if prefix != "none" else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    tokenizer = _with_added(tokenizer, [*map(special, controls), *added])
    begin_id = tokenizer.token_to_id(begin)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, begin_id)]
    )
    return tokenizer


def unigram(added: Sequence[AddedToken]) -> Tokenizer:
    """SentencePiece's Unigram with NFKC, and a blank before each stretch of text."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", "always")
    tokenizer.decoder = decoders.Metaspace("▁", "always")
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False,
        initial_alphabet=list("abcdefghijklmnopqrstuvwxyz0123456789()[]<>/|_=\n"),
    )  # fmt: skip
    tokenizer.train_from_iterator(TEXTS, trainer)
    return _with_added(tokenizer, added)


@lru_cache(maxsize=1)
def _pieces() -> tuple[list[str], list[tuple[str, str]]]:
    """Pieces and merges of a BPE whose words begin with ``▁``."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", "always")
    lines = [line for text in TEXTS for line in text.split("\n")]
    alphabet = list("abcdefghijklmnopqrstuvwxyz0123456789()[]<>/|_=▁")
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([line for line in lines if line.isascii()], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].get), [(one[0], one[1]) for one in model["merges"]]


def _with_added(tokenizer: Tokenizer, added: Sequence[AddedToken]) -> Tokenizer:
    for token in added:
        if token.special:
            tokenizer.add_special_tokens([token])
        else:
            tokenizer.add_tokens([token])
    return tokenizer


# --- families ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """One row of the table: its template file, its tokenizer, and its begin and end token."""

    template: str
    build: Callable[[], Tokenizer | bytes]
    eos: str
    bos: str | None = None


def _chatml() -> list[AddedToken]:
    return [special("<|endoftext|>"), special("<|im_start|>"), special("<|im_end|>")]


def _qwen(*more: AddedToken) -> Tokenizer:
    return byte_level([*_chatml(), *more], pattern=_QWEN, normalizer=normalizers.NFC())


def _llama_3() -> Tokenizer:
    names = ("begin_of_text", "end_of_text", "start_header_id", "end_header_id", "eot_id")
    tokenizer = byte_level([special(f"<|{name}|>") for name in names], pattern=_GPT_4)
    begin = "<|begin_of_text|>"
    template = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))]
    )
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return tokenizer


def _phi_3() -> Tokenizer:
    names = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
    return llama_like([special(name, rstrip=name != "<|endoftext|>") for name in names], prefix="each")


def _gemma() -> Tokenizer:
    turns = [special("<start_of_turn>"), special("<end_of_turn>")]
    lines = [ordinary("\n" * count) for count in range(2, 6)]
    controls = ("<pad>", "<eos>", "<bos>", "<unk>")
    return llama_like([*turns, *lines], prefix="none", controls=controls, begin="<bos>")


def _deepseek() -> Tokenizer:
    ends = [special("<｜begin▁of▁sentence｜>"), special("<｜end▁of▁sentence｜>")]
    turns = [ordinary("<｜User｜>", normalized=True), ordinary("<｜Assistant｜>", normalized=True)]
    return byte_level([*ends, *turns, ordinary("<think>"), ordinary("</think>")], pattern=_GPT_4)


def _gpt_oss() -> Tokenizer:
    names = ("startoftext", "endoftext", "return", "channel", "start", "end", "message")
    return byte_level([special(f"<|{name}|>") for name in names], pattern=_GPT_4)


def _command_r() -> Tokenizer:
    names = ("START_OF_TURN", "END_OF_TURN", "USER", "CHATBOT", "SYSTEM")
    return byte_level([special("<BOS_TOKEN>"), *(special(f"<|{name}_TOKEN|>") for name in names)])


def _glm_4() -> Tokenizer:
    names = ("<|endoftext|>", "[gMASK]", "<sop>", "<|system|>", "<|user|>", "<|assistant|>")
    return byte_level([special(name) for name in names], pattern=_GPT_4)


def _sentencepiece() -> bytes:
    return sentencepiece_model([line for text in TEXTS for line in text.split("\n") if line], 380)


def sentencepiece_model(lines: Sequence[str], vocab_size: int) -> bytes:
    """A SentencePiece model as Llama-2's, trained on ``lines``: BPE with byte fallback, begin 1 and end 2."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=vocab_size, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, unk_id=0, bos_id=1, eos_id=2, pad_id=-1,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


FAMILIES: dict[str, Family] = {
    "llama-2": Family("llama-2", lambda: llama_like([], prefix="each"), "</s>", "<s>"),
    "llama-3": Family("llama-3", _llama_3, "<|eot_id|>", "<|begin_of_text|>"),
    "llama-3.1": Family("llama-3.1", _llama_3, "<|eot_id|>", "<|begin_of_text|>"),
    "mistral-v0.1": Family("mistral-v0.1", lambda: llama_like([], prefix="each"), "</s>", "<s>"),
    "mistral-v0.3": Family(
        "mistral-v0.3",
        lambda: llama_like([special("[INST]"), special("[/INST]")], prefix="first"),
        "</s>",
        "<s>",
    ),
    "qwen2.5": Family("qwen2.5", _qwen, "<|im_end|>"),
    "qwen3": Family("qwen3", lambda: _qwen(ordinary("<think>"), ordinary("</think>")), "<|im_end|>"),
    "phi-3": Family("phi-3", _phi_3, "<|endoftext|>", "<s>"),
    "gemma": Family("gemma", _gemma, "<eos>", "<bos>"),
    "deepseek-v3": Family("deepseek-v3", _deepseek, "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>"),
    "deepseek-r1": Family("deepseek-r1", _deepseek, "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>"),
    "smollm2": Family("smollm2", lambda: byte_level(_chatml()), "<|im_end|>"),
    "chatml on llama": Family("chatml", lambda: llama_like(_chatml(), prefix="first"), "<|im_end|>", "<s>"),
    "zephyr": Family("zephyr", lambda: llama_like([], prefix="each"), "</s>", "<s>"),
    "gpt-oss": Family("gpt-oss", _gpt_oss, "<|return|>", "<|startoftext|>"),
    "command-r": Family("command-r", _command_r, "<|END_OF_TURN_TOKEN|>", "<BOS_TOKEN>"),
    "glm-4": Family("glm-4", _glm_4, "<|endoftext|>"),
    "unigram": Family("chatml", lambda: unigram(_chatml()), "<|im_end|>"),
    "sentencepiece llama-2": Family("llama-2", _sentencepiece, "</s>", "<s>"),
    "sentencepiece mistral": Family("mistral-v0.1-spaced", _sentencepiece, "</s>", "<s>"),
}
"""By name. Those called ``sentencepiece`` have a ``tokenizer.model`` and no ``tokenizer.json``."""


def write_family(name: str, folder: Path) -> Path:
    """Write the tokenizer of a family into ``folder`` and return it."""
    family = FAMILIES[name]
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = family.build()
    settings: dict[str, Any] = {"eos_token": family.eos, "clean_up_tokenization_spaces": False}
    if family.bos:
        settings["bos_token"] = family.bos
    if isinstance(tokenizer, bytes):
        (folder / "tokenizer.model").write_bytes(tokenizer)
        settings |= {"tokenizer_class": "LlamaTokenizer", "unk_token": "<unk>", "legacy": True, "add_bos_token": True}
    else:
        tokenizer.save(str(folder / "tokenizer.json"))
        settings |= {"tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    template = (TEMPLATES / f"{family.template}.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


# --- turn shapes ------------------------------------------------------------------------------------------------------

Message = dict[str, str]


def _turns(*turns: tuple[str, str]) -> list[Message]:
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [{"role": roles[role], "content": content} for role, content in turns]


SHAPES: dict[str, list[Message]] = {
    "no system": _turns(("u", "lamp kettle"), ("a", "garden (1)")),
    "system": _turns(("s", "act"), ("u", "lamp"), ("a", "kettle 12"), ("u", "cloud\n\nbridge"), ("a", "carpet  é")),
    "two users": _turns(("u", "lamp"), ("u", "kettle"), ("a", "garden")),
    "tool": _turns(("u", "count"), ("a", "print(1)"), ("t", "1"), ("a", "total = 1")),
    "open": _turns(("u", "lamp"), ("a", "kettle"), ("u", "garden")),
    "blanks": _turns(
        ("u", " lamp\n"), ("a", " kettle "), ("u", "garden \n"), ("a", "window\n"), ("u", "x"), ("a", "ok ")
    ),
    "line breaks first": _turns(("u", "lamp"), ("a", "\n\nkettle"), ("u", "garden"), ("a", "window")),
    "empty": _turns(("u", ""), ("a", "lamp"), ("u", "kettle"), ("a", "")),
    "thoughts": _turns(
        ("u", "lamp"),
        ("a", "<think>\ncount\n</think>\n\nkettle"),
        ("u", "garden"),
        ("a", "<think>\nact\n</think>\n\nwindow"),
    ),
}
"""Conversations by what is special about them."""


def cells() -> Iterator[tuple[str, str]]:
    """Every family with every turn shape."""
    for family in FAMILIES:
        for shape in SHAPES:
            yield family, shape
