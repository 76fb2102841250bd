import json

import pytest

from benchmarks._statistics import (
    differences,
    median_cpu_step,
    median_peak,
    median_step,
    ratios,
    step_seconds,
    write_json,
)
from benchmarks._worker import Result

OURS = [
    Result([9.0, 1.0, 2.0], [9.0, 2.0, 4.0], advance_seconds=3.0, advance_cpu_seconds=6.0, peak_bytes=100),
    Result([9.0, 3.0, 2.0], [9.0, 6.0, 4.0], advance_seconds=3.0, advance_cpu_seconds=6.0, peak_bytes=300),
]
THEIRS = [Result([50.0, 12.0, 12.0], [50.0, 1.0, 1.0], peak_bytes=800)]


def test_the_first_step_is_left_out_and_each_step_bears_its_share_of_what_was_scored_before():
    assert step_seconds(OURS[0]) == [2.0, 3.0]
    assert step_seconds(THEIRS[0]) == [12.0, 12.0]


def test_medians_over_steps_and_repeats():
    assert median_step(OURS) == 3.0  # of 2, 3, 4, 3
    assert median_cpu_step(OURS) == 6.0  # of 4, 6, 8, 6
    assert median_peak(OURS) == 200


def test_ratios_say_how_many_of_our_steps_fit_into_theirs_and_our_share_of_their_memory():
    found = ratios({"burnish": OURS, "default": THEIRS, "tuned": OURS})
    assert found == {
        "step_time_ratio": {"default": 4.0, "tuned": 1.0},
        "peak_memory_ratio": {"default": 0.25, "tuned": 1.0},
    }


def test_differences_are_relative_and_absolute_below_one():
    found = differences(
        {"loss": 2.0, "logps/chosen": -50.0, "reward": 0.25},
        {"loss": 2.5, "logps/chosen": -49.0, "reward": 0.75},
        ["loss", "logps/chosen", "reward"],
    )
    assert found == {"loss": 0.25, "logps/chosen": 0.02, "reward": 0.5}


def test_a_missing_metric_is_an_error():
    with pytest.raises(KeyError):
        differences({"loss": 1.0}, {}, ["loss"])


def test_json_is_written_where_asked(tmp_path):
    write_json({"a": 1}, str(tmp_path / "out.json"))
    assert json.loads((tmp_path / "out.json").read_text()) == {"a": 1}
    write_json({"a": 1}, None)
