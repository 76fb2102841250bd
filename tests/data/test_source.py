"""Files, folders and objects to datasets, and what is said about those that cannot be read."""

from __future__ import annotations

import codecs
import gzip
import json
import re

import datasets
import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict

from burnish.data.reading.formats import UNPAIRED
from burnish.data.sources.mixture import Entry, load_mixture
from burnish.data.sources.source import load_rows, load_source, load_stream
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


def test_cells_of_a_csv_file_are_text_as_written(tmp_path):
    path = tmp_path / "rows.tsv"
    path.write_text('id\tprompt\n007\t1.0\n8\t"two\n""lines"""\n', encoding="utf-8-sig")
    assert load_source(str(path)).to_list() == [
        {"id": "007", "prompt": "1.0"},
        {"id": "8", "prompt": 'two\n"lines"'},
    ]


def test_labels_of_a_csv_file_are_read_as_numbers(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("prompt,completion,label\n2+2,4,True\n2+2,5,0\n")
    read = [UNPAIRED(row) for row in load_source(path)]
    assert [(example.completions, example.columns["label"]) for example in read] == [(("4",), 1), (("5",), 0)]


@pytest.mark.parametrize("layout", ["stream", "file"])
def test_arrow(tmp_path, layout):
    table = pa.table({"text": ["a", "b"]})
    new = {"stream": pa.ipc.new_stream, "file": pa.ipc.new_file}[layout]
    with new(str(tmp_path / "rows.arrow"), table.schema) as writer:
        writer.write_table(table)
    assert load_source(tmp_path / "rows.arrow").to_list() == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl.gz", '{"text": "a"}\n{"text": "b"}\n'),
        ("rows.json.gz", '[{"text": "a"}, {"text": "b"}]'),
        ("rows.csv.gz", "text\na\nb\n"),
        ("rows.tsv.gz", "text\na\nb\n"),
    ],
)
def test_gzip_of_a_text_format(tmp_path, name, content):
    (tmp_path / name).write_bytes(gzip.compress(content.encode()))
    assert load_source(tmp_path / name)["text"][:] == ["a", "b"]
    assert load_source(tmp_path)["text"][:] == ["a", "b"]


def test_a_pattern_names_files_whose_rows_know_where_they_are(tmp_path):
    write(tmp_path / "b.jsonl", {"text": "3", "n": 1.5})
    write(tmp_path / "a.jsonl", {"text": "1", "id": "x"}, {"text": "2"})
    (tmp_path / "aa.jsonl").write_text("")
    source = load_rows(str(tmp_path / "*.jsonl"))
    assert source.dataset["text"][:] == ["1", "2", "3"]
    assert [source.origins.of(i, row) for i, row in enumerate(source.dataset)] == [
        f"{tmp_path}/a.jsonl, row 0 (id x)",
        f"{tmp_path}/a.jsonl, row 1",
        f"{tmp_path}/b.jsonl, row 0",
    ]
    last = source.select([2])
    assert last.origins.of(0, {}) == f"{tmp_path}/b.jsonl, row 0" and last.origins.number(0) == 2


def test_parquet_files_of_a_pattern(tmp_path):
    Dataset.from_list([{"text": "a"}]).to_parquet(str(tmp_path / "a.parquet"))
    Dataset.from_list([{"text": "b", "n": 1}]).to_parquet(str(tmp_path / "b.parquet"))
    source = load_rows(str(tmp_path / "*.parquet"))
    assert source.dataset.to_list() == [{"text": "a", "n": None}, {"text": "b", "n": 1}]
    assert source.origins.of(1, {}) == f"{tmp_path}/b.parquet, row 0"


def test_a_sample_is_the_seeds_and_keeps_order_and_numbers(tmp_path):
    path = write(tmp_path / "rows.jsonl", *({"text": str(n)} for n in range(100)))
    source = load_rows(f"{path}#10", seed=1)
    numbers = [int(text) for text in source.dataset["text"]]
    assert len(numbers) == 10 and numbers == sorted(set(numbers))
    assert [source.origins.number(index) for index in range(10)] == numbers
    assert load_source(f"{path}#10", seed=1)["text"][:] == source.dataset["text"][:]
    assert load_source(f"{path}#10", seed=2)["text"][:] != source.dataset["text"][:]
    assert source.notes == ("a sample of 10 of 100 rows, drawn by seed 1",)


def test_a_sample_of_more_than_there_are_is_all_and_says_so(tmp_path):
    path = write(tmp_path / "rows.jsonl", {"text": "a"}, {"text": "b"})
    source = load_rows(f"{path}#500")
    assert len(source) == 2 and "500 was asked for, and there are 2 rows" in source.notes[0]
    assert load_rows(f"{path}#2").notes == ()


def test_a_file_may_have_a_number_sign_in_its_name(tmp_path):
    path = write(tmp_path / "rows#7", {"text": "a"})
    assert refusal(path).startswith(f"{path}: unknown file format")  # read as a file, not as a sample


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv.gz", "rows.parquet"])
def test_a_stream_of_a_file_starts_anew_every_time(tmp_path, name):
    path = tmp_path / name
    if name == "rows.parquet":
        Dataset.from_list([{"text": "a"}, {"text": "b"}]).to_parquet(str(path))
    elif name == "rows.jsonl":
        write(path, {"text": "a"}, {"text": "b"})
    else:
        path.write_bytes(gzip.compress(b"text\na\nb\n"))
    (stream,) = load_stream(path)
    assert [list(stream.rows) for _ in range(2)] == [[{"text": "a"}, {"text": "b"}]] * 2
    assert stream.name == str(path)


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


def test_a_pattern_that_matches_nothing_names_what_is_near(tmp_path):
    write(tmp_path / "train.jsonl", {"text": "a"})
    assert refusal(tmp_path / "tran*.csv").startswith(
        f"{tmp_path}/tran*.csv: no file matches this pattern; {tmp_path} has train.jsonl\n"
    )


def test_gzip_that_was_cut_off(tmp_path):
    whole = gzip.compress(b'{"text": "a"}\n' * 1000)
    (tmp_path / "rows.jsonl.gz").write_bytes(whole[:-20])
    assert refusal(tmp_path / "rows.jsonl.gz").startswith(f"{tmp_path}/rows.jsonl.gz: cannot be unpacked: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n1,2,3\n", "line 3: 3 cells, and the header has 2 columns (a, b)"),
        ("a,a\n1,2\n", "line 1: two columns are named 'a'"),
        ('a,b\n"1"x,2\n', "line 2: not CSV: "),
        ("a,b\n", "the file has no rows"),
    ],
)
def test_broken_csv_names_the_line(tmp_path, content, message):
    (tmp_path / "rows.csv").write_text(content)
    assert message in refusal(tmp_path / "rows.csv") and refusal(tmp_path / "rows.csv").startswith(
        str(tmp_path)
    )


def test_a_sample_of_a_stream_is_refused(tmp_path):
    path = write(tmp_path / "rows.jsonl", {"text": "a"})
    with pytest.raises(UserError, match="#5 draws from all rows"):
        load_stream(f"{path}#5")


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


def test_a_stream_is_refused_where_all_rows_are_needed():
    stream = Dataset.from_list([{"text": "a"}]).to_iterable_dataset()
    assert refusal(stream).startswith("these rows are a stream")


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


# Configurations and splits of what lies here


@pytest.fixture
def several(tmp_path):
    for place in ("plain/train", "plain/test", "chats/train"):
        written = tmp_path / f"{place}.jsonl"
        written.parent.mkdir(exist_ok=True)
        written.write_text(json.dumps({"text": place}) + "\n")
    return tmp_path


README = """---
configs:
- config_name: a
  data_files:
  - {split: train, path: plain/train.jsonl}
  - {split: dev, path: plain/test.jsonl}
- config_name: b
  data_dir: chats
---
"""


@pytest.mark.parametrize(
    ("readme", "config", "split", "text"),
    [
        ("", "plain", "test", "plain/test"),
        ("", "chats", "train", "chats/train"),
        (README, "a", "dev", "plain/test"),
        (README, "b", "train", "chats/train"),
        (README, "plain", "train", "plain/train"),
        (README.replace("config_name: a", "config_name: default"), None, "dev", "plain/test"),
    ],
)
def test_a_configuration_of_a_folder(several, readme, config, split, text):
    (several / "README.md").write_text(readme)
    assert load_source(several, config=config, split=split)["text"][:] == [text]
    (stream,) = load_stream(several, config=config, split=split)
    assert [row["text"] for row in stream.rows] == [text]


@pytest.mark.parametrize(
    ("name", "readme", "given", "what"),
    [
        (
            ".",
            "",
            {"config": "plian"},
            "no configuration 'plian'; there is chats, plain. Did you mean 'plain'?",
        ),
        (".", README, {"config": "c"}, "no configuration 'c'; there is a, b, chats, plain."),
        (".", README, {}, "the dataset has several configurations: a, b"),
        ("plain/train.jsonl", "", {"config": "plain"}, "no configuration 'plain': it has none"),
        ("plain/*.jsonl", "", {"config": "plain"}, "no configuration 'plain': it has none"),
        (
            "plain/train.jsonl",
            "",
            {"split": "nope"},
            "no split 'nope': what is named as a file has no splits",
        ),
        ("plain/*.jsonl", "", {"split": "test"}, "no split 'test': what is named as a file has no splits"),
        ("json", "", {"split": "test", "data_files": ["plain/test.jsonl"]}, "no split 'test'"),
    ],
)
def test_configurations_and_splits_that_are_not_there(several, monkeypatch, name, readme, given, what):
    monkeypatch.chdir(several)
    (several / "README.md").write_text(readme)
    with pytest.raises(UserError, match=re.escape(what)):
        load_source(name, **given)
    with pytest.raises(UserError, match=re.escape(what)):
        load_stream(name, **given)


def test_a_file_may_be_asked_for_the_split_that_its_name_says(several):
    assert load_source(several / "plain" / "test.jsonl", split="test")["text"][:] == ["plain/test"]


def test_a_file_to_evaluate_on_is_named_for_its_rows(several):
    entry = Entry.of(str(several / "chats" / "train.jsonl"))
    assert entry.is_file and Entry.of(f"{entry.path}#1").is_file and not Entry.of(str(several)).is_file
    (source,) = load_mixture([entry.for_its_rows()], split="test")
    assert len(source) == 1
    assert Entry.of(str(several)).for_its_rows().split is None
