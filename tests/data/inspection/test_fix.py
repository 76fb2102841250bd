"""The clean copy: what is right stays as it was, what is not stands elsewhere with its reasons."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from burnish.data.inspection.fix import write_copy
from burnish.data.inspection.inspect import Rows, inspect, reader_of
from burnish.data.inspection.thresholds import parse_thresholds
from burnish.data.preparation.options import PreparationOptions
from burnish.data.sources.source import load_rows
from burnish.errors import UserError
from tests.data.inspection.rows import COLUMNS, planted


def fixed(data, out: Path, columns=None):
    source = load_rows(str(data), columns=columns)
    options = PreparationOptions()
    return write_copy(inspect(source, options), Rows(source, reader_of(source, options)), out)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def written(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


MENDED = {"HTML entities", "carriage returns or padding", "invisible characters", "stray column"}


@pytest.mark.parametrize("seed", range(3))
def test_every_row_is_in_one_file_and_the_copy_is_clean(seed, tmp_path):
    rows, named = planted(seed)
    data = written(tmp_path / "pairs.jsonl", rows)
    copy = fixed(data, tmp_path / "out.jsonl", COLUMNS)
    clean, apart, mends = (lines(path) for path in (copy.clean, copy.quarantine, copy.mends))
    assert (len(clean), len(apart), len(mends)) == (copy.kept, copy.quarantined, copy.mended)
    assert len(clean) + len(apart) == len(rows)
    for name, ids in named.items():
        place, key = (mends, "mended") if name in MENDED else (apart, "reasons")
        assert {record["id"] for record in place if name in record[key]} == ids
    assert all(rows[r["row"]] == r["data"] for r in apart) and all(
        rows[r["row"]] == r["before"] for r in mends
    )
    again = inspect(load_rows(str(copy.clean), columns=COLUMNS), PreparationOptions())
    assert [f.check for f in again.findings if f.severity != "note"] == []


def test_clean_lines_are_copied_byte_for_byte(tmp_path):
    odd = (
        '{"completion":"caf\\u00e9 1.50",  "prompt": "p", "n": 1.0e2, "big": 123456789012345678901234567890}'
    )
    data = tmp_path / "rows.jsonl"
    data.write_bytes(b"\xef\xbb\xbf" + odd.encode() + b"\r\n\n" + b'{"prompt": "q", "completion": ""}')
    copy = fixed(data, tmp_path / "out.jsonl")
    assert copy.clean.read_bytes() == odd.encode() + b"\n"
    (record,) = lines(copy.quarantine)
    assert record == {
        "source": str(data),
        "row": 1,
        "id": "",
        "reasons": ["empty completion"],
        "data": {"prompt": "q", "completion": ""},
    }
    assert not copy.mends.exists()


def test_only_the_texts_with_a_blemish_are_mended(tmp_path):
    row = {"prompt": "a &amp; b", "completion": " c", "note": "x &amp; y", "n": [1, None]}
    copy = fixed(written(tmp_path / "rows.jsonl", [row]), tmp_path / "out.jsonl")
    assert lines(copy.clean) == [{**row, "prompt": "a & b"}]


def test_a_row_that_mending_cannot_save_is_left_out(tmp_path):
    row = {"prompt": "a &amp; b", "completion": "c<|im_end|>"}
    copy = fixed(
        written(tmp_path / "rows.jsonl", [row, {"prompt": "d", "completion": "e"}]), tmp_path / "out.jsonl"
    )
    (record,) = lines(copy.quarantine)
    assert set(record["reasons"]) == {"control markers", "HTML entities"} and record["data"] == row
    assert copy.mended == 0


def test_messages_are_mended_in_their_place(tmp_path):
    messages = [{"from": "human", "value": "a\r\nb"}, {"from": "gpt", "value": "c\u200b"}]
    copy = fixed(written(tmp_path / "rows.jsonl", [{"conversations": messages}]), tmp_path / "out.jsonl")
    assert lines(copy.clean)[0]["conversations"] == [
        {"from": "human", "value": "a\nb"},
        {"from": "gpt", "value": "c"},
    ]


def test_a_text_that_is_put_together_of_columns_is_left_out_instead(tmp_path):
    rows = [{"instruction": "do &amp; say", "input": "this", "output": "yes"}]
    rows.append({"instruction": "say", "input": "this", "output": "no &amp; never"})
    copy = fixed(written(tmp_path / "rows.jsonl", rows), tmp_path / "out.jsonl")
    assert [record["row"] for record in lines(copy.quarantine)] == [0]
    assert lines(copy.clean) == [{**rows[1], "output": "no & never"}]


@pytest.mark.parametrize("suffix", [".json", ".csv", ".tsv", ".parquet"])
def test_other_formats_keep_their_values(suffix, tmp_path):
    rows = [{"prompt": 'a "b",\tc', "completion": "x\ny"}, {"prompt": "q", "completion": ""}]
    rows.append({"prompt": "007", "completion": "NA"})
    data = tmp_path / "rows.csv"
    with data.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["prompt", "completion"])
        writer.writeheader()
        writer.writerows(rows)
    copy = fixed(data, tmp_path / f"out{suffix}")
    assert list(load_rows(str(copy.clean)).dataset) == [rows[0], rows[2]]


def test_rows_of_several_files_and_a_sample_are_found_again(tmp_path):
    first = written(tmp_path / "a.jsonl", [{"prompt": f"a{i}", "completion": str(i)} for i in range(30)])
    written(tmp_path / "b.jsonl", [{"prompt": f"b{i}", "completion": "x" * (i % 2)} for i in range(30)])
    copy = fixed(f"{tmp_path}/*.jsonl#40", tmp_path / "out" / "clean.jsonl")
    assert copy.kept + copy.quarantined == 40
    written_rows = lines(copy.clean)
    assert all(row["completion"] for row in written_rows) and {r["prompt"][0] for r in written_rows} == {
        "a",
        "b",
    }
    assert all(record["data"]["prompt"][0] == "b" for record in lines(copy.quarantine))
    assert first.exists()


@pytest.mark.parametrize("name", ["rows.jsonl", "out.xlsx", "out.jsonl.gz"])
def test_nothing_is_overwritten_and_unknown_formats_are_refused(name, tmp_path):
    data = written(tmp_path / "rows.jsonl", [{"prompt": "a", "completion": "b"}])
    before = data.read_bytes()
    with pytest.raises(UserError, match=r"there already|cannot write"):
        fixed(data, tmp_path / name)
    assert data.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


# Thresholds


def passed(text, rows):
    inspection = inspect(load_rows(rows), PreparationOptions())
    return [what for what in (t.passed(inspection) for t in parse_thresholds(text)) if what]


ROWS = [{"prompt": f"p{i}", "completion": "x" if i else ""} for i in range(9)] + [
    {"prompt": "p8", "completion": "x"}
]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("dropped>0", 1),
        ("dropped>1", 0),
        ("dropped > 9.9 %", 1),
        ("dropped>10%", 0),
        ("duplicates>0,dropped>0", 2),
        ("same_example_again>0", 0),
        ("faults>0,warnings>1", 0),
    ],
)
def test_thresholds(text, count):
    assert len(passed(text, ROWS)) == count


def test_a_threshold_of_a_share():
    pairs = [
        {"prompt": "p", "chosen": "long", "rejected": "s"},
        {"prompt": "q", "chosen": "t", "rejected": "long"},
    ]
    assert passed("chosen longer>49%", pairs) == ["chosen longer is 50.0 %, more than 49 %"]
    assert passed("chosen longer>50%", pairs) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("faults", "expected name>limit"),
        ("faults>x", "expected name>limit"),
        ("fualts>0", "Did you mean 'fault'"),
        ("chosen longer>3", "is a share"),
    ],
)
def test_thresholds_that_cannot_be_read(text, message):
    with pytest.raises(UserError, match=message):
        parse_thresholds(text)
