"""Losses of reward models against float64 written out by hand, value and gradient."""

from __future__ import annotations

import inspect
import itertools
import math

import pytest
import torch

from burnish.losses.pointwise import POINTWISE_LOSSES, ordinal, pointwise_metrics, regression
from burnish.losses.ranking import RANKING_LOSSES, all_pairs, plackett_luce, ranking_metrics
from burnish.losses.reward import REWARD_PAIR_LOSSES, column_of
from burnish.losses.steps import step_cross_entropy, step_metrics


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def log_sigmoid(x):
    return math.log(sigmoid(x))


def slope(function, *values, step=1e-6):
    """Central differences of a function of floats, one for each."""
    found = []
    for index in range(len(values)):
        up, down = list(values), list(values)
        up[index] += step
        down[index] -= step
        found.append((function(*up) - function(*down)) / (2 * step))
    return found


# Pairs: the formula of a pair in floats


def focal_by_hand(chosen, rejected, margin, gamma=2.0):
    p = sigmoid(chosen - rejected - margin)
    return -((1 - 2 * max(0.0, p - 0.5)) ** gamma) * math.log(p)


PAIRS = {
    "bradley_terry": lambda c, r, m: -log_sigmoid(c - r - m),
    "scaled_bradley_terry": lambda c, r, m: -m * log_sigmoid(c - r),
    "hinge": lambda c, r, m: max(0.0, 1 - (c - r - m)),
    "focal": focal_by_hand,
    "soft_label": lambda c, r, q: -q * log_sigmoid(c - r) - (1 - q) * log_sigmoid(r - c),
}
CHOSEN, REJECTED, COLUMN = [1.0, -2.0, 0.3, 4.0], [0.5, 1.0, 0.25, -3.0], [0.1, 0.2, 0.9, 0.0]


def test_every_loss_is_here():
    assert PAIRS.keys() == REWARD_PAIR_LOSSES.keys()
    assert LISTS.keys() == RANKING_LOSSES.keys()
    assert POINTWISE_LOSSES.keys() == {"regression", "ordinal"}


@pytest.mark.parametrize("name", PAIRS)
def test_losses_of_pairs(name):
    chosen, rejected = double(CHOSEN).requires_grad_(), double(REJECTED).requires_grad_()
    found = REWARD_PAIR_LOSSES[name](chosen, rejected, double(COLUMN))
    rows = list(zip(CHOSEN, REJECTED, COLUMN, strict=True))
    torch.testing.assert_close(
        found.detach(), double([PAIRS[name](*row) for row in rows]), rtol=1e-12, atol=0
    )
    gradients = torch.stack(torch.autograd.grad(found.sum(), (chosen, rejected)), 1)
    expected = [slope(lambda c, r, m=m: PAIRS[name](c, r, m), c, r) for c, r, m in rows]
    torch.testing.assert_close(gradients, double(expected), rtol=1e-6, atol=1e-9)


def test_focal_has_its_gamma_and_is_bradley_terry_without():
    chosen, rejected = double(CHOSEN), double(REJECTED)
    found = REWARD_PAIR_LOSSES["focal"](chosen, rejected, 0.0, focal_gamma=3.5)
    expected = [focal_by_hand(c, r, 0.0, 3.5) for c, r in zip(CHOSEN, REJECTED, strict=True)]
    torch.testing.assert_close(found, double(expected), rtol=1e-12, atol=0)
    plain = REWARD_PAIR_LOSSES["focal"](chosen, rejected, 0.0, focal_gamma=0.0)
    torch.testing.assert_close(plain, REWARD_PAIR_LOSSES["bradley_terry"](chosen, rejected))


@pytest.mark.parametrize("name", PAIRS)
def test_losses_of_pairs_are_finite_far_out(name):
    chosen = torch.tensor([300.0, -300.0], requires_grad=True)
    loss = REWARD_PAIR_LOSSES[name](chosen, torch.zeros(2), torch.tensor([0.5, 0.5]))
    (gradient,) = torch.autograd.grad(loss.sum(), chosen)
    assert loss.isfinite().all() and gradient.isfinite().all()


def test_columns_of_losses():
    found = {name: column_of(loss) for name, loss in REWARD_PAIR_LOSSES.items()}
    assert found == {
        "bradley_terry": ("margin", False),
        "scaled_bradley_terry": ("margin", True),
        "hinge": ("margin", False),
        "focal": ("margin", False),
        "soft_label": ("chosen_probability", True),
    }


# Lists


def plackett_luce_by_hand(rewards, scores):
    total = 0.0
    for i, score in enumerate(scores):
        rivals = [rewards[j] for j, other in enumerate(scores) if j == i or other < score]
        total -= rewards[i] - math.log(sum(map(math.exp, rivals)))
    return total


def all_pairs_by_hand(rewards, scores):
    pairs = [(i, j) for i, j in itertools.permutations(range(len(scores)), 2) if scores[i] > scores[j]]
    return sum(-log_sigmoid(rewards[i] - rewards[j]) for i, j in pairs) / len(pairs)


LISTS = {"plackett_luce": plackett_luce_by_hand, "all_pairs": all_pairs_by_hand}
REWARDS = [[0.5, -1.0, 2.0], [0.1, 0.4], [1.0, 3.0, -2.0, 0.0, 0.7]]
SCORES = [[1.0, 0.0, 3.0], [2.0, 1.0], [4.0, 4.0, 1.0, 1.0, 2.0]]


def flat(lists):
    return [value for values in lists for value in values]


TREE = torch.tensor([0] * 3 + [1] * 2 + [2] * 5)


@pytest.mark.parametrize("name", LISTS)
def test_losses_of_lists_of_any_length(name):
    reward = double(flat(REWARDS)).requires_grad_()
    found = RANKING_LOSSES[name](reward, double(flat(SCORES)), TREE)
    lists = list(zip(REWARDS, SCORES, strict=True))
    torch.testing.assert_close(found.detach(), double([LISTS[name](*each) for each in lists]))
    (gradient,) = torch.autograd.grad(found.sum(), reward)
    expected = [s for r, scores in lists for s in slope(lambda *v, s=scores: LISTS[name](v, s), *r)]
    torch.testing.assert_close(gradient, double(expected), rtol=1e-6, atol=1e-9)


def test_plackett_luce_is_a_distribution_of_orders():
    rewards = double([0.5, -1.0, 2.0, 0.1])
    tree = torch.zeros(4, dtype=torch.long)
    orders = [double(order) for order in itertools.permutations(range(4))]
    total = sum(torch.exp(-plackett_luce(rewards, order, tree)) for order in orders)
    torch.testing.assert_close(total, double([1.0]))


@pytest.mark.parametrize("loss", [plackett_luce, all_pairs])
def test_lists_of_two_are_bradley_terry(loss):
    chosen, rejected = double(CHOSEN), double(REJECTED)
    tree = torch.arange(4).repeat_interleave(2)
    found = loss(torch.stack([chosen, rejected], 1).flatten(), double([1.0, 0.0] * 4), tree)
    torch.testing.assert_close(found, REWARD_PAIR_LOSSES["bradley_terry"](chosen, rejected))


def test_ranking_metrics():
    found = ranking_metrics(double(flat(REWARDS)), double(flat(SCORES)), TREE)
    # The pairs of the first and the last list are all right, and so is the best one; of the second, none is.
    hits = [
        sum(
            (a > b) == (x > y)
            for (a, x), (b, y) in itertools.combinations(zip(r, s, strict=True), 2)
            if x != y
        )
        for r, s in zip(REWARDS, SCORES, strict=True)
    ]
    assert hits == [3, 0, 8]
    assert float(found["accuracy"].value()) == pytest.approx((3 / 3 + 0 / 1 + 8 / 8) / 3)
    assert float(found["best_accuracy"].value()) == pytest.approx(2 / 3)


# Scores


REWARD = [[0.5, 3.2], [-1.0, 1.4], [2.5, 0.0]]
SCORE = [[0.0, 4.0], [0.0, 1.0], [4.0, 2.0]]
LEVELS = [0.0, 1.0, 2.0, 4.0]


def ordinal_by_hand(reward, score):
    thresholds = [0.5, 1.5, 3.0]
    return sum(-log_sigmoid(reward - t) if score > t else -log_sigmoid(t - reward) for t in thresholds)


@pytest.mark.parametrize(
    ("loss", "by_hand"),
    [(regression, lambda r, s: (r - s) ** 2), (ordinal, ordinal_by_hand)],
    ids=["regression", "ordinal"],
)
def test_losses_of_scores(loss, by_hand):
    options = {"ordinal_levels": LEVELS} if "ordinal_levels" in inspect.signature(loss).parameters else {}
    reward = double(REWARD).requires_grad_()
    found = loss(reward, double(SCORE), **options)
    cells = [list(zip(*rows, strict=True)) for rows in zip(REWARD, SCORE, strict=True)]
    expected = [sum(by_hand(*cell) for cell in row) / 2 for row in cells]
    torch.testing.assert_close(found.detach(), double(expected))
    (gradient,) = torch.autograd.grad(found.sum(), reward)
    slopes = [[slope(lambda r, s=s: by_hand(r, s), r)[0] / 2 for r, s in row] for row in cells]
    torch.testing.assert_close(gradient, double(slopes), rtol=1e-6, atol=1e-9)


def test_the_least_ordinal_loss_lies_between_the_thresholds_of_the_score():
    grid = torch.linspace(-3, 7, 2001, dtype=torch.float64)[:, None]
    for score, low, high in [(1.0, 0.5, 1.5), (2.0, 1.5, 3.0)]:
        assert low < grid[ordinal(grid, torch.full_like(grid, score), LEVELS).argmin()] < high


def test_pointwise_metrics():
    found = pointwise_metrics(double(REWARD), double(SCORE), ["help", "truth"])
    values = {name: float(metric.value()) for name, metric in found.items()}
    assert values == pytest.approx(
        {
            "mean_absolute_error": (0.5 + 0.8 + 1 + 0.4 + 1.5 + 2) / 6,
            "mean_absolute_error/help": 3 / 3,
            "mean_absolute_error/truth": 3.2 / 3,
        }
    )
    found = pointwise_metrics(double(REWARD), double(SCORE), ["help", "truth"], LEVELS)
    values = {name: float(metric.value()) for name, metric in found.items()}
    # They say 0 and 4, 0 and 1, 2 and 0, where the scores are 0 and 4, 0 and 1, 4 and 2.
    assert values == pytest.approx(
        {
            "mean_absolute_error": 4 / 6,
            "mean_absolute_error/help": 2 / 3,
            "mean_absolute_error/truth": 2 / 3,
            "accuracy": 4 / 6,
        }
    )


# Steps


def test_the_loss_of_steps():
    logits, label = double([[0.5, 1.5], [2.0, -1.0], [0.0, 0.3]]).requires_grad_(), double([1.0, 0.0, 0.25])
    found = step_cross_entropy(logits, label)
    gaps = [1.0, -3.0, 0.3]
    expected = [
        -y * log_sigmoid(g) - (1 - y) * log_sigmoid(-g) for g, y in zip(gaps, [1, 0, 0.25], strict=True)
    ]
    torch.testing.assert_close(found.detach(), double(expected))
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    right = double([sigmoid(g) - y for g, y in zip(gaps, [1, 0, 0.25], strict=True)])
    torch.testing.assert_close(gradient, torch.stack([-right, right], 1))


def test_step_metrics():
    logits = double([[0.0, 1.0], [0.0, -1.0], [0.0, 1.0], [0.0, 2.0]])
    found = step_metrics(logits, double([1.0, 1.0, 0.0, 0.75]))
    values = {name: float(metric.value()) for name, metric in found.items()}
    assert values == pytest.approx({"accuracy": 0.5, "accuracy/right": 2 / 3, "accuracy/wrong": 0.0})
