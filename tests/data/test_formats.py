"""Rows to examples, and what is said about rows that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.data.example import Example, TokenizedExample
from burnish.data.formats import LANGUAGE, PREFERENCE
from burnish.errors import UserError
from tests.data.chats import assistant, user

ASK, YES, NO = user("Is it?"), assistant("yes"), assistant("no")


def test_language_formats():
    assert LANGUAGE({"text": "a b"}) == Example("", ("a b",))
    assert LANGUAGE({"messages": [ASK, YES]}) == Example("", ([ASK, YES],))
    assert LANGUAGE({"prompt": "a", "completion": "b"}) == Example("a", ("b",))
    assert LANGUAGE({"prompt": [ASK], "completion": [YES]}) == Example([ASK], ([YES],))


def test_sharegpt_roles_and_spelling():
    turns = [{"from": "human", "value": "Is it?"}, {"from": "gpt", "value": "yes"}]
    assert LANGUAGE({"conversations": turns}) == Example("", ([ASK, YES],))


@pytest.mark.parametrize(
    ("columns", "trained"),
    [
        ({}, [True, True, True]),
        ({"labels": [-100, 6, 7]}, [False, True, True]),
        ({"assistant_masks": [0, 0, 1]}, [False, False, True]),
        ({"completion_mask": [0, 1, 1], "assistant_masks": [1, 1, 0]}, [False, True, False]),
    ],
)
def test_token_ids_as_they_are(columns, trained):
    row = {"input_ids": [5, 6, 7], **columns}
    assert LANGUAGE(row) == TokenizedExample([], [[5, 6, 7]], [trained])


def test_preference_formats():
    explicit = PREFERENCE({"prompt": "Is it?", "chosen": " yes", "rejected": " no", "margin": 2})
    assert explicit == Example("Is it?", (" yes", " no"), {"margin": 2.0})
    chat = PREFERENCE({"chosen": [ASK, YES], "rejected": [ASK, NO]})
    assert chat == Example([ASK], ([YES], [NO]))


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


def test_template_columns_are_decoded_and_nulls_dropped():
    tool = {"type": "function", "function": {"name": "f", "parameters": None}}
    row = {
        "messages": [{**ASK, "tool_calls": None}, YES],
        "tools": '[{"name": "g"}]',
        "chat_template_kwargs": {"a": 1},
    }
    example = LANGUAGE(row)
    assert example.completions == ([ASK, YES],)
    assert example.columns == {"tools": [{"name": "g"}], "chat_template_kwargs": {"a": 1}}
    assert LANGUAGE({**row, "tools": [tool]}).columns["tools"] == [
        {"type": "function", "function": {"name": "f"}}
    ]


def test_assistant_may_call_a_tool_without_content():
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"function": {"name": "f", "arguments": {}}}],
    }
    (chat,) = LANGUAGE({"messages": [ASK, call]}).completions
    assert chat[1] == {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}


REFUSED = {
    "renamed columns": (
        PREFERENCE,
        {"question": "a", "good_answer": "b", "bad_answer": "c"},
        "no known format: found columns question, good_answer, bad_answer; "
        "expected prompt + chosen + rejected | chosen + rejected\n"
        "  fix: dataset.rename_columns({'question': 'prompt', 'good_answer': 'chosen', "
        "'bad_answer': 'rejected'}), "
        "or build the columns with Dataset.map",
    ),
    "misspelt column": (
        LANGUAGE,
        {"prompt": "a", "completions": "b"},
        "no known format: found columns prompt, completions; expected input_ids | prompt + completion "
        "| messages | conversations | text\n"
        "  fix: dataset.rename_columns({'completions': 'completion'}), or build the columns with Dataset.map",
    ),
    "null": (
        PREFERENCE,
        {"prompt": "a", "chosen": "b", "rejected": None},
        "column 'rejected': expected a string or a list of messages, found None\n"
        "  fix: drop the row or fill it in",
    ),
    "number": (
        LANGUAGE,
        {"text": 3},
        "column 'text': expected a string, found 3\n"
        "  fix: mend the row, or convert the column with Dataset.map",
    ),
    "strings and chats": (
        LANGUAGE,
        {"prompt": "a", "completion": [YES]},
        "columns 'prompt', 'completion': columns must be all strings or all lists of messages, "
        "found prompt: a string, completion: messages\n"
        '  fix: turn the strings into messages: [{"role": "user", "content": prompt}]',
    ),
    "no role": (
        LANGUAGE,
        {"messages": [{"content": "a"}]},
        "column 'messages', message 0: a message needs a role, found {'content': 'a'}\n"
        '  fix: write messages as {"role": "user", "content": "..."}',
    ),
    "null content": (
        LANGUAGE,
        {"messages": [ASK, {"role": "assistant", "content": None}]},
        "column 'messages', message 1: the assistant message has no content: "
        "{'role': 'assistant', 'content': None}\n"
        "  fix: drop or mend it",
    ),
    "messages as a string": (
        LANGUAGE,
        {"messages": "hi"},
        "column 'messages': expected a list of messages, found 'hi'\n"
        "  fix: mend the row, or convert the column with Dataset.map",
    ),
    "margin": (
        PREFERENCE,
        {"prompt": "a", "chosen": "b", "rejected": "c", "margin": "big"},
        "column 'margin': expected a number, found 'big'\n"
        "  fix: mend the row, or convert the column with Dataset.map",
    ),
    "labels": (
        LANGUAGE,
        {"input_ids": [1, 2], "labels": [1]},
        "column 'input_ids': 2 token ids, but 1 labels or mask values\n"
        "  fix: give every token one label or mask value",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_rows(case):
    read, row, message = REFUSED[case]
    with pytest.raises(UserError) as error:
        read(row)
    assert str(error.value) == message
