"""Fitting tokenized examples to a length, and telling which of them can be trained at all."""

from __future__ import annotations

from dataclasses import replace

from burnish.data.example import TokenizedExample
from burnish.data.options import PreparationOptions

TOO_LONG = "longer than max_length"
PROMPT_TOO_LONG = "the prompt alone fills max_length"
NOTHING_TRAINED = "no trained token"
NOTHING_TRAINED_AFTER_TRUNCATION = "no trained token after truncation"


def fit(example: TokenizedExample, options: PreparationOptions) -> tuple[TokenizedExample, str]:
    """The example within `options.max_length`, and why it must be dropped (empty: it is kept).

    The limit is on every branch: the prompt and one completion.
    """
    limit = options.max_length
    longest = len(example.prompt) + max(map(len, example.completions))
    if limit is None or longest <= limit:
        return example, "" if _trainable(example) else NOTHING_TRAINED
    if options.overlong == "drop":
        return example, TOO_LONG
    if options.truncation_mode == "keep_end":
        example = _keep_end(example, limit, longest - limit)
    elif len(example.prompt) >= limit:
        return example, PROMPT_TOO_LONG
    else:
        example = _keep_start(example, limit)
    return example, "" if _trainable(example) else NOTHING_TRAINED_AFTER_TRUNCATION


def _trainable(example: TokenizedExample) -> bool:
    """Every completion has a token with a score. The first token of all has none."""
    first = 0 if example.prompt else 1
    return all(any(mask[first:]) for mask in example.trained)


def _keep_start(example: TokenizedExample, limit: int) -> TokenizedExample:
    room = limit - len(example.prompt)
    return replace(
        example,
        completions=[tokens[:room] for tokens in example.completions],
        trained=[mask[:room] for mask in example.trained],
    )


def _keep_end(example: TokenizedExample, limit: int, overflow: int) -> TokenizedExample:
    """The shared prompt loses what the longest branch must lose; then long completions lose their start."""
    prompt = example.prompt[overflow:]
    return replace(
        example,
        prompt=prompt,
        completions=[tokens[-limit:] for tokens in example.completions],
        trained=[mask[-limit:] for mask in example.trained],
    )
