"""Prompts with completions of other prompts, as the KL estimate of KTO wants them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from burnish.data.example import TokenizedExample


def mismatched(
    examples: Sequence[TokenizedExample], seed: int, max_length: int | None
) -> list[TokenizedExample]:
    """Every example's prompt with the completion of another one, cut off at `max_length` tokens in all.

    Each completion is used once, beside another prompt as far as there are any. Random by `seed`, and the
    same for the same examples in any order. None for less than two examples.
    """
    if len(examples) < 2:
        return []
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index in sorted(range(len(examples)), key=lambda i: (examples[i].prompt, examples[i].completions)):
        groups[tuple(examples[index].prompt)].append(index)
    rng = random.Random(seed)
    prompts = list(groups)
    rng.shuffle(prompts)
    order = []
    for prompt in prompts:
        rng.shuffle(groups[prompt])
        order += groups[prompt]
    # Examples of a prompt stand together, so a shift by the largest group leads out of every one of them, as
    # long as none has more than half of all.
    largest = max(map(len, groups.values()))
    shift = largest if largest < len(order) else 1
    donors = dict(zip(order, order[shift:] + order[:shift], strict=True))
    return [_with_completion_of(e, examples[donors[i]], max_length) for i, e in enumerate(examples)]


def _with_completion_of(
    example: TokenizedExample, donor: TokenizedExample, max_length: int | None
) -> TokenizedExample:
    room = None if max_length is None else max(1, max_length - len(example.prompt))
    return replace(
        example, completions=[donor.completions[0][:room]], trained=[donor.trained[0][:room]], columns={}
    )


def side_by_side(first: TokenizedExample, second: TokenizedExample) -> TokenizedExample:
    """Two examples of one prompt as one, in which it is computed once."""
    return replace(
        first,
        completions=[*first.completions, *second.completions],
        trained=[*first.trained, *second.trained],
        columns={},
    )
