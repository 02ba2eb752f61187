"""A conversation as token ids: the model's chat template, with the sampled ids of earlier turns.

Contract: :meth:`ChatPrompt.ids` renders the template over the whole conversation and encodes the text between assistant
turns that have ``token_ids``; those ids are inserted unchanged. The model therefore always sees the tokens that it
sampled (encoding is not the inverse of decoding). Cost: about a millisecond.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rollout.bank.trajectory import Message
from rollout.servers.backend import load_tokenizer

_MARK = "\N{OBJECT REPLACEMENT CHARACTER}turn{}\N{OBJECT REPLACEMENT CHARACTER}"


class ChatPrompt:
    """The tokenizer and chat template of a model folder."""

    def __init__(self, folder: str | Path) -> None:
        self._tokenizer = load_tokenizer(folder)

    def ids(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of the conversation, including the start of the next assistant turn."""
        chat, sampled = [], []
        for index, message in enumerate(messages):
            content = message.content
            if message.role == "assistant" and message.token_ids is not None:
                content = _MARK.format(index)
                sampled.append((content, message.token_ids))
            chat.append({"role": message.role, "content": content})
        text = str(self._tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False))
        ids: list[int] = []
        for mark, token_ids in sampled:
            piece, text = text.split(mark, 1)
            ids += self._encode(piece)
            ids += token_ids
            # the template closes the turn itself: a sampled end token must not occur twice
            if token_ids and self._encode(text)[:1] == [token_ids[-1]]:
                ids.pop()
        return ids + self._encode(text)

    def continued(self, prompt: str | Sequence[Message], texts: Sequence[str]) -> list[list[int]]:
        """Token ids of a prompt with each of the texts after it, encoded as a whole.

        Args:
            prompt: plain text, which gets the special tokens of the tokenizer, or a chat, whose next turn the texts
                begin.
        """
        if isinstance(prompt, str):
            return [list(self._tokenizer(prompt + text).input_ids) for text in texts]
        chat = [{"role": message.role, "content": message.content} for message in prompt]
        begun = str(self._tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False))
        return [self._encode(begun + text) for text in texts]

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of sampled ids, without special tokens."""
        return str(self._tokenizer.decode(list(token_ids), skip_special_tokens=True))

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False).input_ids)
