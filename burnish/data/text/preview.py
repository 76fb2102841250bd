"""The first example as the model sees it, with what is trained of it marked, for the log.

    <|im_start|>user
    Hi<|im_end|>
    <|im_start|>assistant
    ⟦Hello.<|im_end|>
    ⟧

Text between the brackets is trained. Several completions of one prompt follow it one by one.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from burnish.data.example import TokenizedExample

OPEN, CLOSE = "⟦", "⟧"


def preview(example: TokenizedExample, tokenizer: Any, limit: int = 2000) -> str:
    """The text of an example, decoded from its token ids; each part is cut to `limit` characters."""
    prompt = _cut(tokenizer.decode(example.prompt), limit)
    completions = [
        _cut(_marked(tokens, mask, tokenizer), limit)
        for tokens, mask in zip(example.completions, example.trained, strict=True)
    ]
    if len(completions) == 1:
        return prompt + completions[0]
    return "\n".join([prompt, *(f"--- completion {i}\n{text}" for i, text in enumerate(completions))])


def runs(tokens: list[int], mask: list[bool], tokenizer: Any) -> list[tuple[str, bool]]:
    """Tokens as text, in runs that are trained or not."""
    pairs = groupby(zip(tokens, mask, strict=True), key=lambda pair: pair[1])
    return [(tokenizer.decode([token for token, _ in run]), trained) for trained, run in pairs]


def _marked(tokens: list[int], mask: list[bool], tokenizer: Any) -> str:
    return "".join(
        f"{OPEN}{text}{CLOSE}" if trained else text for text, trained in runs(tokens, mask, tokenizer)
    )


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit // 2]} … {text[-limit // 2 :]}"
