import json

import pytest

from benchmarks import _rows
from benchmarks._rows import COLUMNS, METHODS, generated_rows, load_rows
from burnish.demo.task import INSTRUCTION


@pytest.mark.parametrize("method", METHODS)
def test_generated_rows_have_the_columns_of_the_method_and_differ_in_length(method):
    rows = generated_rows(method, 20)
    assert len(rows) == 20
    assert {tuple(row) for row in rows} == {COLUMNS[method]}
    assert rows == generated_rows(method, 20)
    lengths = {len(row[COLUMNS[method][0]]) for row in rows}
    assert len(lengths) >= 4
    assert len({json.dumps(row) for row in rows}) == 20


def test_generated_chats_alternate():
    for row in generated_rows("sft", 10):
        system, *turns = row["messages"]
        assert system == {"role": "system", "content": INSTRUCTION}
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2)


def test_without_real_data_rows_are_generated(tmp_path, monkeypatch):
    monkeypatch.setattr(_rows, "REAL_DATA", tmp_path)
    rows, source = load_rows("dpo", 3)
    assert (rows, source) == (generated_rows("dpo", 3), "generated")


def test_the_first_rows_of_a_file_are_taken_with_the_columns_of_the_method(tmp_path):
    file = tmp_path / "pairs.jsonl"
    lines = [{"prompt": "p", "chosen": f"c{i}", "rejected": "r", "id": i} for i in range(5)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows, source = load_rows("dpo", 2, str(file))
    assert source == "pairs.jsonl"
    assert rows == [{"prompt": "p", "chosen": f"c{i}", "rejected": "r"} for i in range(2)]


def test_chats_are_plain_text_where_the_peer_would_end_them_twice(tmp_path):
    file = tmp_path / "pairs.jsonl"
    turns = {side: [{"role": "user", "content": side}] for side in ("prompt", "chosen", "rejected")}
    file.write_text(json.dumps(turns) + "\n" + json.dumps(turns | {"chosen": "text"}) + "\n")
    rows, _ = load_rows("orpo", 2, str(file))
    as_lines = {"prompt": "prompt\n", "chosen": "chosen\n", "rejected": "rejected\n"}
    assert rows == [as_lines, as_lines | {"chosen": "text"}]
