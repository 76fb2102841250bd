"""Rows as TRL's scripts turn them over."""

import pytest
from datasets import Dataset, DatasetDict, IterableDataset

import burnish
from burnish.errors import UserError


def turn(role: str, content: str) -> dict:
    return {"role": role, "content": content}


ASKED, YES, NO = [turn("user", "q")], [turn("assistant", "yes")], [turn("assistant", "no")]
SHAREGPT = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo", "weight": 1}]


@pytest.mark.parametrize(
    ("row", "chat", "sharegpt"),
    [
        ({"messages": ASKED}, True, False),
        ({"prompt": ASKED, "completion": YES}, True, False),
        ({"chosen": YES, "rejected": NO}, True, False),
        ({"prompt": "q", "completion": "yes"}, False, False),
        ({"prompt": []}, False, False),
        ({"text": "q"}, False, False),
        ({"conversations": SHAREGPT}, False, True),
        ({"conversations": ASKED}, False, False),
    ],
)
def test_chats_are_recognised(row, chat, sharegpt):
    assert (burnish.is_conversational(row), burnish.is_conversational_from_value(row)) == (chat, sharegpt)


@pytest.mark.parametrize(
    ("row", "made"),
    [
        (
            {"conversations": SHAREGPT, "id": 1},
            {"messages": [turn("human", "hi"), {**turn("gpt", "yo"), "weight": 1}], "id": 1},
        ),
        ({"conversations": ASKED}, {"messages": ASKED}),
        ({"prompt": [{"from": "user", "value": "q"}], "chosen": YES}, {"prompt": ASKED, "chosen": YES}),
        ({"text": "a"}, {"text": "a"}),
    ],
)
def test_other_spellings_of_messages(row, made):
    before = dict(row)
    assert burnish.maybe_convert_to_chatml(row) == made
    assert row == before


@pytest.mark.parametrize(
    ("chosen", "rejected", "parts"),
    [
        ("The sky is blue", "The sky is green", ("The sky is", " blue", " green")),
        ("The sky is big", "The sky isn't", ("The sky is", " big", "n't")),
        ("Hi there", "Hi there you", ("Hi ther", "e", "e you")),
        ("abc", "xyz", ("", "abc", "xyz")),
        (ASKED + YES, ASKED + NO, (ASKED, YES, NO)),
    ],
)
def test_the_prompt_of_a_pair_is_what_both_begin_with(chosen, rejected, parts):
    row = {"chosen": chosen, "rejected": rejected, "id": 1}
    wanted = dict(zip(("prompt", "chosen", "rejected"), parts, strict=True))
    assert burnish.extract_prompt(row) == burnish.maybe_extract_prompt(row) == wanted


def test_a_pair_with_its_prompt_stays_as_it_is():
    row = {"prompt": ASKED, "chosen": ASKED + YES, "rejected": ASKED + NO}
    assert burnish.maybe_extract_prompt(row) == row
    assert burnish.maybe_extract_prompt({"messages": ASKED}) == {"messages": ASKED}


PAIRS = [{"prompt": f"p{n}", "chosen": f"c{n}", "rejected": f"r{n}", "id": n} for n in range(2)]
UNPAIRED = {
    "prompt": ["p0", "p1", "p0", "p1"],
    "id": [0, 1, 0, 1],
    "completion": ["c0", "c1", "r0", "r1"],
    "label": [True, True, False, False],
}


def test_pairs_are_taken_apart():
    rows = Dataset.from_list(PAIRS)
    assert burnish.unpair_preference_dataset(rows)[:] == UNPAIRED
    assert burnish.maybe_unpair_preference_dataset(rows, num_proc=None, desc=None)[:] == UNPAIRED
    assert burnish.maybe_unpair_preference_dataset(DatasetDict({"train": rows}))["train"][:] == UNPAIRED
    stream = burnish.maybe_unpair_preference_dataset(IterableDataset.from_generator(lambda: iter(PAIRS)))
    assert [row["completion"] for row in stream] == UNPAIRED["completion"]
    alone = Dataset.from_list([{"prompt": "a", "completion": "b", "label": True}])
    assert burnish.maybe_unpair_preference_dataset(alone) is alone
    with pytest.raises(UserError, match="the rows are no pairs"):
        burnish.unpair_preference_dataset(alone)


@pytest.mark.parametrize(
    ("strategy", "ids", "lengths"),
    [
        ("bfd", [[1, 2, 3, 4], [7, 8, 9], [5, 6]], [[4], [3], [2]]),
        ("bfd_split", [[1, 2, 3, 4], [7, 8, 9, 5], [5, 6]], [[4], [3, 1], [2]]),
        ("wrapped", [[1, 2, 3, 4], [5, 5, 6, 7], [8, 9]], None),
    ],
)
def test_rows_are_packed(strategy, ids, lengths):
    rows = Dataset.from_list(
        [{"input_ids": row, "mask": row} for row in ([1, 2, 3, 4, 5], [5, 6], [7, 8, 9])]
    )
    packed = burnish.pack_dataset(rows, 4, strategy)
    assert packed["input_ids"][:] == packed["mask"][:] == ids
    assert ("seq_lengths" in packed.column_names) == (lengths is not None)
    assert lengths is None or packed["seq_lengths"][:] == lengths


def test_what_cannot_be_packed_is_said():
    rows = Dataset.from_list([{"input_ids": [1], "text": "a"}])
    with pytest.raises(UserError, match="column 'text': the column is no list"):
        burnish.pack_dataset(rows, 4)
    with pytest.raises(UserError, match="choose one of bfd, bfd_split, wrapped"):
        burnish.pack_dataset(rows, 4, "ffd")
