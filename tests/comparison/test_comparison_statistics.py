"""The numbers of a comparison, by value."""

import math

import numpy as np
import pytest

from burnish.comparison import statistics as s
from burnish.evaluation.statistics import Estimate, share, verdict

NAN = math.nan


def test_a_mean_leaves_unknown_values_out():
    found = s.mean(np.array([1.0, NAN, 3.0]))
    assert (found.value, found.rows) == (2.0, 2)
    assert 1.0 <= found.low < 2.0 < found.high <= 3.0
    assert math.isnan(s.mean(np.array([NAN])).value) and s.mean(np.array([NAN])).rows == 0


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation():
    values = np.random.default_rng(0).normal(5, 2, 400)
    found = s.mean(values)
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.03)
    assert found.high == pytest.approx(values.mean() + half, abs=0.03)


def test_the_seed_fixes_an_interval():
    values = np.random.default_rng(0).normal(size=50)
    assert s.mean(values, 1) == s.mean(values, 1) != s.mean(values, 2)


def test_a_share_on_which_all_prompts_agree_still_has_doubt():
    found = s.mean(np.ones(10), is_share=True)
    assert found.value == found.high == 1.0 and found.low == pytest.approx(0.7225, abs=1e-4)  # Wilson
    assert s.mean(np.ones(10)).low == 1.0  # a length that never varies is one


def test_a_loss_per_token_weighs_prompts_by_their_tokens():
    assert s.ratio(np.array([10.0, 4.0]), np.array([5.0, 1.0])).value == pytest.approx(14 / 6)


def test_differences_are_paired():
    """Prompts differ a lot, models by exactly one: a paired interval has no width, an unpaired one has."""
    first = np.random.default_rng(0).normal(0, 100, 50)
    found = s.difference(first, first + 1)
    assert found.value == pytest.approx(1) and found.high - found.low < 1e-9
    assert s.mean(first).high - s.mean(first).low > 10
    one, other = (first, np.full(50, 2.0)), (first + 1, np.full(50, 2.0))
    found = s.ratio_difference(one, other)
    assert found.value == pytest.approx(0.5) and found.high - found.low < 1e-9


def test_shares_that_never_differ_still_have_doubt():
    same = np.array([1.0, 0.0, 1.0, 1.0])
    found = s.difference(same, same, is_share=True)
    assert found.value == 0 and found.high == -found.low == pytest.approx(0.4899, abs=1e-4)  # 1 - Wilson 4/4


def test_wins():
    first, second = np.array([1.0, 2.0, 3.0, NAN]), np.array([2.0, 2.0, 1.0, 1.0])
    assert s.wins(first, second)[:3].tolist() == [1, 0.5, 0]
    assert s.wins(first, second, higher_is_better=False)[:3].tolist() == [0, 0.5, 1]
    found = s.WinRate.of(s.wins(first, second))
    assert (found.wins, found.ties, found.losses, found.rate.value, found.rate.rows) == (1, 1, 1, 0.5, 3)
    assert found.length_controlled is None


def made_up(skill: float, slope: float, rows: int = 8000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Who won, and both lengths, by the model of the fit. The second model writes more by 40 on average."""
    generator = np.random.default_rng(0)
    first, gap = generator.uniform(100, 200, rows), generator.normal(40, 80, rows)
    chance = s.sigmoid(skill + slope * np.tanh(gap / gap.std()))
    return (generator.random(rows) < chance).astype(float), first, first + gap


@pytest.mark.parametrize(("skill", "slope"), [(0.0, 1.5), (-0.5, 2.0), (0.8, 0.0)])
def test_length_control_finds_the_skill_that_data_were_made_with(skill, slope):
    won, first, second = made_up(skill, slope)
    found = s.length_controlled(won, first, second)
    assert found is not None
    assert found.value == pytest.approx(1 / (1 + math.exp(-skill)), abs=0.025)
    assert found.low < 1 / (1 + math.exp(-skill)) < found.high
    if slope:
        assert won.mean() > found.value + 0.08  # what length alone had earned


def test_length_control_is_the_maximum_of_the_posterior():
    """Against a fit by another way: a grid around it has nothing better."""
    won, first, second = made_up(0.4, 1.0, rows=60)
    won[:10] = 0.5
    x = np.tanh((second - first) / (second - first).std())
    (found,) = s.fit(won, x, np.ones((1, 60)))

    def posterior(skill, slope):
        chance = s.sigmoid(skill + slope * x)
        likelihood = (won * np.log(chance) + (1 - won) * np.log(1 - chance)).sum()
        return likelihood - skill**2 / 200 - slope**2 / 2

    best = posterior(*found)
    for a in np.linspace(-0.5, 0.5, 11):
        for b in np.linspace(-0.5, 0.5, 11):
            assert posterior(found[0] + a, found[1] + b) <= best + 1e-9


def test_length_control_holds_where_one_model_always_wins():
    first, second = np.arange(10.0), np.arange(10.0) * 2
    found = s.length_controlled(np.ones(10), first, second)
    assert found == Estimate(1.0, share(10, 10).low, 1.0, 10)


def test_equal_lengths_leave_nothing_to_control():
    assert s.length_controlled(np.ones(3), np.full(3, 5.0), np.full(3, 5.0)) is None


@pytest.mark.parametrize(
    ("difference", "rate", "higher", "told"),
    [
        ((0.2, 0.1, 0.3), None, True, "better"),
        ((0.2, 0.1, 0.3), None, False, "worse"),
        ((0.2, -0.1, 0.3), (0.7, 0.6, 0.8), True, "not significant"),
        ((0.2, 0.1, 0.3), (0.48, 0.38, 0.58), True, "mixed"),
        ((-0.2, -0.3, -0.1), (0.52, 0.4, 0.6), True, "mixed"),
        ((-0.2, -0.3, -0.1), (0.6, 0.5, 0.7), False, "better"),
        (None, (0.7, 0.6, 0.8), True, "better"),
        (None, (0.3, 0.2, 0.4), True, "worse"),
        (None, (0.55, 0.45, 0.65), True, "not significant"),
        (None, (math.nan, 0, 1), True, ""),
    ],
)
def test_one_rule_says_which_model_is_better(difference, rate, higher, told):
    estimates = [None if each is None else Estimate(*each, rows=9) for each in (difference, rate)]
    assert verdict(*estimates, higher) == told
