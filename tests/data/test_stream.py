"""Rows prepared as they come are those of the whole dataset, and every row read is counted once."""

from __future__ import annotations

import itertools
import random

import datasets
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.data.preparation import stream
from burnish.data.preparation.options import PreparationOptions
from burnish.data.preparation.prepare import prepare
from burnish.data.preparation.stream import PreparedStream, shuffled
from burnish.data.reading.formats import LANGUAGE
from burnish.data.sources.rows import RowStream
from burnish.data.sources.source import load_stream
from burnish.errors import UserError
from tests.conftest import tiny_tokenizer, write_rows

SKIP = {"on_bad_row": "skip", "bad_row_budget": 0.99}


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def prepared(*rows_of_streams, shuffle_seed=None, **options) -> PreparedStream:
    streams = [RowStream(rows, f"stream {n}") for n, rows in enumerate(rows_of_streams)]
    return PreparedStream(
        streams, LANGUAGE, tiny_tokenizer(), PreparationOptions(**options), shuffle_seed=shuffle_seed
    )


GOOD = {"prompt": "a", "completion": "b"}
BAD = {"prompt": "a", "completion": 3}
EMPTY = {"prompt": "a", "completion": ""}


def test_rows_are_those_of_the_whole_dataset():
    rows = [{"prompt": f"{n} is", "completion": f" {n}."} for n in range(250)] + [EMPTY]
    whole = prepare(Dataset.from_list(rows), LANGUAGE, tiny_tokenizer(), PreparationOptions(), "stream 0")
    made = prepared(rows)
    assert list(made) == whole.dataset.to_list()
    assert made.reports[0] == whole.report


def test_a_folder_of_files_is_one_stream_after_the_other(tmp_path):
    for name in ("a", "b"):
        write_rows(tmp_path / f"{name}.jsonl", [{"text": f"{name}{n}", "id": n} for n in range(3)])
    streams = load_stream(tmp_path)
    made = PreparedStream(streams, LANGUAGE, tiny_tokenizer(), PreparationOptions())
    assert [row["origin"] for row in made] == [
        f"{tmp_path}/{name}.jsonl, row {n} (id {n})" for name in "ab" for n in range(3)
    ]
    assert [report.read for report in made.reports] == [3, 3]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([GOOD, GOOD, BAD, EMPTY]), max_size=25), st.integers(0, 60))
def test_kept_and_dropped_are_what_was_read_at_any_moment(rows, taken):
    whole = [GOOD, *rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "BATCH", 4)
        made = prepared(whole, **SKIP)
        (report,) = made.reports
        every_epoch = itertools.chain.from_iterable(made for _ in range(2))
        for _ in itertools.islice(every_epoch, taken):
            assert report.kept + report.dropped_rows == report.read
        for _ in made:
            pass
        assert report.read == len(whole)  # once, however often the stream began anew
        assert report.kept == whole.count(GOOD)
        assert sum(tally.count for tally in report.faults.values()) == whole.count(BAD)


def test_another_epoch_is_another_order_of_the_same_rows():
    rows = [{"text": f"text {n}"} for n in range(50)]
    made = prepared(rows, shuffle_seed=1)

    def order(epoch: int) -> list[int]:
        made.set_epoch(epoch)
        return [row["row"] for row in made]

    assert sorted(order(0)) == list(range(50)) and order(0) != list(range(50))
    assert order(0) == order(0) and order(1) != order(0)


def test_a_buffer_draws_every_row_once(monkeypatch):
    monkeypatch.setattr(stream, "SHUFFLED", 10)
    rows = [{"row": n} for n in range(100)]
    drawn = [row["row"] for row in shuffled(iter(rows), random.Random(0))]
    assert sorted(drawn) == list(range(100)) and max(n - place for place, n in enumerate(drawn)) <= 10


def test_a_bad_row_stops_when_it_is_reached():
    made = prepared([GOOD] * 150 + [{**BAD, "id": "x7"}, *[GOOD] * 100])
    assert made.reports[0].read == 100
    with pytest.raises(UserError) as error:
        list(made)
    assert str(error.value).startswith("stream 0, row 150 (id x7), column 'completion': ")


@pytest.mark.parametrize(
    ("good", "bad", "budget", "stops"),
    [(10, 1, 0.05, True), (30, 1, 0.05, False), (1500, 9, 0.005, True), (10, 2, 2, False), (10, 3, 2, True)],
)
def test_the_budget_of_rows_that_may_be_skipped(good, bad, budget, stops):
    rows = [GOOD] + [BAD] * bad + [GOOD] * (good - 1)
    if not stops:
        assert len(list(prepared(rows, on_bad_row="skip", bad_row_budget=budget))) == good
        return
    with pytest.raises(UserError, match=f"more than bad_row_budget={budget:g} allows") as error:
        list(prepared(rows, on_bad_row="skip", bad_row_budget=budget))
    assert str(error.value).startswith("stream 0, row 1, column 'completion'")


def test_a_stream_of_another_format_is_refused_before_its_first_row_is_needed():
    with pytest.raises(UserError, match=r"^stream 1: no known format"):
        prepared([GOOD], [{"question": "a", "rank": "b"}])


def test_a_stream_without_rows_is_refused():
    with pytest.raises(UserError, match="stream 0: there are no rows"):
        prepared([])
    with pytest.raises(UserError, match="none of the 2 rows can be trained"):
        prepared([EMPTY, EMPTY])
