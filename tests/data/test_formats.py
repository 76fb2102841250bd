"""Rows to examples, format by format, and what is said about rows that are none."""

from __future__ import annotations

import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.data.example import Example, TokenizedExample
from burnish.data.preparation.options import PreparationOptions
from burnish.data.reading import formats
from burnish.data.reading.formats import (
    FAMILIES,
    LANGUAGE,
    PREFERENCE,
    PROMPT_ONLY,
    RANKED,
    SCORED,
    STEPWISE,
    TRIPLE,
    UNPAIRED,
    family_of,
    scored_by,
)
from burnish.data.reading.readers import COMMON_COLUMNS
from burnish.data.reading.side_columns import SIDE_COLUMNS
from burnish.data.reading.variants import WITH_PROBABILITY, steps_ending_in
from burnish.data.sources.rows import RowReader
from burnish.errors import UserError
from tests.data.chats import assistant, system, user

ASK, YES, NO = user("Is it?"), assistant("yes"), assistant("no")
CALM = system("Be calm.")
HUMAN, GPT = {"from": "human", "value": "Is it?"}, {"from": "gpt", "value": "yes"}

ROWS = {
    # language
    "text": (LANGUAGE, {"text": "a b"}, Example("", ("a b",))),
    "messages": (LANGUAGE, {"messages": [ASK, YES]}, Example("", ([ASK, YES],))),
    "messages as JSON": (LANGUAGE, {"messages": json.dumps([ASK, YES])}, Example("", ([ASK, YES],))),
    "prompt and completion": (LANGUAGE, {"prompt": "a", "completion": "b"}, Example("a", ("b",))),
    "prompt and completion, chats": (
        LANGUAGE,
        {"prompt": [ASK], "completion": [YES]},
        Example([ASK], ([YES],)),
    ),
    "prompt and completion, a string beside messages": (
        LANGUAGE,
        {"prompt": "Is it?", "completion": [YES]},
        Example([ASK], ([YES],)),
    ),
    "ShareGPT": (LANGUAGE, {"conversations": [HUMAN, GPT]}, Example("", ([ASK, YES],))),
    "ShareGPT with a system column": (
        LANGUAGE,
        {"conversations": [HUMAN, GPT], "system": "Be calm."},
        Example("", ([CALM, ASK, YES],)),
    ),
    "Alpaca": (
        LANGUAGE,
        {"instruction": "Add", "input": "", "output": "2"},
        Example([user("Add")], ([assistant("2")],)),
    ),
    "Alpaca with input": (
        LANGUAGE,
        {"instruction": "Add", "input": "1 1", "output": "2", "system": "Be calm."},
        Example([CALM, user("Add\n\n1 1")], ([assistant("2")],)),
    ),
    "question and answer": (
        LANGUAGE,
        {"question": "Is it?", "answer": "yes", "system": None},
        Example([ASK], ([YES],)),
    ),
    "chat and answer": (LANGUAGE, {"prompt": [CALM, ASK], "answer": "yes"}, Example([CALM, ASK], ([YES],))),
    # preference
    "preference": (
        PREFERENCE,
        {"prompt": "Is it?", "chosen": " yes", "rejected": " no", "margin": 2},
        Example("Is it?", (" yes", " no"), {"margin": 2.0}),
    ),
    "preference, chats": (
        PREFERENCE,
        {"prompt": [ASK], "chosen": [YES], "rejected": [NO]},
        Example([ASK], ([YES], [NO])),
    ),
    "preference, prompt inside": (
        PREFERENCE,
        {"chosen": [CALM, ASK, YES], "rejected": [CALM, ASK, NO]},
        Example([CALM, ASK], ([YES], [NO])),
    ),
    "preference, whole chats beside a string (UltraFeedback)": (
        PREFERENCE,
        {
            "prompt": "Is it?",
            "chosen": [ASK, YES],
            "rejected": [ASK, NO],
            "score_chosen": 8.0,
            "score_rejected": 2.0,
        },
        Example([ASK], ([YES], [NO])),
    ),
    "preference, whole chats that have the system message": (
        PREFERENCE,
        {"prompt": [ASK], "chosen": [CALM, ASK, YES], "rejected": [CALM, ASK, NO]},
        Example([CALM, ASK], ([YES], [NO])),
    ),
    "preference, whole chats without the prompt's system message": (
        PREFERENCE,
        {"prompt": [CALM, ASK], "chosen": [ASK, YES], "rejected": [ASK, NO]},
        Example([CALM, ASK], ([YES], [NO])),
    ),
    "preference, one of them whole": (
        PREFERENCE,
        {"prompt": "Is it?", "chosen": [ASK, YES], "rejected": "no"},
        Example([ASK], ([YES], [NO])),
    ),
    "preference, the prompt is the last question of a dialogue": (
        PREFERENCE,
        {"prompt": "So?", "chosen": [ASK, YES, user("So?"), YES], "rejected": [ASK, YES, user("So?"), NO]},
        Example([ASK, YES, user("So?")], ([YES], [NO])),
    ),
    "preference, an answer that asks the same again is no whole chat": (
        PREFERENCE,
        {"prompt": [ASK], "chosen": [NO, ASK, YES], "rejected": [NO]},
        Example([ASK], ([NO, ASK, YES], [NO])),
    ),
    "transcripts": (
        PREFERENCE,
        {
            "chosen": "\n\nHuman: Is it?\n\nAssistant: yes",
            "rejected": "\n\nHuman: Is it?\n\nAssistant: no",
        },
        Example([ASK], ([YES], [NO])),
    ),
    "ShareGPT pairs": (
        PREFERENCE,
        {"conversations": [HUMAN], "chosen": GPT, "rejected": {"from": "gpt", "value": "no"}},
        Example([ASK], ([YES], [NO])),
    ),
    "Orca pairs": (
        PREFERENCE,
        {"system": "Be calm.", "question": "Is it?", "chosen": "yes", "rejected": "no"},
        Example([CALM, ASK], ([YES], [NO])),
    ),
    "triple": (
        TRIPLE,
        {"prompt": [ASK], "chosen": "yes", "rejected": [NO], "reference": "yes"},
        Example([ASK], ([YES], [NO], [YES])),
    ),
    "triple, prompt inside": (
        TRIPLE,
        {"chosen": [ASK, YES], "rejected": [ASK, NO], "reference": [ASK, assistant("Yes.")]},
        Example([ASK], ([YES], [NO], [assistant("Yes.")])),
    ),
    # unpaired
    "unpaired": (
        UNPAIRED,
        {"prompt": "Is it?", "completion": " yes", "label": True},
        Example("Is it?", (" yes",), {"label": 1.0}),
    ),
    "unpaired, chats": (
        UNPAIRED,
        {"messages": [CALM, ASK, YES], "label": 0},
        Example([CALM, ASK], ([YES],), {"label": 0.0}),
    ),
    "unpaired, ShareGPT": (
        UNPAIRED,
        {"conversations": [HUMAN, GPT], "label": False},
        Example([ASK], ([YES],), {"label": 0.0}),
    ),
    # stepwise
    "stepwise": (
        STEPWISE,
        {"prompt": "1+1+1?", "completions": ["1+1=2", "2+1=4"], "labels": [True, False]},
        Example("1+1+1?", ("1+1=2\n2+1=4\n",), {"labels": [1.0, 0.0]}, steps=(6, 12)),
    ),
    # ranked lists
    "completions with scores": (
        RANKED,
        {"prompt": "Is it?", "completions": [" yes", " no"], "scores": [0.5, "2"]},
        Example("Is it?", (" yes", " no"), {"scores": [0.5, 2.0]}),
    ),
    "completions with ranks": (
        RANKED,
        {"prompt": "Is it?", "completions": [[YES], "no"], "ranks": [2, 1]},
        Example([ASK], ([YES], [NO]), {"scores": [-2.0, -1.0]}),
    ),
    "scored responses": (
        RANKED,
        {
            "instruction": "Is it?",
            "completions": [
                {"response": "yes", "overall_score": 7.5},
                {"response": "no", "overall_score": 2},
            ],
        },
        Example([ASK], ([YES], [NO]), {"scores": [7.5, 2.0]}),
    ),
    # prompts
    "prompts": (PROMPT_ONLY, {"prompt": "Is it?"}, Example("Is it?", ())),
    "prompts, chats": (PROMPT_ONLY, {"messages": [CALM, ASK]}, Example([CALM, ASK], ())),
}


SCORED_END = ", scored"
ROWS |= {
    case + SCORED_END: (SCORED, {**row, "score": 3}, replace(example, columns={"scores": [3.0]}))
    for case, (family, row, example) in ROWS.items()
    if family is LANGUAGE
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_become_examples(case):
    family, row, expected = ROWS[case]
    found = family(row)
    assert isinstance(found, Example)
    assert (found.prompt, found.completions, found.columns, found.steps) == (
        expected.prompt,
        expected.completions,
        expected.columns,
        expected.steps,
    )


@pytest.mark.parametrize("case", ROWS)
def test_a_row_says_which_family_it_is_of(case):
    family, row, _ = ROWS[case]
    also_trained = case == "prompts, chats" or family is SCORED  # a chat may be trained on as well
    expected = LANGUAGE if also_trained else family
    assert family_of(row) is expected


def test_every_format_has_a_row_here():
    seen = {family.find(row).name for family, row, _ in ROWS.values()}
    known = {known.name for family in FAMILIES for known in family.formats}
    # they are no text: below
    assert known - seen == {"token ids", "pairs of token ids", "steps as token ids"}


PLAIN = {
    "Alpaca": ("### Instruction:\nAdd\n\n### Response:\n", ("2",)),
    "Alpaca with input": ("Be calm.\n\n### Instruction:\nAdd\n\n### Input:\n1 1\n\n### Response:\n", ("2",)),
    "question and answer": ("Is it?\n", ("yes",)),
    "Orca pairs": ("Be calm.\n\nIs it?\n", ("yes", "no")),
    "transcripts": ("\n\nHuman: Is it?\n\nAssistant:", (" yes", " no")),
    "scored responses": ("Is it?\n", ("yes", "no")),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_of_layouts_are_plain_text_without_a_chat_template(case):
    family, row, _ = ROWS[case]
    found = family(row).plain
    assert (None if found is None else (found.prompt, found.completions)) == PLAIN.get(
        case.removesuffix(SCORED_END)
    )


@pytest.mark.parametrize("name", [*formats.QUESTIONS])
def test_questions_go_by_several_names(name):
    assert family_of({name: "Is it?", "response": "yes"})({name: "Is it?", "response": "yes"}).prompt == [ASK]
    row = {name: "Is it?", "chosen": "yes", "rejected": "no"}
    assert PREFERENCE(row).prompt == ("Is it?" if name == "prompt" else [ASK])
    assert PROMPT_ONLY({name: "Is it?"}).prompt == "Is it?"


def test_transcripts_share_the_turns_before_they_part():
    lead = "\n\nHuman: Is it?\n\nAssistant: yes\n\nHuman: So?\n\nAssistant:"
    found = PREFERENCE({"chosen": f"{lead} Good.", "rejected": f"{lead} Go. Away."})
    assert found.prompt == [ASK, YES, user("So?")]
    assert found.completions == ([assistant("Good.")], [assistant("Go. Away.")])
    assert (found.plain.prompt, found.plain.completions) == (lead, (" Good.", " Go. Away."))


@pytest.mark.parametrize(
    ("columns", "trained"),
    [
        ({}, [True, True, True]),
        ({"labels": [-100, 6, 7]}, [False, True, True]),
        ({"assistant_masks": [0, 0, 1]}, [False, False, True]),
        ({"completion_mask": [0, 1, 1], "assistant_masks": [1, 1, 0]}, [False, True, False]),
        ({"labels": None, "completion_mask": None}, [True, True, True]),
    ],
)
def test_token_ids_as_they_are(columns, trained):
    row = {"input_ids": [5, 6, 7], **columns}
    assert LANGUAGE(row) == TokenizedExample([], [[5, 6, 7]], [trained])


@pytest.mark.parametrize(
    ("row", "prompt", "completions"),
    [
        ({"prompt_ids": [1, 2], "chosen_ids": [3], "rejected_ids": [4, 5]}, [1, 2], [[3], [4, 5]]),
        ({"chosen_ids": [1, 2, 3], "rejected_ids": [1, 2, 4, 5]}, [1, 2], [[3], [4, 5]]),
        ({"chosen_ids": [1, 2], "rejected_ids": [1, 2, 3]}, [1], [[2], [2, 3]]),  # none is empty
    ],
)
def test_pairs_of_token_ids(row, prompt, completions):
    trained = [[True] * len(ids) for ids in completions]
    assert PREFERENCE(row | {"margin": 2}) == TokenizedExample(prompt, completions, trained, {"margin": 2.0})
    assert family_of(row) is PREFERENCE
    with pytest.raises(UserError, match="column 'chosen_ids': token ids are 0 or more, found -100"):
        PREFERENCE(row | {"chosen_ids": [-100, 1]})


def test_steps_as_token_ids():
    row = {"input_ids": [5, 6, 7, 8], "labels": [-100, 1, -100, 0]}
    expected = TokenizedExample([], [[5, 6, 7, 8]], [[False, True, False, True]], {"labels": [1.0, 0.0]})
    assert STEPWISE(row) == expected == steps_ending_in("; ")(row)
    assert family_of(row) is STEPWISE
    assert family_of({**row, "labels": [-100, 6, 7, 8]}) is LANGUAGE
    with pytest.raises(UserError, match="4 token ids, but 2 labels"):
        STEPWISE({**row, "labels": [1, 0]})


def test_a_format_of_which_all_columns_are_null_gives_way():
    row = {"prompt": None, "completion": None, "messages": [ASK, YES]}
    assert LANGUAGE(row) == Example("", ([ASK, YES],))
    with pytest.raises(UserError, match="column 'prompt'"):  # one null is a fault of the row
        LANGUAGE({**row, "completion": "yes"})
    with pytest.raises(UserError, match="column 'text': expected a string, found nothing"):
        LANGUAGE({"text": None})


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [
        ("Q: x A: yes", "Q: x A: no", "Q: x A:"),  # the space goes with the answers
        ("Q: x A: no", "Q: x A: nod", "Q: x A: n"),  # neither answer is empty
        ("same", "same", "sam"),
        ("yes", "no", ""),
    ],
)
def test_implicit_prompt_of_strings(chosen, rejected, prompt):
    example = PREFERENCE({"chosen": chosen, "rejected": rejected})
    assert example.prompt == prompt
    assert [prompt + completion for completion in example.completions] == [chosen, rejected]


@given(
    st.text("ab ", max_size=8), st.text("ab ", min_size=1, max_size=4), st.text("ab ", min_size=1, max_size=4)
)
def test_implicit_prompt_loses_nothing(shared, first, second):
    chosen, rejected = shared + first, shared + second
    example = PREFERENCE({"chosen": chosen, "rejected": rejected})
    assert [example.prompt + c for c in example.completions] == [chosen, rejected]
    assert all(example.completions)


# Tools and template arguments

SEARCH = {"type": "function", "function": {"name": "search"}}


@pytest.mark.parametrize(
    "tools",
    [
        [{"name": "search"}],
        [SEARCH],
        '[{"name": "search"}]',
        ['{"name": "search"}'],
        {"name": "search"},
        [{"type": "function", "function": {"name": "search", "parameters": None}}],  # null: Arrow's
    ],
)
def test_tools_are_schemas_however_they_are_written(tools):
    assert LANGUAGE({"messages": [ASK, YES], "tools": tools}).columns == {"tools": [SEARCH]}


@pytest.mark.parametrize("tools", [None, [], "", "[]"])
def test_no_tools(tools):
    assert LANGUAGE({"messages": [ASK, YES], "tools": tools}).columns == {}


@pytest.mark.parametrize("given", [{"a": 1, "b": None}, '{"a": 1}'])
def test_template_arguments(given):
    found = LANGUAGE({"messages": [ASK, YES], "chat_template_kwargs": given})
    assert found.columns == {"chat_template_kwargs": {"a": 1}}


# Recognition


def test_recognition_says_what_is_used_and_what_is_not():
    row = {"question": "a", "chosen": "b", "rejected": "c", "margin": 1.0, "votes": 3}
    found = PREFERENCE.recognise(row)
    assert (found.family, found.format) == ("preference", "question with two answers")
    assert (found.used, found.unused, found.carried) == (
        ("question", "chosen", "rejected", "margin"),
        ("votes",),
        ("margin",),
    )
    assert str(found) == (
        "question with two answers, from columns question, chosen, rejected, margin; not used: votes"
    )


def test_recognition_speaks_of_the_datas_own_columns():
    row = {"frage": "a", "gut": "b", "schlecht": "c"}
    columns = {"prompt": "frage", "chosen": "gut", "rejected": "schlecht"}
    assert str(PREFERENCE.recognise(row, columns)) == "preference, from columns frage, gut, schlecht"
    assert family_of(row, columns) is PREFERENCE
    assert PREFERENCE(row, columns) == Example("a", ("b", "c"))


def test_errors_speak_of_the_datas_own_columns():
    with pytest.raises(UserError, match="column 'gut': expected a string or a list of messages, found 3"):
        PREFERENCE(
            {"frage": "a", "gut": 3, "schlecht": "c"},
            {"prompt": "frage", "chosen": "gut", "rejected": "schlecht"},
        )
    with pytest.raises(UserError, match="column 'question': expected"):
        LANGUAGE({"question": 3, "answer": "yes"})


def test_answers_under_names_of_their_own_are_not_left_out():
    with pytest.raises(UserError, match="--columns chosen=good_answer,rejected=bad_answer"):
        family_of({"question": "a", "good_answer": "b", "bad_answer": "c"})
    with pytest.raises(UserError, match="--columns question=input"):
        PREFERENCE({"input": "a", "chosen": "b", "rejected": "c"})
    assert family_of({"prompt": "a", "difficulty": 3}) is PROMPT_ONLY


# Rows by a function of one's own


def made_of_tuples(row: dict) -> dict:
    if row["turns"] == "bad":
        raise KeyError("turns")
    question, answer = row["turns"]
    return {"q": question, "completion": answer}


def nothing(row: dict) -> None:
    return None


def test_row_function_comes_before_columns():
    options = PreparationOptions(row_function=f"{__name__}:made_of_tuples", columns={"prompt": "q"})
    reader = RowReader(LANGUAGE, options)
    assert reader({"turns": ["Is it?", " yes"]}) == Example("Is it?", (" yes",))
    assert reader.recognise({"turns": ["a", "b"]}).used == ("q", "completion")
    assert pickle.loads(pickle.dumps(reader))({"turns": ["a", "b"]}) == Example("a", ("b",))


def test_row_function_of_a_file(tmp_path):
    (tmp_path / "mine.py").write_text("def shout(row):\n    return {'text': row['quiet'].upper()}\n")
    reader = RowReader(LANGUAGE, PreparationOptions(row_function=f"{tmp_path}/mine.py:shout"))
    assert reader({"quiet": "a"}) == Example("", ("A",))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (f"{__name__}:made_of_tuples", "raised KeyError: 'turns'\n  fix: mend the function, or the row"),
        (f"{__name__}:nothing", "should return a row (a dictionary), found None\n  fix: return a dictionary"),
        (f"{__name__}:absent", "cannot be loaded: module"),
        ("nowhere.module:name", "cannot be loaded: No module named 'nowhere'\n  fix: write package.module"),
    ],
)
def test_row_functions_that_fail(function, message):
    with pytest.raises(UserError) as error:
        RowReader(LANGUAGE, PreparationOptions(row_function=function))({"turns": "bad"})
    assert message in str(error.value)


# Rows that are refused

REFUSED = {
    "renamed columns": (
        PREFERENCE,
        {"question": "a", "good_answer": "b", "bad_answer": "c"},
        "no known format: found columns question, good_answer, bad_answer; expected question + chosen + "
        "rejected | prompt + chosen + rejected | chosen + rejected | conversations + chosen + rejected | "
        "chosen_ids + rejected_ids\n"
        "  fix: say which is which (--columns chosen=good_answer,rejected=bad_answer), "
        "or build the columns with Dataset.map",
    ),
    "misspelt column": (
        LANGUAGE,
        {"prompt": "a", "completions": "b"},
        "no known format: found columns prompt, completions; expected prompt + completion | question + "
        "answer | conversations | messages | instruction + output | text | input_ids\n"
        "  fix: say which is which (--columns completion=completions), or build the columns with Dataset.map",
    ),
    "missing column": (
        PREFERENCE,
        {"prompt": "a", "chosen": "b"},
        "no known format: found columns prompt, chosen; expected prompt + chosen + rejected | question + "
        "chosen + rejected | chosen + rejected | conversations + chosen + rejected | chosen_ids + "
        "rejected_ids\n"
        "  fix: say which is which (--columns rejected=YOUR_COLUMN), or build the columns with Dataset.map",
    ),
    "rows for another method": (
        PREFERENCE,
        {"messages": [ASK, YES]},
        "no known format: found columns messages; expected prompt + chosen + rejected | "
        "conversations + chosen + rejected | question + chosen + rejected | chosen + rejected | chosen_ids + "
        "rejected_ids.\n"
        "  These columns are rows for SFT (messages)\n"
        "  fix: train such rows by that method, or give rows as expected",
    ),
    "null": (
        PREFERENCE,
        {"prompt": "a", "chosen": "b", "rejected": None},
        "column 'rejected': expected a string or a list of messages, found nothing (null, or the key is "
        "missing)\n  fix: fill it in",
    ),
    "number": (
        LANGUAGE,
        {"text": 3},
        "column 'text': expected a string, found 3\n"
        "  fix: mend the row, or convert the column with Dataset.map",
    ),
    "strings and chats without a prompt": (
        PREFERENCE,
        {"chosen": "a", "rejected": [YES]},
        "columns 'chosen', 'rejected': columns must be all strings or all lists of messages, "
        "found chosen: a string, rejected: messages\n"
        '  fix: turn the strings into messages: [{"role": "user", "content": prompt}]',
    ),
    "margin": (
        PREFERENCE,
        {"prompt": "a", "chosen": "b", "rejected": "c", "margin": "big"},
        "column 'margin': expected a finite number, found 'big'\n"
        "  fix: mend the row, or convert the column with Dataset.map",
    ),
    "labels of token ids": (
        LANGUAGE,
        {"input_ids": [1, 2], "labels": [1]},
        "column 'input_ids': 2 token ids, but 1 labels or mask values\n"
        "  fix: give every token one label or mask value",
    ),
    "label": (
        UNPAIRED,
        {"prompt": "a", "completion": "b", "label": "good"},
        "column 'label': expected true or false (1 or 0), found 'good'\n"
        "  fix: mend the row, or convert the column with Dataset.map",
    ),
    "a chat that the label does not judge": (
        UNPAIRED,
        {"messages": [ASK], "label": True},
        "column 'messages': the last message should be the assistant's, found [{'role': 'user', "
        "'content': 'Is it?'}]\n  fix: end the chat with the turn that the label judges",
    ),
    "steps": (
        STEPWISE,
        {"prompt": "a", "completions": ["b", "c"], "labels": [True]},
        "columns 'completions', 'labels': 2 steps, but 1 labels\n  fix: give every step one label",
    ),
    "labels of steps": (
        STEPWISE,
        {"prompt": "a", "completions": ["b", "c"], "labels": [1, -1]},
        "column 'labels': labels are true or false, or a probability of being right from 0 to 1, found "
        "[1.0, -1.0]\n  fix: bring the labels to this range",
    ),
    "an empty step": (
        STEPWISE,
        {"prompt": "a", "completions": ["b", " "], "labels": [1, 0]},
        "column 'completions': a step without text, found ['b', ' ']\n  fix: remove the step and its label",
    ),
    "ranks": (
        RANKED,
        {"prompt": "a", "completions": ["b", "c", "d"], "ranks": [1, 2]},
        "columns 'completions', 'ranks': 3 completions, but 2 ranks\n  fix: give every completion one number",
    ),
    "a list without an order": (
        RANKED,
        {"prompt": "a", "completions": ["b", "c"], "ranks": [1, 1]},
        "column 'ranks': no completion is better than another, found [1.0, 1.0]\n"
        "  fix: remove the row, or give the completions different numbers",
    ),
    "responses without scores": (
        RANKED,
        {"instruction": "a", "completions": [{"response": "b"}]},
        "column 'completions': expected objects with response and overall_score, found {'response': 'b'}\n"
        "  fix: mend the row, or convert the column with Dataset.map",
    ),
    "a score that is no level": (
        scored_by(["helpfulness"], [0, 1, 2]),
        {"prompt": "a", "completion": "b", "helpfulness": 5},
        "column 'helpfulness': expected one of the levels 0, 1, 2, found 5\n"
        "  fix: name all values that scores have in ordinal_levels, or train with loss_type=regression",
    ),
    "a probability": (
        WITH_PROBABILITY,
        {"prompt": "a", "chosen": "b", "rejected": "c", "chosen_probability": 80},
        "column 'chosen_probability': expected a probability from 0 to 1, found 80\n"
        "  fix: mend the row, or convert the column with Dataset.map",
    ),
    "text before a transcript": (
        PREFERENCE,
        {"chosen": "Hello\n\nHuman: a\n\nAssistant: b", "rejected": "Hello\n\nHuman: a\n\nAssistant: c"},
        "column 'chosen': the transcript does not begin with Human:, but with 'Hello'\n"
        r"  fix: begin with '\n\nHuman:', or give the text as a prompt column",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_rows(case):
    read, row, message = REFUSED[case]
    with pytest.raises(UserError) as error:
        read(row)
    assert str(error.value) == message


def test_a_missing_column_of_the_mapping_names_the_nearest():
    with pytest.raises(UserError) as error:
        LANGUAGE({"question": "a", "answer": "b"}, {"prompt": "questoin"})
    assert str(error.value) == (
        "columns: no column 'questoin'; there is question, answer. Did you mean 'question'?\n"
        "  fix: name columns of the data on the right: --columns question=ticket"
    )


# Whatever the cells hold

CELLS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["[]", "{}", "1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "from", "value", "tool_calls", "function", "name", "arguments"]
            )
            | st.sampled_from(["thinking", "weight", "type", "text"]),
            inner
            | st.sampled_from(
                ["user", "assistant", "human", "gpt", "function_call", "tool", '{"name": "look"}']
            ),
            max_size=4,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_row_of_anything_is_an_example_or_an_error_that_names_the_column(data):
    family = data.draw(st.sampled_from(FAMILIES))
    known = data.draw(st.sampled_from(family.formats))
    also = data.draw(
        st.sets(st.sampled_from([*known.optional, *known.carries, *COMMON_COLUMNS, *SIDE_COLUMNS]))
    )
    row = {name: data.draw(CELLS) for name in {*known.columns, *also}}
    try:
        found = family(row)
    except UserError as error:
        assert "column" in str(error) and error.fix and len(str(error)) < 600
    else:
        assert isinstance(found, Example | TokenizedExample)


# The documentation


def test_the_documented_formats_are_those_of_the_code():
    blocks = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8").split("\n\n")
    table = next(block for block in blocks if block.startswith("| rows for")).splitlines()[2:]
    documented = {}
    for line in table:
        purpose, name, columns, others = (cell.strip() for cell in line.strip("|").split("|"))
        documented[name] = (purpose, names_in(columns), names_in(others))
    known: dict[str, list] = {}  # several for a format whose columns go by several names
    for family in FAMILIES:
        for found in family.formats:
            others = {*found.optional, *found.carries} - {*found.columns}
            known.setdefault(found.name, []).append((family.purpose, {*found.columns}, others))
    assert documented.keys() == known.keys()
    for name, row in documented.items():
        assert row in known[name]


def names_in(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))
