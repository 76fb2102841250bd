"""Whether the model learns to stop: the last word of an answer must be a stop token, and trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from burnish.data.example import TokenizedExample
from burnish.data.inspection.seen import Seen


class StopTokens:
    """A check of tokenized rows. Blanks after the stop token do not matter: templates write some."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._special = set(tokenizer.all_special_ids)
        self._special |= {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._blank: dict[int, bool] = {}

    def __call__(self, seen: Seen) -> str:
        """What is trained last instead, or nothing. Rows that are cut or dropped have another finding."""
        if seen.cut or not seen.kept or (seen.example is not None and seen.example.steps):
            return ""
        return "; ".join(filter(None, (self.instead(example) for example in seen.kept)))

    def instead(self, example: TokenizedExample) -> str:
        """What ends a completion where no trained stop token does."""
        for tokens, trained in zip(example.completions, example.trained, strict=True):
            last = self.last(tokens)
            if last is None:
                return "no token"
            if tokens[last] not in self._special:
                return f"it ends with {self._tokenizer.decode([tokens[last]])!r}"
            if not trained[last]:
                return f"{self._tokenizer.decode([tokens[last]])} is not trained"
        return ""

    def last(self, tokens: Sequence[int]) -> int | None:
        """Where the last token is that is not blank."""
        return next((at for at in reversed(range(len(tokens))) if not self._is_blank(tokens[at])), None)

    def is_special(self, token: int) -> bool:
        return token in self._special

    def _is_blank(self, token: int) -> bool:
        if token not in self._blank:
            is_special = self.is_special(token)
            self._blank[token] = not is_special and not self._tokenizer.decode([token]).strip()
        return self._blank[token]
