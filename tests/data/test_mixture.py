"""Sources of different formats in one dataset, with weights."""

from __future__ import annotations

import json
from collections import Counter

import datasets
import pytest

from burnish.data.preparation.options import PreparationOptions
from burnish.data.preparation.prepare import prepare
from burnish.data.reading.formats import LANGUAGE, PREFERENCE
from burnish.data.sources.mixture import Entry, load_mixture, load_streams, mixed, weighted
from burnish.data.sources.source import load_rows
from burnish.errors import UserError
from tests.conftest import tiny_tokenizer, write_rows


@pytest.fixture(autouse=True)
def quiet(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def entries_of(*given) -> list[Entry]:
    return [Entry.of(each) for each in given]


def put_together(sources, read_row=LANGUAGE, **options):
    prepared = [prepare(s, read_row, tiny_tokenizer(), PreparationOptions(**options)) for s in sources]
    return mixed([each.dataset for each in prepared], sources, seed=42), [each.report for each in prepared]


@pytest.mark.parametrize(
    ("given", "entry"),
    [
        ("a.jsonl", Entry("a.jsonl")),
        ("a.jsonl:0.5", Entry("a.jsonl", weight=0.5)),
        ("a.jsonl#500:2", Entry("a.jsonl#500", weight=2)),
        ("owner/rows", Entry("owner/rows")),
        ({"path": "a", "fraction": 0.25, "split": None}, Entry("a", fraction=0.25)),
        (
            {"path": "a", "name": "en", "columns": "prompt=q", "weight": "3"},
            Entry("a", "en", columns={"prompt": "q"}, weight=3),
        ),
    ],
)
def test_an_entry_from_a_name_or_a_mapping(given, entry):
    assert Entry.of(given) == entry


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "a"}, "a dataset needs a path"),
        ({"path": "a", "wieght": 1}, "a dataset has no key 'wieght'. Did you mean 'weight'?"),
        ({"path": "a", "weight": "half"}, "the weight of a is 'half', expected a number above 0"),
        ("a.jsonl:0", "the weight of a.jsonl is '0'"),
    ],
)
def test_a_wrong_entry_says_what_is_wrong(given, message):
    with pytest.raises(UserError) as error:
        Entry.of(given)
    assert message in str(error.value)


def test_a_file_may_end_like_a_weight(tmp_path):
    path = write_rows(tmp_path / "rows:2", [{"text": "a"}])
    assert Entry.of(str(path)) == Entry(str(path))


def test_sources_of_different_formats_and_columns(tmp_path):
    texts = write_rows(tmp_path / "texts.jsonl", [{"text": "one"}, {"text": ""}])
    asked = write_rows(tmp_path / "asked.jsonl", [{"q": "two", "a": "three", "label": False}])
    sources = load_mixture(
        entries_of(str(texts), {"path": str(asked), "columns": {"prompt": "q", "completion": "a"}})
    )
    rows, reports = put_together(sources)
    assert rows["origin"][:] == [f"{texts}, row 0", f"{asked}, row 0"]
    assert [report.format for report in reports] == [
        "text, from columns text",
        "prompt and completion, from columns q, a; not used: label",
    ]
    assert [(report.read, report.kept, report.dropped_rows) for report in reports] == [(2, 1, 1), (1, 1, 0)]
    assert reports[0].notes == [] and "trained like the others" in reports[1].notes[0]


@pytest.mark.parametrize(("weight", "times"), [(1, 10), (0.5, 5), (0.04, 1), (2, 20), (2.5, 25)])
def test_a_weight_is_how_many_times_rows_are_in_an_epoch(tmp_path, weight, times):
    path = write_rows(tmp_path / "rows.jsonl", [{"text": f"text {n}"} for n in range(10)])
    sources = [weighted(load_rows(path), weight, seed=7)]
    rows, reports = put_together(sources)
    counts = Counter(rows["row"][:])
    assert sum(counts.values()) == times
    assert set(counts.values()) <= {int(weight), int(weight) + 1}
    assert reports[0].kept + reports[0].dropped_rows == reports[0].read == min(times, 10)


def test_a_number_of_the_objective_is_in_all_sources_or_in_none(tmp_path):
    pair = {"prompt": "a", "chosen": "b", "rejected": "c"}
    plain = write_rows(tmp_path / "plain.jsonl", [pair])
    margins = write_rows(tmp_path / "margins.jsonl", [{**pair, "margin": 1.5}])
    with pytest.raises(UserError) as error:
        put_together(load_mixture(entries_of(str(plain), str(margins))), PREFERENCE)
    assert str(error.value) == (
        f"{plain}: no column 'margin', and {margins} has it\n"
        "  fix: add the column 'margin' to all sources, or remove it from all"
    )


def test_streams_have_no_weights(tmp_path):
    path = str(write_rows(tmp_path / "rows.jsonl", [{"text": "a"}]))
    assert [stream.name for stream in load_streams(entries_of(path, path))] == [path, path]
    with pytest.raises(UserError, match="how many rows a stream has is not known"):
        load_streams(entries_of(f"{path}:0.5"))


def test_an_entry_may_stand_in_a_config_as_json_does(tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [{"text": "a"}])
    assert len(load_mixture([Entry.of(json.loads(json.dumps({"path": str(path)})))])[0]) == 1
