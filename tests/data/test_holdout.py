"""Held-out rows share no prompt with those in training, whatever the order of rows."""

from __future__ import annotations

import random
from pathlib import Path

import datasets
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.data.preparation.options import PreparationOptions
from burnish.data.reading.formats import LANGUAGE, PREFERENCE
from burnish.data.sources.holdout import hold_out, prompt_of
from burnish.data.sources.rows import Origins, Source
from burnish.data.sources.source import load_rows
from burnish.errors import UserError

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def source(rows, name="rows") -> Source:
    return Source(Dataset.from_list(rows), Origins(name))


def asked(*prompts: str) -> list[dict]:
    return [{"prompt": prompt, "completion": str(n)} for n, prompt in enumerate(prompts)]


def prompts_in(sources) -> set[str]:
    return {row["prompt"].lower().strip() for each in sources for row in each.dataset}


def rows_in(sources) -> list[tuple[str, int]]:
    return sorted((s.origins.name, s.origins.number(i)) for s in sources for i in range(len(s)))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=2, max_size=40),
    st.one_of(st.floats(0.05, 0.9), st.integers(1, 5)),
    st.integers(0, 3),
)
def test_the_sides_share_no_prompt_and_have_every_row(numbers, size, seed):
    rows = asked(*(f"Question {n}" for n in numbers))
    half = len(rows) // 2
    sources = [source(rows[:half], "a"), source(rows[half:], "b")]
    try:
        train, test = hold_out(sources, size, LANGUAGE, seed=seed)
    except UserError:
        assert len(set(numbers)) == 1 or size >= len(rows)
        return
    assert not prompts_in(train) & prompts_in(test)
    everything = [("a", i) for i in range(half)] + [("b", i) for i in range(len(rows) - half)]
    assert sorted(rows_in(train) + rows_in(test)) == sorted(everything)
    assert train and test


def test_the_order_of_rows_does_not_matter_and_the_seed_does():
    rows = asked(*(f"Question {n}" for n in range(60)))
    mixed = random.Random(0).sample(rows, len(rows))
    held = [prompts_in(hold_out([source(each)], 0.2, LANGUAGE)[1]) for each in (rows, mixed)]
    assert held[0] == held[1] and len(held[0]) == 12
    assert held[0] != prompts_in(hold_out([source(rows)], 0.2, LANGUAGE, seed=1)[1])


def test_a_number_of_rows():
    train, test = hold_out([source(asked(*map(str, range(30))))], 4, LANGUAGE)
    assert (sum(map(len, train)), sum(map(len, test))) == (26, 4)
    assert test[0].notes == ("4 of 30 rows are held out, by prompt",)


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"prompt": "  What\n is  IT? ", "completion": "a"}, "what is it?"),
        ({"text": "Once  upon"}, "once upon"),
        (
            {
                "messages": [
                    {"role": "system", "content": "Be kind."},
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": "a"},
                    {"role": "user", "content": "And?"},
                    {"role": "assistant", "content": "b"},
                ]
            },
            "hi",
        ),
        ({"messages": [{"role": "assistant", "content": "Alone"}]}, "alone"),
        ({"messages": []}, ""),
    ],
)
def test_the_prompt_of_a_row(row, prompt):
    assert prompt_of(LANGUAGE(row)) == prompt


def test_capitals_and_spaces_do_not_make_another_prompt():
    train, test = hold_out([source(asked("Why?", "why? ", " WHY?", "How?"))], 1, LANGUAGE)
    assert rows_in(test) == [("rows", 3)] and len(train[0]) == 3


def test_a_row_that_cannot_be_read_stays_in_training():
    rows = [{"prompt": str(n), "completion": None if n % 2 else "a"} for n in range(10)]
    train, test = hold_out([source(rows)], 3, LANGUAGE)
    assert all(row["completion"] for row in test[0].dataset) and len(train[0]) == 7


def test_a_held_out_row_is_evaluated_once_whatever_its_weight():
    heavy = Source(Dataset.from_list(asked("a", "b", "c", "d")), Origins("rows"), weight=3.0)
    train, test = hold_out([heavy], 2, LANGUAGE)
    assert (train[0].weight, test[0].weight) == (3.0, 1.0)


@pytest.mark.parametrize(
    ("prompts", "size", "message"),
    [
        (["a", "a", "a"], 0.4, "no split by prompt: 3 rows have 1 prompt\n"),
        (["a", "b"], 2, "expected a share of the 2 rows (0.1), or a number of rows below that, found 2"),
        (["a", "b"], 0.0, "found 0"),
    ],
)
def test_what_cannot_be_split(prompts, size, message):
    with pytest.raises(UserError) as error:
        hold_out([source(asked(*prompts))], size, LANGUAGE)
    assert message in str(error.value) and str(error.value).startswith("test_split_size: ")


@pytest.mark.skipif(not DATA.is_dir(), reason="the data is not here")
@pytest.mark.parametrize(
    ("file", "columns", "read_row"),
    [
        ("pref_hh_harmless_test.jsonl", {}, PREFERENCE),
        ("raw_hh_strings_200.jsonl", {}, PREFERENCE),
        ("sft_permissive_test.jsonl", {}, LANGUAGE),
        (
            "messy_user_prefs.jsonl",
            {"prompt": "question", "chosen": "good_answer", "rejected": "bad_answer"},
            PREFERENCE,
        ),
    ],
)
def test_real_files(file, columns, read_row, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    whole = load_rows(DATA / file, columns=columns)
    train, test = hold_out([whole], 0.1, read_row)

    def prompts(source: Source) -> set[str]:
        found = set()
        for row in source.dataset:
            try:
                found.add(prompt_of(read_row(row, columns)))
            except UserError:
                assert source is not test[0]
        return found

    assert len(train[0]) + len(test[0]) == len(whole) and abs(len(test[0]) - len(whole) / 10) <= 2
    assert not prompts(train[0]) & prompts(test[0])
    assert PreparationOptions().with_columns(columns).columns == columns
