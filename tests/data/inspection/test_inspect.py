"""Inspections as a whole: every planted defect is named with its row, and no other row is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from burnish.data.inspection.inspect import inspect
from burnish.data.preparation.options import PreparationOptions
from burnish.data.reading.formats import PREFERENCE
from burnish.data.sources.source import load_rows
from burnish.errors import UserError
from tests.data.chats import CHATML, assistant, byte_tokenizer, user
from tests.data.inspection.rows import COLUMNS, planted

MESSY = Path(__file__).parents[4] / "shared" / "data" / "messy_user_prefs.jsonl"


def inspected(rows, tokenizer=None, columns=None, **options):
    given = {name: options.pop(name) for name in ("family", "evaluation", "show") if name in options}
    source = load_rows(rows, columns=columns)
    return inspect(source, PreparationOptions(**options), tokenizer=tokenizer, **given)


def named(inspection, *severities):
    return {
        finding.check: set(finding.ids)
        for finding in inspection.findings
        if finding.severity in (severities or ("fault", "dropped", "warning"))
    }


def written(path: Path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("seed", range(3))
def test_planted_defects_are_named_by_id_and_nothing_else_is(seed, tmp_path):
    rows, expected = planted(seed)
    found = inspected(written(tmp_path / "pairs.jsonl", rows), columns=COLUMNS)
    assert named(found) == expected
    assert found.read == len(rows)


def test_the_same_with_a_tokenizer(tmp_path):
    rows, expected = planted()
    found = inspected(
        written(tmp_path / "pairs.jsonl", rows), byte_tokenizer(CHATML), COLUMNS, max_length=10**5
    )
    plain = named(found).pop("plain text for a chat model")  # they are texts under prompt, chosen, rejected
    assert len(plain) == found.kept
    assert {name: ids for name, ids in named(found).items() if ids != plain} == expected


@pytest.mark.skipif(not MESSY.exists(), reason="the real data is not here")
def test_a_users_own_file():
    columns = {"prompt": "question", "chosen": "good_answer", "rejected": "bad_answer"}
    found = inspected(str(MESSY), columns=columns)
    defects = json.loads(MESSY.with_suffix(".defects.json").read_text())
    by_check = named(found)
    assert set().union(*by_check.values()) == {str(row) for rows in defects.values() for row in rows}
    for kind, check in KINDS.items():
        assert {str(row) for row in defects[kind]} <= by_check[check], kind


KINDS = {
    "bad_answer_null": "bad_answer is null or missing",
    "missing_bad_answer_key": "bad_answer is null or missing",
    "good_answer_empty": "empty completion",
    "whitespace_only_question": "blank turn",
    "good_equals_bad": "chosen equals rejected",
    "html_entities": "HTML entities",
    "crlf_and_padding": "carriage returns or padding",
    "template_markers_inside": "control markers",
    "very_long_bad_answer": "very long",
    "zero_width_and_nbsp": "invisible characters",
    "extra_column": "stray column",
    "exact_duplicate_row": "duplicate",
    "contradicting_pair_swapped": "contradiction",
}


def chats(*lengths):
    return [{"messages": [user("hi"), assistant("o" * length)]} for length in lengths]


def test_what_max_length_keeps_and_what_is_trained():
    tokenizer = byte_tokenizer(CHATML)
    whole = inspected(chats(3, 5, 50), tokenizer, max_length=None)
    longest = whole.lengths["whole"].quantiles["1"]
    found = inspected(chats(3, 5, 50), tokenizer, max_length=longest - 1)
    assert found.fit is not None
    assert (found.fit.whole, found.fit.cut, found.fit.dropped) == (2, 1, 0)
    assert whole.tokens - found.tokens == 1
    assert whole.trained_tokens == whole.tokens - 3  # the first token of a row has none before it
    assert {finding.check: finding.rows for finding in found.findings} == {"cut by max_length": [2]}
    assert found.stop_token == "<|im_end|>" and whole.stop_trained == 3


def test_rows_the_prompt_of_which_fills_max_length_are_dropped_with_their_reason():
    rows = [{"prompt": "long " * 40, "completion": "yes"}, {"prompt": "a", "completion": "b"}]
    found = inspected(rows, byte_tokenizer(), max_length=12)
    (finding,) = found.findings
    assert (finding.severity, finding.rows) == ("dropped", [0])
    assert found.read == 2 and found.kept == 1 and found.fit is not None and found.fit.dropped == 1


def test_pairs_that_differ_only_beyond_max_length_are_equal_after_truncation():
    rows = [{"prompt": "x", "chosen": "abcdefgh" * 5 + "1", "rejected": "abcdefgh" * 5 + "2"}]
    rows.append({"prompt": "y", "chosen": "1", "rejected": "2"})
    found = inspected(rows, byte_tokenizer(), max_length=10)
    assert next((f.check, f.rows) for f in found.findings) == ("chosen equals rejected after truncation", [0])


def test_a_template_without_an_end_of_turn_is_seen():
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    template += "{% if add_generation_prompt %}assistant: {% endif %}"
    found = inspected(chats(3, 4), byte_tokenizer(template))
    assert [(f.check, f.rows) for f in found.findings] == [("stop token not trained", [0, 1])]
    assert found.stop_trained == 0


def test_a_stop_token_that_is_masked_is_not_trained():
    ids = byte_tokenizer()("yes</s>")["input_ids"]
    rows = [{"input_ids": ids, "labels": ids}, {"input_ids": ids, "labels": [*ids[:-1], -100]}]
    found = inspected(rows, byte_tokenizer())
    assert [(f.check, f.rows, f.found) for f in found.findings][:1] == [
        ("stop token not trained", [1], ["</s> is not trained"])
    ]


def test_shares_are_counted():
    pairs = [{"prompt": "p", "chosen": c, "rejected": r} for c, r in [("aaa", "b"), ("a", "bbb"), ("c", "d")]]
    assert inspected(pairs).shares == {"chosen longer": 1 / 3, "equally long": 1 / 3}
    labels = [{"prompt": "p", "completion": f"c{i}", "label": i == 0} for i in range(4)]
    assert inspected(labels).shares == {"label true": 0.25}


def test_shown_rows_are_what_is_trained():
    rows = [{"prompt": "is it? ", "chosen": "yes", "rejected": "no"}]
    (shown,) = inspected(rows, byte_tokenizer(), show=3).shown
    assert shown.names == ["chosen", "rejected"]
    text = "".join(part for part, trained in shown.prompt + shown.completions[0])
    assert text == "is it? yes</s>"
    assert not any(trained for _, trained in shown.prompt)
    assert all(trained for _, trained in shown.completions[1])


def test_rows_of_an_evaluation_are_found_whole_and_by_13_words():
    words = [f"word{i}" for i in range(40)]
    held_out = [
        {"prompt": " ".join(words[:20]), "completion": "first"},
        {"prompt": "short", "completion": "one"},
    ]
    rows = [
        {"prompt": "Short", "completion": "one"},  # the same, but for case
        {"prompt": "now " + " ".join(words[4:17]) + " then", "completion": "other"},  # 13 words of it
        {"prompt": "now " + " ".join(words[4:16]) + " then", "completion": "other"},  # 12 words of it
        {"prompt": "nothing of it", "completion": "at all"},
    ]
    found = inspected(rows, evaluation=load_rows(held_out, label="test"))
    assert {f.check: f.rows for f in found.findings} == {
        "in the evaluation": [0],
        "13-gram of the evaluation": [1],
    } | {f.check: f.rows for f in found.findings if f.severity == "note"}


def test_boilerplate_is_no_overlap():
    words = " ".join(f"word{i}" for i in range(20))
    rows = [{"prompt": f"{words} {i}", "completion": str(i)} for i in range(11)]
    held_out = load_rows([{"prompt": f"{words} x", "completion": "x"}])
    assert "13-gram of the evaluation" not in named(inspected(rows, evaluation=held_out))
    assert "13-gram of the evaluation" in named(inspected(rows[:10], evaluation=held_out))


def test_an_evaluation_of_another_format_is_an_error():
    with pytest.raises(UserError, match="no known format"):
        inspected(chats(2), evaluation=load_rows([{"numbers": 3}]))


def test_rows_are_named_by_their_number_in_the_source(tmp_path):
    rows = [{"prompt": f"p{i}", "chosen": "a", "rejected": "a" if i == 7 else "b"} for i in range(12)]
    source = load_rows(written(tmp_path / "rows.jsonl", rows)).select([5, 7, 9])
    found = inspect(source, PreparationOptions(), family=PREFERENCE)
    assert next((f.check, f.rows) for f in found.findings) == ("chosen equals rejected", [7])


def test_the_inspection_is_json():
    text = json.dumps(inspected(chats(3, 4), byte_tokenizer(CHATML), show=1).to_dict())
    assert json.loads(text)["read"] == 2


def test_what_preparation_warns_of_is_a_finding():
    tool = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}
    rows = [{"messages": [user("one"), assistant("two")], "tools": [tool]}]
    found = inspected(rows, byte_tokenizer(CHATML)).findings
    assert [(f.check, f.severity, f.count) for f in found] == [
        ("the chat template leaves out the tools", "warning", 1)
    ]
