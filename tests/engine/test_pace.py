"""How long a run takes, by a clock that the tests move."""

import pytest

from burnish.engine.pace import Pace


class Clock:
    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pace(clock):
    pace = Pace(clock)
    pace.begin(0, 10, 0)
    return pace


def steps(pace, clock, *durations):
    for duration in durations:
        clock.time += duration
        pace.stepped(pace.step + 1)


def test_nothing_is_known_before_the_first_step(pace):
    assert (pace.left, pace.step_seconds, pace.tokens_per_second) == (None, None, None)


def test_one_slow_step_does_not_change_what_is_left(pace, clock):
    steps(pace, clock, 30.0, 2.0, 2.0, 2.0)
    assert pace.step_seconds == 2.0 and pace.left == 6 * 2.0


def test_what_lies_between_steps_is_no_step_but_takes_its_time(pace, clock):
    steps(pace, clock, 2.0, 2.0)
    clock.time += 10.0
    pace.resumed()
    steps(pace, clock, 2.0, 2.0)
    assert pace.step_seconds == 2.0
    assert pace.left == 6 * (2.0 + 10.0 / 4)
    assert pace.seconds == 18.0


def test_tokens_are_of_steps_since_they_were_last_counted(pace, clock):
    steps(pace, clock, 2.0)
    pace.counted(100)
    assert pace.tokens_per_second == 50.0
    clock.time += 100.0
    pace.resumed()
    steps(pace, clock, 4.0)
    pace.counted(500)
    assert pace.tokens_per_second == 100.0


def test_a_run_that_goes_on_counts_its_own_steps_and_tokens(clock):
    pace = Pace(clock)
    pace.begin(6, 10, 1000, seconds=60.0)
    steps(pace, clock, 3.0)
    pace.counted(1300)
    assert (pace.tokens_per_second, pace.left, pace.seconds) == (100.0, 9.0, 63.0)
