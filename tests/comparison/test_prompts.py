"""What is asked of a row of each format, and what is its reference answer."""

import pytest

from burnish.comparison.prompts import read_prompts, without_template
from burnish.errors import UserError


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("row", "prompt", "reference"),
    [
        ({"prompt": "2 + 2 ="}, "2 + 2 =", None),
        ({"prompt": "2 + 2 =", "completion": " 4"}, "2 + 2 =", " 4"),
        ({"prompt": "a", "chosen": " b", "rejected": " c"}, "a", " b"),
        ({"prompt": "a", "completion": " b", "label": True}, "a", " b"),
        ({"prompt": "a", "completion": " b", "label": False}, "a", None),
        ({"messages": [user("a"), assistant("b"), user("c"), assistant("d")]}, "a b c", [assistant("d")]),
        ({"messages": [user("a")]}, [user("a")], None),
        ({"prompt": [user("a")]}, [user("a")], None),
        ({"question": "a", "answer": "b"}, [user("a")], [assistant("b")]),
        ({"instruction": "a", "input": "", "output": "b"}, [user("a")], [assistant("b")]),
        ({"prompt": "a", "completions": [" b", " c"], "scores": [0.1, 0.9]}, "a", " c"),
        ({"prompt": "a", "completions": ["b", "c"], "labels": [True, False]}, "a", None),  # steps
        ({"prompt": "a", "chosen": "b", "rejected": "c", "reference": "d"}, "a", "d"),
        ({"prompt": "a", "expected": "b"}, "a", None),
        ({"prompt": "a", "gold_answer": "b", "reply": "c"}, "a", None),
    ],
)
def test_the_prompt_and_the_reference_of_a_row(row, prompt, reference):
    (asked,) = read_prompts([row]).rows
    if prompt == "a b c":
        assert [m["content"] for m in asked.prompt] == ["a", "b", "c"]
    else:
        assert asked.prompt == prompt
    assert asked.reference == reference
    assert dict(asked.columns) == row


def test_a_sample_keeps_the_numbers_of_its_rows(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f'{{"prompt": "{n}"}}\n' for n in range(50)))
    found = read_prompts(f"{file}#5", seed=1)
    assert len(found.rows) == 5
    assert all(row.prompt == str(row.index) for row in found.rows)
    assert (
        found.sha256 == read_prompts(f"{file}#5", seed=1).sha256 != read_prompts(f"{file}#5", seed=2).sha256
    )


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"text": "a whole text"}, "a row without a prompt cannot be asked"),
        ({"input_ids": [1, 2]}, "token ids have no prompt"),
        ({"nothing": 1}, "no known format"),
        ({"messages": [assistant("a")]}, "an answer and nothing before it"),
    ],
)
def test_what_cannot_be_asked_is_refused(row, told):
    with pytest.raises(UserError, match=told):
        read_prompts([row])


def test_a_model_without_chat_template_is_asked_in_plain_text():
    (chat, alpaca) = (
        read_prompts([row]).rows[0]
        for row in (
            {"messages": [user("a"), assistant("b"), user("c"), assistant("d")]},
            {"instruction": "a", "output": "b"},
        )
    )
    assert without_template(chat.answered).prompt == "a\n\nb\n\nc\n"
    assert without_template(chat.answered).completions == ("d",)
    assert without_template(alpaca.example).prompt == "### Instruction:\na\n\n### Response:\n"
    assert without_template(alpaca.answered).completions == ("b",)
