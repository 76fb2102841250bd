"""Columns beside those of a format: read by every format in the same way, or refused by name."""

from __future__ import annotations

import json

import pytest

from burnish.data.example import Example, TokenizedExample
from burnish.data.preparation.options import PreparationOptions
from burnish.data.reading.formats import FAMILIES, JUDGED, LANGUAGE, PREFERENCE, UNPAIRED
from burnish.data.reading.graded import GRADED
from burnish.data.reading.side_columns import CONTEXT, HISTORY, MEDIA, SYSTEM, unread_content
from burnish.data.reading.variants import WITH_MARGIN
from burnish.data.sources.source import load_rows
from burnish.errors import UserError
from tests.data.chats import assistant, system, user
from tests.data.test_formats import ROWS

ASK, YES, NO = user("Is it?"), assistant("yes"), assistant("no")
VALUES = {
    **dict.fromkeys(SYSTEM, "Speak of heather."),
    **{name: [["Who picked heather?", "We did."]] for name in HISTORY},
    **dict.fromkeys(CONTEXT, "It stands on the heather moor."),
}
FORMATS = {f"{family.name}: {each.name}": (family, each) for family in FAMILIES for each in family.formats}
"""Every format of every family, of which each has a row in the tests of formats."""


def row_of(family, known):
    cells = {name: row for read, row, _ in ROWS.values() if read is family for name in [read.find(row).name]}
    found = dict(cells.get(known.name, {}))
    if not set(known.columns) <= found.keys():  # one of the names that a question or an answer goes by
        for name, own in known.aliases.items():
            found[own] = "Is it?" if name == "prompt" else "yes"
    return {name: value for name, value in found.items() if name not in VALUES or name in known.columns}


@pytest.mark.parametrize("as_chats", [False, True])
@pytest.mark.parametrize("column", VALUES)
@pytest.mark.parametrize("case", FORMATS)
def test_every_format_reads_every_side_column_or_refuses_it_by_name(case, column, as_chats):
    family, known = FORMATS[case]
    if not known.sides:
        return
    row = row_of(family, known) | {column: VALUES[column]}
    assert family.find(row) is not None
    try:
        example = family(row, as_chats=as_chats)
    except UserError as error:
        assert f"column '{column}'" in error.where and f"--columns {column}=" in error.fix
        plain = known.name.startswith("text") or error.reason == "two system messages that differ"
        assert not as_chats or plain
    else:
        said = [json.dumps([example.prompt, each]) for each in example.completions or ("",)]
        assert all("heather" in text for text in said)
        if example.plain is not None:
            assert "heather" in example.plain.prompt


def test_token_ids_are_complete_and_the_columns_beside_them_are_named():
    row = {"input_ids": [5, 6], "system": "Be calm.", "history": None}
    assert LANGUAGE(row) == TokenizedExample([], [[5, 6]], [[True, True]])
    found = LANGUAGE.recognise(row)
    assert found.unused == ("system", "history")
    assert unread_content(row, found.used, LANGUAGE(row)) == ["system"]


@pytest.mark.parametrize("family", [LANGUAGE, PREFERENCE, UNPAIRED, JUDGED, GRADED, WITH_MARGIN])
@pytest.mark.parametrize("column", MEDIA)
def test_pictures_stop_a_row(family, column):
    row = {"prompt": [ASK], "completion": [YES], "chosen": [YES], "rejected": [NO], "label": 1, "margin": 1}
    family(row | {column: []})
    with pytest.raises(UserError, match=f"column '{column}': images, sound and video") as error:
        family(row | {column: [{"bytes": "x"}]})
    assert f"--columns {column}=" in error.value.fix
    family(row | {column: [{"bytes": "x"}]}, {column: ""})


PLACES = {
    "system before everything": (
        LANGUAGE,
        {"messages": [ASK, YES], "system": "Be calm."},
        Example("", ([system("Be calm."), ASK, YES],)),
    ),
    "history between the system turn and the question": (
        PREFERENCE,
        {
            "prompt": [system("Be calm."), ASK],
            "chosen": [YES],
            "rejected": [NO],
            "history": [["Who?", "Ann."]],
        },
        Example([system("Be calm."), user("Who?"), assistant("Ann."), ASK], ([YES], [NO])),
    ),
    "history as messages, as JSON": (
        LANGUAGE,
        {"question": "Is it?", "answer": "yes", "history": json.dumps([user("Who?"), assistant("Ann.")])},
        Example([user("Who?"), assistant("Ann."), ASK], ([YES],)),
    ),
    "context joins the last question of a prompt": (
        LANGUAGE,
        {"prompt": [user("Who?"), assistant("Ann."), ASK], "completion": [YES], "context": "Ann is."},
        Example([user("Who?"), assistant("Ann."), user("Is it?\n\nAnn is.")], ([YES],)),
    ),
    "a question in Dolly's columns": (
        LANGUAGE,
        {"instruction": "Is it?", "context": "It is.", "response": "yes"},
        Example([user("Is it?\n\nIt is.")], ([YES],)),
    ),
    "one system message, said twice": (
        LANGUAGE,
        {"conversations": [system("Be calm."), ASK, YES], "system": "Be calm. "},
        Example("", ([system("Be calm."), ASK, YES],)),
    ),
    "nothing, written in several ways": (
        LANGUAGE,
        {"messages": [ASK, YES], "system": " ", "history": "[]", "context": None, "input": ""},
        Example("", ([ASK, YES],)),
    ),
    "flags of the messages": (
        LANGUAGE,
        {"messages": [ASK, NO, ASK, YES], "loss_mask": [0, 0, 0, 1], "system": "Be calm."},
        Example(
            "",
            (
                [
                    system("Be calm."),
                    ASK | {"train": False},
                    NO | {"train": False},
                    ASK | {"train": False},
                    YES | {"train": None},
                ],
            ),
        ),
    ),
}


@pytest.mark.parametrize("case", PLACES)
def test_where_side_columns_go(case):
    family, row, expected = PLACES[case]
    assert family(row) == family(row).__class__(**{**vars(family(row)), **_texts(expected)})


def _texts(example):
    return {"prompt": example.prompt, "completions": example.completions}


def test_the_plain_form_has_them_before_the_question():
    row = {
        "question": "Is it?",
        "answer": "yes",
        "context": "It is.",
        "system": "Be calm.",
        "history": [["a", "b"]],
    }
    assert LANGUAGE(row).plain.prompt == "Be calm.\n\na\n\nb\n\nIs it?\n\nIt is.\n"


REFUSED = {
    "plain text": (
        LANGUAGE,
        {"prompt": "a", "completion": "b", "system": "Be calm."},
        "column 'system': rows of plain text have no turns, which this column needs\n"
        "  fix: take the texts for a chat (--as_chats), or leave the column out (--columns system=)",
    ),
    "two system messages": (
        LANGUAGE,
        {"messages": [system("Be wild."), ASK, YES], "system": "Be calm."},
        "column 'system': two system messages that differ: 'Be calm.', and in the chat 'Be wild.'\n"
        "  fix: keep one of them, or leave the column out (--columns system=)",
    ),
    "two system messages of a prompt and its whole chats": (
        PREFERENCE,
        {"prompt": [system("Be calm."), ASK], "chosen": [system("Be wild."), ASK, YES], "rejected": [NO]},
        "columns 'prompt', 'chosen': two system messages that differ: 'Be calm.', and in the chat "
        "'Be wild.'\n  fix: keep one of them, or remove the other",
    ),
    "two columns of one meaning": (
        LANGUAGE,
        {"messages": [ASK, YES], "system": "Be calm.", "system_prompt": "Be wild."},
        "column 'system_prompt': it says something else than column 'system'\n"
        "  fix: leave the column out (--columns system_prompt=)",
    ),
    "several questions": (
        LANGUAGE,
        {"messages": [ASK, YES, ASK, NO], "context": "It is."},
        "column 'context': the chat has several questions, and the column does not say which it is for\n"
        "  fix: write it into the message it belongs to, or leave the column out (--columns context=)",
    ),
    "a history of words": (
        LANGUAGE,
        {"messages": [ASK, YES], "history": "long ago"},
        "column 'history': expected messages, or a list of [question, answer] pairs, found 'long ago'\n"
        "  fix: mend the row, or convert the column with Dataset.map",
    ),
    "flags of another number": (
        LANGUAGE,
        {"messages": [ASK, YES], "loss_mask": [1]},
        "column 'loss_mask': a list that looks as if it said what is trained, and does not fit the row: [1]\n"
        "  fix: flag the messages (train: false), or leave the column out (--columns loss_mask=)",
    ),
    "flags of unknown meaning": (
        LANGUAGE,
        {"messages": [ASK, YES], "mask": [1, 0]},
        "column 'mask': a list that looks as if it said what is trained, and does not fit the row: [1, 0]\n"
        "  fix: flag the messages (train: false), or leave the column out (--columns mask=)",
    ),
    "as_chats without a prompt": (
        lambda row: PREFERENCE(row, as_chats=True),
        {"chosen": "a b", "rejected": "a c"},
        "as_chats: texts of which both begin with the prompt cannot be taken for chats: where it ends is not "
        "known\n  fix: give the prompt as a column of its own, or lists of messages",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused(case):
    read, row, message = REFUSED[case]
    with pytest.raises(UserError) as error:
        read(row)
    assert str(error.value) == message


def test_a_column_that_is_left_out_is_neither_read_nor_refused():
    row = {"messages": [ASK, YES, ASK, NO], "context": "It is.", "system": "Be calm."}
    columns = {"context": "", "system": ""}
    assert LANGUAGE(row, columns) == Example("", ([ASK, YES, ASK, NO],))
    assert LANGUAGE.recognise(row, columns).used == ("messages",)


# Content that is not read


@pytest.mark.parametrize(
    ("column", "value", "found"),
    [
        ("notes", "this is what it says", True),
        ("notes", [{"text": "this is what it says"}], True),
        ("notes", "two words", False),
        ("notes", "https://a.b/c d e f", False),
        ("notes", 3.5, False),
        ("text", "Q: Is it, or is it not? A: it is so", False),  # made of what is read
        ("part", "is it not?", False),  # a part of what is read
    ],
)
def test_columns_with_texts_that_are_nowhere_read(column, value, found):
    row = {"question": "Is it, or is it not?", "answer": "it is so", column: value}
    used = LANGUAGE.recognise(row).used
    assert unread_content(row, used, LANGUAGE(row)) == ([column] if found else [])


# Names


def reader_of(row, **options):
    return load_rows([row]).reader(options.pop("family", LANGUAGE), PreparationOptions(**options))


@pytest.mark.parametrize(
    ("row", "guessed"),
    [
        (
            {"Instruction": "a", "Input": "b", "Output": "c"},
            {"instruction": "Instruction", "input": "Input", "output": "Output"},
        ),
        ({"Question ": "a", "Good answer": "b"}, {}),
        (
            {"Question": "a", "target": "b", "System Prompt": "c"},
            {"question": "Question", "answer": "target", "system_prompt": "System Prompt"},
        ),
        ({"prompt": [ASK], "reply": [YES]}, {"completion": "reply"}),
        ({"text_id": "a", "title": "b"}, {}),
        ({"messages": [ASK, YES], "Output": "b"}, {}),
    ],
)
def test_names_are_guessed_where_they_are_known(row, guessed):
    assert reader_of(row).guessed == guessed


def test_a_guess_reads_the_template_and_the_system_turn():
    row = {"input": "Is it?", "chosen": "yes", "rejected": "no", "system": "Be calm."}
    example = reader_of(row, family=PREFERENCE)(row)
    assert example.prompt == [system("Be calm."), ASK]


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"promt": "x"}, r"columns: no format here reads a column 'promt'. Did you mean 'prompt'\?"),
        ({"kontext": ""}, "columns: no column 'kontext'"),
    ],
)
def test_names_that_mean_nothing_are_refused(columns, what):
    with pytest.raises(UserError, match=what):
        reader_of({"x": "a", "text": "b"}, columns=columns)


def test_the_named_column_of_text_goes_before_other_formats():
    row = {"instruction": "Add", "output": "2", "text": "Add: 2", "story": "Once."}
    assert reader_of(row)(row).is_chat
    assert reader_of(row, dataset_text_field="text")(row) == Example("", ("Add: 2",))
    reader = reader_of(row, dataset_text_field="story")
    assert reader(row) == Example("", ("Once.",)) and reader.recognise(row).used == ("story",)
    with pytest.raises(
        UserError, match=r"dataset_text_field: no column 'stroy'; there is .*Did you mean 'story'"
    ):
        reader_of(row, dataset_text_field="stroy")


def test_a_column_of_flags_is_among_those_that_are_read():
    found = LANGUAGE.recognise({"messages": [ASK, YES], "loss_mask": [0, 1], "weight": 1})
    assert "loss_mask" in found.used and found.unused == ("weight",)
