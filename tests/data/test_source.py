"""Files, folders and objects to datasets, and what is said about those that cannot be read."""

from __future__ import annotations

import codecs
import json

import datasets
import pytest
from datasets import Dataset, DatasetDict

from burnish.data.source import load_source
from burnish.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))


def write(path, *rows) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def refusal(name, **options) -> str:
    with pytest.raises(UserError) as error:
        load_source(name, **options)
    return str(error.value)


# What can be read


def test_json_lines_come_back_as_written(tmp_path):
    rows = [
        {"text": "2024-01-31", "n": 1, "tools": {"a": 1}, "mixed": "x"},
        {"text": "é🙂", "n": 2.5, "tools": {"b": [None, "c"]}, "mixed": 3},
        {"text": "", "n": None, "tools": None, "mixed": ["y"]},
    ]
    assert load_source(write(tmp_path / "rows.jsonl", *rows)).to_list() == rows


def test_messages_keep_only_their_own_keys(tmp_path):
    rows = [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{"id": "1"}]}]}
    ]
    assert load_source(write(tmp_path / "rows.jsonl", *rows)).to_list() == rows


def test_a_changed_file_is_read_anew(tmp_path):
    path = tmp_path / "rows.jsonl"
    assert load_source(write(path, {"text": "a"}))["text"][:] == ["a"]
    assert load_source(write(path, {"text": "bc"}))["text"][:] == ["bc"]


def test_byte_order_mark_empty_lines_and_no_last_newline(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(codecs.BOM_UTF8 + b'{"text": "a"}\r\n\n{"text": "b"}')
    assert load_source(str(path))["text"][:] == ["a", "b"]


def test_json_list_of_objects(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text('[\n {"text": "a"},\n {"text": "b"}\n]')
    assert load_source(str(path))["text"][:] == ["a", "b"]


def test_csv_keeps_words_that_look_like_nothing(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('prompt,completion\n"a, b",NA\nc,null\n')
    assert load_source(str(path)).to_list() == [
        {"prompt": "a, b", "completion": "NA"},
        {"prompt": "c", "completion": "null"},
    ]


def test_parquet(tmp_path):
    Dataset.from_list([{"text": "a"}]).to_parquet(str(tmp_path / "rows.parquet"))
    assert load_source(tmp_path / "rows.parquet").to_list() == [{"text": "a"}]


def test_folder_with_splits(tmp_path):
    write(tmp_path / "a_train.jsonl", {"text": "1"})
    write(tmp_path / "b_train.jsonl", {"text": "2", "more": 1})
    write(tmp_path / "dev" / "rows.jsonl", {"text": "3"})
    write(tmp_path / "test-00000.jsonl", {"text": "4"})
    assert load_source(tmp_path)["text"][:] == ["1", "2"]
    assert load_source(tmp_path, split="validation")["text"][:] == ["3"]
    assert load_source(tmp_path, split="test")["text"][:] == ["4"]
    assert load_source(tmp_path, data_files="dev/*.jsonl")["text"][:] == ["3"]


def test_folder_that_datasets_saved(tmp_path):
    DatasetDict({"test": Dataset.from_list([{"text": "a"}])}).save_to_disk(str(tmp_path / "saved"))
    assert load_source(tmp_path / "saved", split="test").to_list() == [{"text": "a"}]


def test_format_name_with_data_files(tmp_path):
    path = write(tmp_path / "rows.txt", {"text": "a"})
    assert load_source("json", data_files={"train": path})["text"][:] == ["a"]


def test_objects():
    rows = [{"text": "a"}, {"text": 1}]
    dataset = load_source(rows)
    assert dataset.to_list() == rows
    assert load_source(dataset) is dataset
    assert load_source(DatasetDict({"train": dataset})) is dataset


# What cannot


def test_missing_file_names_the_nearest(tmp_path):
    write(tmp_path / "train.jsonl", {"text": "a"})
    assert refusal(tmp_path / "trian.jsonl") == (
        f"{tmp_path}/trian.jsonl: no such file or folder; {tmp_path} has train.jsonl\n"
        "  fix: check the path (and the working directory)"
    )


def test_missing_split_names_those_that_exist(tmp_path):
    write(tmp_path / "test.jsonl", {"text": "a"})
    assert refusal(tmp_path) == f"{tmp_path}: no split 'train'; there is test\n  fix: set split to 'test'"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'{"a": 1}\n{"a": caf\xe9}\n',
            "line 2: not UTF-8: byte 0xe9 at byte 18 of the file\n"
            "  fix: convert the file to UTF-8 (iconv -f LATIN1 -t UTF-8)",
        ),
        (
            b'{"a": 1}\n\n{"a": 2,}\n',
            "line 3, column 9: not JSON: Illegal trailing comma before end of object: '{\"a\": 2,}'\n"
            "  fix: write one JSON object a line, without line breaks inside",
        ),
        (
            b'{"a": 1}\n{"a": "hel',
            'line 2: the last line is cut off (Unterminated string starting at): … \'{"a": "hel\'\n'
            "  fix: the file was not written to its end; make it anew, or delete this line",
        ),
        (
            b'{"a": 1}\n"a"\n',
            "line 2: expected a JSON object, found 'a'\n"
            '  fix: write one object a line, like {"text": "..."}',
        ),
    ],
)
def test_broken_lines(tmp_path, content, message):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    found = refusal(path)
    assert found.startswith(f"{path}, ")
    said, expected = found.removeprefix(f"{path}, "), message
    if "not JSON" in expected:  # the words of Python's parser differ between its versions
        said, expected = (text.split("not JSON")[0] + text.split(":")[-1] for text in (said, expected))
    assert said == expected


def test_broken_json_list(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text('[\n {"text": "a"}\n {"text": "b"}\n]')
    assert refusal(path).startswith(f"{path}, line 3, column 2: not JSON: ")


def test_no_rows(tmp_path):
    assert refusal(write(tmp_path / "rows.jsonl")) == (
        f"{tmp_path}/rows.jsonl: the file has no rows\n  fix: write one JSON object a line"
    )
    assert "there are no rows" in refusal([])


def test_unknown_format(tmp_path):
    (tmp_path / "rows.xml").write_text("<a/>")
    assert refusal(tmp_path / "rows.xml").startswith(f"{tmp_path}/rows.xml: unknown file format '.xml'")


def test_unreadable_parquet(tmp_path):
    (tmp_path / "rows.parquet").write_text("no")
    assert refusal(tmp_path / "rows.parquet").startswith(
        f"{tmp_path}/rows.parquet: cannot be read as parquet: "
    )


def test_streams_are_refused():
    stream = Dataset.from_list([{"text": "a"}]).to_iterable_dataset()
    assert refusal(stream).startswith("streaming datasets are not supported")


def test_hub_without_network_says_what_was_tried(monkeypatch):
    from huggingface_hub import HfApi, constants

    def unreachable(self, name, **options):
        assert options["timeout"] <= 10
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "dataset_info", unreachable)
    assert refusal("owner/rows") == (
        f"owner/rows: no file or folder of that name, and {constants.ENDPOINT} cannot be reached "
        "(Name or service not known)\n"
        "  fix: give a local .jsonl, .json, .csv or .parquet file or a folder; "
        "or set HF_HUB_OFFLINE=1 to use a dataset that was downloaded before"
    )
