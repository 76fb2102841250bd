"""Completions of other prompts, and pairs of which both sides are rows of their own."""

from __future__ import annotations

import random

import pytest
from datasets import Dataset

from burnish.data.example import TokenizedExample
from burnish.data.mismatch import mismatched, side_by_side
from burnish.data.preparation.options import PreparationOptions
from burnish.data.preparation.prepare import prepare
from burnish.data.reading.formats import JUDGED
from burnish.errors import UserError
from tests.conftest import tiny_tokenizer


def example(prompt, completion):
    return TokenizedExample([prompt] * 3, [[completion] * 2], [[True] * 2], {"label": 1.0})


def donors(examples, seed=0):
    return [other.completions[0][0] for other in mismatched(examples, seed, None)]


@pytest.mark.parametrize("groups", [[1, 1], [1] * 9, [2, 2], [2, 1, 2, 3], [4, 2, 1, 1]])
def test_every_completion_is_used_once_beside_another_prompt(groups):
    prompts = [prompt for prompt, size in enumerate(groups) for _ in range(size)]
    examples = [example(prompt, 100 + place) for place, prompt in enumerate(prompts)]
    for seed in range(20):
        found = donors(examples, seed)
        assert sorted(found) == [e.completions[0][0] for e in examples]
        assert all(prompts[donor - 100] != prompt for donor, prompt in zip(found, prompts, strict=True))


def test_where_one_prompt_has_most_examples_no_completion_stays_where_it_was():
    for groups in ([3], [5, 1]):
        prompts = [prompt for prompt, size in enumerate(groups) for _ in range(size)]
        examples = [example(prompt, 100 + place) for place, prompt in enumerate(prompts)]
        for seed in range(20):
            assert all(donor != 100 + place for place, donor in enumerate(donors(examples, seed)))


def test_the_order_of_the_examples_does_not_matter_and_the_seed_does():
    examples = [example(n, 100 + n) for n in range(9)]
    expected = dict(zip(range(9), donors(examples), strict=True))
    for _ in range(5):
        order = random.sample(range(9), 9)
        assert donors([examples[n] for n in order]) == [expected[n] for n in order]
    assert len({tuple(donors(examples, seed)) for seed in range(20)}) > 10


def test_a_completion_is_cut_off_where_the_prompt_leaves_no_more_room():
    (first, _) = mismatched([example(1, 5), example(2, 6)], 0, max_length=4)
    assert (first.prompt, first.completions, first.trained) == ([1, 1, 1], [[6]], [[True]])


def test_one_example_has_no_other():
    assert mismatched([example(1, 5)], 0, None) == [] == mismatched([], 0, None)


def test_side_by_side_is_one_prompt_with_two_completions():
    both = side_by_side(example(1, 5), example(1, 6))
    assert (both.prompt, both.completions) == ([1, 1, 1], [[5, 5], [6, 6]])


@pytest.mark.parametrize("chat", [False, True])
def test_both_sides_of_a_pair_are_rows_with_a_label(chat):
    tokenizer = tiny_tokenizer() if chat else tiny_tokenizer(chat_template=None)
    question = {"question": "Is it?", "chosen": "yes", "rejected": "no", "margin": 2.0}
    rows, report = prepare(Dataset.from_list([question] * 3), JUDGED, tokenizer, PreparationOptions())
    assert rows["label"][:] == [1.0, 0.0] * 3 and "margin" not in rows.column_names
    assert all(len(completions) == 1 for completions in rows["completion_ids"])
    said = [tokenizer.decode(row["prompt_ids"] + row["completion_ids"][0]) for row in rows]
    assert "Is it?" in said[0] and "yes" in said[0] and "no" in said[1] and "yes" not in said[1]
    assert "<|im_start|>" in said[0] if chat else said[0].startswith("Is it?\n")
    assert (report.read, report.kept) == (3, 3)


def test_rows_that_are_neither_are_refused_with_what_is_expected():
    with pytest.raises(UserError) as caught:
        JUDGED({"prompt": "Is it?", "completion": "yes"})
    assert "prompt + completion + label" in str(caught.value) and "chosen" in str(caught.value)
