"""Fitting tokenized examples to a length, and telling which of them can be trained at all."""

from __future__ import annotations

from dataclasses import replace

from burnish.data.example import Example, Text, TokenizedExample
from burnish.data.preparation.options import PreparationOptions
from burnish.errors import UserError

TOO_LONG = "longer than max_length"
PROMPT_TOO_LONG = "the prompt alone fills max_length"
NOTHING_TRAINED = "no trained token"
NOTHING_TRAINED_AFTER_TRUNCATION = "no trained token after truncation"
EMPTY = "empty completion"
EMPTY_TEXT = "empty text"
EQUAL = "chosen equals rejected"
EQUAL_AFTER_TRUNCATION = "chosen equals rejected after truncation"


def fit(example: TokenizedExample, options: PreparationOptions) -> tuple[list[TokenizedExample], str]:
    """The example within `options.max_length`, or why it must be dropped.

    The limit is on every branch: the prompt and one completion. Several come of one that is split. Raises
    `UserError` where the options say that a long one is an error.
    """
    if example.dropped:
        return [], example.dropped
    limit = options.max_length
    longest = len(example.prompt) + max(map(len, example.completions), default=0)
    if limit is None or longest <= limit:
        return _kept([example], NOTHING_TRAINED)
    match options.truncation_mode:
        case "error":
            raise UserError(
                f"{longest} tokens, and max_length is {limit}",
                fix="raise max_length, or choose another truncation_mode",
                reason=TOO_LONG,
            )
        case "drop":
            return [], TOO_LONG
        case "split":
            return _kept(_split(example, limit), NOTHING_TRAINED_AFTER_TRUNCATION)
        case "keep_end":
            return _kept([_keep_end(example, limit)], NOTHING_TRAINED_AFTER_TRUNCATION)
    if len(example.prompt) >= limit:
        return [], PROMPT_TOO_LONG
    return _kept([_keep_start(example, limit)], NOTHING_TRAINED_AFTER_TRUNCATION)


def nothing_said(example: Example) -> str:
    """Why there is nothing to train in the texts of an example, or an empty string.

    A completion of white space alone would teach the model to stop at once, and as one of a pair to prefer or
    avoid that: nobody means it. Of a chat the last turn of the assistant counts; one that calls a tool or
    reasons says something.
    """
    if not any(map(_is_empty, example.completions)):
        return ""
    return EMPTY if example.splits or example.is_chat else EMPTY_TEXT


def _is_empty(completion: Text) -> bool:
    if isinstance(completion, str):
        return not completion.strip()
    answers = [message for message in completion if message["role"] == "assistant"]
    said = ("content", "tool_calls", "reasoning_content")
    return not completion or bool(answers and not any(_text(answers[-1].get(name)) for name in said))


def _text(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def _kept(pieces: list[TokenizedExample], reason: str) -> tuple[list[TokenizedExample], str]:
    """Those of the pieces that can be trained; the reason if none can, or if its answers are all equal."""
    trainable = [piece for piece in pieces if _trainable(piece)]
    if not trainable:
        return [], reason
    first, *others = trainable[0].completions or [[]]
    if others and all(tokens == first for tokens in others):
        return [], EQUAL if reason == NOTHING_TRAINED else EQUAL_AFTER_TRUNCATION
    return trainable, ""


def _trainable(example: TokenizedExample) -> bool:
    """Every completion has a token with a score. The first token of all has none."""
    first = 0 if example.prompt else 1
    return all(any(mask[first:]) for mask in example.trained)


def _keep_start(example: TokenizedExample, limit: int) -> TokenizedExample:
    room = limit - len(example.prompt)
    kept = replace(
        example,
        completions=[tokens[:room] for tokens in example.completions],
        trained=[mask[:room] for mask in example.trained],
    )
    return _with_labels_left(kept, lost=0)


def _keep_end(example: TokenizedExample, limit: int) -> TokenizedExample:
    """Every branch loses its own start: a long completion takes no prompt from a short one.

    Where the branches then begin at different places of the prompt, each has its part of it for itself.
    """
    prompt, longest = example.prompt, max(map(len, example.completions), default=0)
    if len({max(0, len(prompt) + len(tokens) - limit) for tokens in example.completions}) > 1:
        untrained = [False] * len(prompt)
        return replace(
            example,
            prompt=[],
            completions=[(prompt + tokens)[-limit:] for tokens in example.completions],
            trained=[(untrained + mask)[-limit:] for mask in example.trained],
        )
    kept = replace(
        example,
        prompt=prompt[len(prompt) + longest - limit :],
        completions=[tokens[-limit:] for tokens in example.completions],
        trained=[mask[-limit:] for mask in example.trained],
    )
    return _with_labels_left(kept, lost=sum(example.trained[0]) - sum(kept.trained[0]))


def _with_labels_left(kept: TokenizedExample, lost: int) -> TokenizedExample:
    """What is kept of a completion in judged steps, with their labels; `lost` steps came before them."""
    labels = kept.columns.get("labels")
    if labels is None or len(kept.completions) > 1:
        return kept
    own = labels[lost : lost + sum(kept.trained[0])]
    return replace(kept, columns={**kept.columns, "labels": own})


def _split(example: TokenizedExample, limit: int) -> list[TokenizedExample]:
    """Runs of `limit` tokens of a row with one completion, one after the other.

    The prompt goes with the first; a prompt that fills a run is cut like the rest and stays untrained.
    """
    tokens = example.prompt + example.completions[0]
    trained = [False] * len(example.prompt) + example.trained[0]
    return [
        replace(
            example,
            prompt=[],
            completions=[tokens[start : start + limit]],
            trained=[trained[start : start + limit]],
        )
        for start in range(0, len(tokens), limit)
    ]
