"""Text to token ids, with the way back: which token a character belongs to.

A text is tokenized once, whole. Where a completion or a turn begins and ends is known in characters, and
`Encoded.tokens_before` says how many tokens end there. Cutting the text first and tokenizing the pieces
would give other ids at the seams.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from transformers import TokenizersBackend

from burnish.errors import UserError, shorten


@dataclass(frozen=True)
class Encoded:
    ids: list[int]  # int[T]
    tokens_before: Callable[[int], int]
    """How many tokens end at or before a character position; one that straddles it is not among them."""


def encode(tokenizer: Any, texts: Sequence[str], *, add_special_tokens: bool, aligned: bool) -> list[Encoded]:
    """Tokenize texts. `tokens_before` may be called where `aligned`; the BOS token comes at most once.

    `add_special_tokens` is for plain text; a chat template writes its own.
    """
    if not texts:
        return []
    if not tokenizer.is_fast:
        return [_encode_slow(tokenizer, text, add_special_tokens) for text in texts]
    encodings = _encode_fast(tokenizer, list(texts), add_special_tokens, aligned)
    return [with_places(tokenizer, e.ids, e.offsets if aligned else []) for e in encodings]


def _encode_fast(tokenizer: Any, texts: list[str], add_special_tokens: bool, aligned: bool) -> list[Any]:
    """The Rust tokenizer itself where the class adds nothing to it; half the time goes into the wrapping."""
    if type(tokenizer)._encode_plus is not TokenizersBackend._encode_plus:
        batch = tokenizer(texts, add_special_tokens=add_special_tokens, verbose=False)
        return batch.encodings
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = tokenizer.split_special_tokens
    run = backend.encode_batch if aligned else backend.encode_batch_fast
    return run(texts, add_special_tokens=add_special_tokens)


def with_places(tokenizer: Any, ids: list[int], offsets: list[tuple[int, int]]) -> Encoded:
    """Token ids with the characters where they end; of several BOS tokens at the beginning, one stays."""
    ends = list(accumulate((end for _, end in offsets), max))  # tokens that stand for no character: (0, 0)
    bos = tokenizer.bos_token_id
    extra = 0
    while bos is not None and ids[extra : extra + 2] == [bos, bos]:
        extra += 1
    if extra:
        ids, ends = ids[extra:], ends[extra:]
    return Encoded(ids, lambda position: bisect_right(ends, position))


MAX_STRADDLING = 8
"""Tokens at the end of a prefix that may differ from the whole text's, for tokenizers without offsets."""


def _encode_slow(tokenizer: Any, text: str, add_special_tokens: bool) -> Encoded:
    """Without offsets: the tokens of the text before a position, as far as the whole text has them too."""

    def ids_of(piece: str) -> list[int]:
        return tokenizer(piece, add_special_tokens=add_special_tokens, verbose=False)["input_ids"]

    ids = ids_of(text)

    def tokens_before(position: int) -> int:
        prefix = ids_of(text[:position])
        common = common_prefix(prefix, ids)
        if len(prefix) - common > MAX_STRADDLING:
            raise UserError(
                "this tokenizer reports no offsets, and the tokens of "
                f"{shorten(text[max(0, position - 40) : position])} depend on the text that follows",
                fix="use the fast version of the tokenizer (AutoTokenizer, use_fast=True)",
            )
        return common

    return Encoded(ids, tokens_before)


def common_prefix(first: Sequence[Any], second: Sequence[Any]) -> int:
    """Length of the longest common prefix."""
    limit = min(len(first), len(second))
    if first[:limit] == second[:limit]:
        return limit
    return next(i for i in range(limit) if first[i] != second[i])
