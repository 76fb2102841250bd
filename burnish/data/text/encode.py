"""Text to token ids, with the way back: which token a character belongs to.

A text is tokenized as a whole. Where a completion or a turn begins and ends is known in characters, and
`Encoded.tokens_before` says how many tokens end there. Cutting the text at these places and tokenizing the
pieces would give other ids at the seams. Only before a control token a cut changes nothing, so there texts
are cut, and what several of them have in common is tokenized once.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, groupby, takewhile
from typing import Any

from transformers import TokenizersBackend

from burnish.errors import UserError, shorten


@dataclass(frozen=True)
class Encoded:
    ids: list[int]  # int[T]
    tokens_before: Callable[[int], int]
    """How many tokens end at or before a character position; one that straddles it is not among them."""


def encode(
    tokenizer: Any, texts: Sequence[str], places: Sequence[Sequence[int]], *, add_special_tokens: bool
) -> list[Encoded]:
    """Tokenize texts. `places` are the characters of each that `tokens_before` will be asked for.

    `add_special_tokens` is for plain text; a chat template writes its own. The BOS token comes at most once.
    """
    if not texts:
        return []
    if not tokenizer.is_fast:
        return [_encode_slow(tokenizer, text, add_special_tokens) for text in texts]
    whole = [[text] for text in texts]
    cut = None if add_special_tokens else _cut_before(tokenizer)
    pieces = whole if cut is None else _shared_pieces(texts, cut)
    encoded = _encode_pieces(tokenizer, pieces, places, add_special_tokens)
    probe = next((row for row, found in enumerate(pieces) if len(found) > 1), None)
    if probe is not None:
        (known,) = _encode_pieces(tokenizer, [whole[probe]], [()], add_special_tokens)
        if known.ids != encoded[probe].ids:  # this tokenizer does look beyond its control tokens
            return _encode_pieces(tokenizer, whole, places, add_special_tokens)
    return encoded


# What texts have in common is tokenized once: a system prompt, the prompt of several completions


def _cut_before(tokenizer: Any) -> re.Pattern[str] | None:
    """Where a text may be cut without changing its tokens: before a control token of the chat template.

    Tokenizers take these out first and tokenize what is between them piece by piece. Left out are tokens that
    take white space before them along, and those that another token may overlap.
    """
    if tokenizer.split_special_tokens or _wrapped(tokenizer):
        return None
    added = tokenizer.added_tokens_decoder.values()
    template = str(tokenizer.chat_template)
    cuts = [
        token.content
        for token in added
        if token.special and not (token.normalized or token.lstrip or token.single_word)
        if token.content in template and not any(token.content[0] in other.content[1:] for other in added)
    ]
    return re.compile(f"(?={'|'.join(map(re.escape, cuts))})") if cuts else None


def _shared_pieces(texts: Sequence[str], cut: re.Pattern[str]) -> list[list[str]]:
    """Texts in pieces: each that occurs more than once on its own, what is between them in one."""
    split = [[piece for piece in cut.split(text) if piece] or [text] for text in texts]
    counts = Counter(chain.from_iterable(split))
    return [
        [
            piece
            for single, run in groupby(row, lambda piece: counts[piece] == 1)
            for piece in (["".join(run)] if single else run)
        ]
        for row in split
    ]


def _encode_pieces(
    tokenizer: Any, rows: list[list[str]], places: Sequence[Sequence[int]], add_special_tokens: bool
) -> list[Encoded]:
    """Every distinct piece once, with offsets only where a place lies in it."""
    placed: dict[str, bool] = {}
    for row, wanted in zip(rows, places, strict=True):
        stop = 0
        for piece in row:
            start, stop = stop, stop + len(piece)
            inside = any(start < place < stop or add_special_tokens for place in wanted)
            placed[piece] = inside or placed.get(piece, False)
    found: dict[str, Piece] = {}
    for inside in (False, True):
        distinct = [piece for piece, wanted in placed.items() if wanted == inside]
        if distinct:
            encodings = _encode_fast(tokenizer, distinct, add_special_tokens, inside)
            found |= {
                text: Piece(text, encoding.ids, encoding if inside else None)
                for text, encoding in zip(distinct, encodings, strict=True)
            }
    return [_joined(tokenizer, [found[piece] for piece in row]) for row in rows]


def _encode_fast(tokenizer: Any, texts: list[str], add_special_tokens: bool, placed: bool) -> list[Any]:
    """The Rust tokenizer itself where the class adds nothing to it; half the time goes into the wrapping."""
    if _wrapped(tokenizer):
        batch = tokenizer(texts, add_special_tokens=add_special_tokens, verbose=False)
        return batch.encodings
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = tokenizer.split_special_tokens
    run = backend.encode_batch if placed else backend.encode_batch_fast
    return run(texts, add_special_tokens=add_special_tokens)


def _wrapped(tokenizer: Any) -> bool:
    return type(tokenizer)._encode_plus is not TokenizersBackend._encode_plus


@dataclass(frozen=True)
class Piece:
    """A tokenized piece of a text."""

    text: str
    ids: list[int]
    encoding: Any  # of the Rust tokenizer; None if only the ends of the piece will be asked for

    def tokens_before(self, position: int) -> int:
        if self.encoding is None:
            return len(self.ids) if position else 0
        if not position:  # offsets say of white space that it ends where it begins, so they cannot tell
            return sum(1 for _ in takewhile(bool, self.encoding.special_tokens_mask))
        token = self.encoding.char_to_token(position)
        return bisect_right(_ends(self.encoding.offsets), position) if token is None else token


def _ends(offsets: list[tuple[int, int]]) -> list[int]:
    """The end of every token in characters. Special tokens that stand for no character are at (0, 0)."""
    return list(accumulate((end for _, end in offsets), max))


def _joined(tokenizer: Any, pieces: list[Piece]) -> Encoded:
    """Pieces as one text; of several BOS tokens at its beginning, one stays."""
    ids = pieces[0].ids if len(pieces) == 1 else [token for piece in pieces for token in piece.ids]
    surplus = _surplus_bos(tokenizer, ids)

    def tokens_before(position: int) -> int:
        start = tokens = 0
        for piece in pieces:
            if position <= start + len(piece.text):
                return max(tokens + piece.tokens_before(position - start) - surplus, 0)
            start, tokens = start + len(piece.text), tokens + len(piece.ids)
        raise IndexError(position)

    return Encoded(ids[surplus:] if surplus else ids, tokens_before)


def with_places(tokenizer: Any, ids: list[int], offsets: list[tuple[int, int]]) -> Encoded:
    """Token ids with their characters; of several BOS tokens at the beginning, one stays."""
    surplus = _surplus_bos(tokenizer, ids)
    ends = _ends(offsets)[surplus:]
    return Encoded(ids[surplus:], lambda position: bisect_right(ends, position))


def _surplus_bos(tokenizer: Any, ids: list[int]) -> int:
    bos = tokenizer.bos_token_id
    surplus = 0
    while bos is not None and ids[surplus : surplus + 2] == [bos, bos]:
        surplus += 1
    return surplus


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
