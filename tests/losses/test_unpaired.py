"""Losses of single completions, and of pairs without a reference, against float64 written out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from burnish.errors import UserError
from burnish.losses import reference_free, unpaired
from burnish.losses.reference_free import CPO_LOSSES, TPO_LOSSES, Likelihoods, alpha_reward
from burnish.losses.unpaired import UNPAIRED_LOSSES, UnpairedScores

POLICY = [-3.0, -5.0, -2.5]
REFERENCE = [-4.0, -4.5, -4.0]
LABEL = [1.0, 0.0, 0.0]
KL = 0.25
RATIOS = [1.0, -0.5, 1.5]  # policy - reference


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def scores(policy, kl=KL):
    columns = {"label": double(LABEL), "baseline": double([kl] * 3)}
    return UnpairedScores.of(policy, double(REFERENCE), columns)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


UNPAIRED = {
    "kto": (
        lambda p: unpaired.kto(scores(p), beta=0.5, desirable_weight=2.0, undesirable_weight=3.0),
        [2 * (1 - sigmoid(0.5 * 0.75)), 3 * (1 - sigmoid(0.5 * 0.75)), 3 * (1 - sigmoid(0.5 * -1.25))],
    ),
    "apo_zero_unpaired": (
        lambda p: unpaired.apo_zero_unpaired(
            UnpairedScores.of(p, double(REFERENCE), {"label": double(LABEL)}), beta=0.5
        ),
        [1 - sigmoid(0.5 * 1.0), sigmoid(0.5 * -0.5), sigmoid(0.5 * 1.5)],
    ),
    "bco": (
        lambda p: unpaired.bco(scores(p), beta=0.5),
        [
            -math.log(sigmoid(0.5 * 1.0 - 0.125)),
            -math.log(sigmoid(-(0.5 * -0.5 - 0.125))),
            -math.log(sigmoid(-(0.5 * 1.5 - 0.125))),
        ],
    ),
}

LEAD = [1.5, -0.7]
LEADS = {
    "sigmoid": (
        lambda x: reference_free.sigmoid(x, beta=0.5, label_smoothing=0.1),
        [-0.9 * math.log(sigmoid(0.5 * v)) - 0.1 * math.log(sigmoid(-0.5 * v)) for v in LEAD],
    ),
    "hinge": (lambda x: reference_free.hinge(x, beta=0.5), [1 - 0.75, 1 + 0.35]),
    "ipo": (lambda x: reference_free.ipo(x, beta=0.5), [0.5**2, 1.7**2]),
    "simpo": (
        lambda x: reference_free.simpo(x, beta=2.0, simpo_gamma=0.8),
        [-math.log(sigmoid(2.0 * v - 0.8)) for v in LEAD],
    ),
    "tpo-l": (
        lambda x: reference_free.tpo_l(x, beta=2.0, label_smoothing=0.2, tpo_l_gamma=0.3),
        [-0.8 * math.log(sigmoid(2 * v - 0.3)) - 0.2 * math.log(sigmoid(-2 * v + 0.3)) for v in LEAD],
    ),
}

MEANS = [[-0.4, -1.3], [-2.0, -0.01]]


def odds(logprob):
    return math.exp(logprob) / (1 - math.exp(logprob))


OF_MEANS = {
    "odds ratio": (
        lambda x: reference_free.odds_ratio(reference_free.log_odds_ratio(x), beta=0.3),
        [-0.3 * math.log(sigmoid(math.log(odds(c) / odds(r)))) for c, r in MEANS],
    ),
    "alpha reward": (
        lambda x: alpha_reward(x, 0.25).sum(1),
        [sum((1 - math.exp(v) ** -0.25) / 0.25 for v in row) for row in MEANS],
    ),
}

CASES = [
    *((name, POLICY, *case) for name, case in UNPAIRED.items()),
    *((name, LEAD, *case) for name, case in LEADS.items()),
    *((name, MEANS, *case) for name, case in OF_MEANS.items()),
]


@pytest.mark.parametrize(("name", "inputs", "loss", "expected"), CASES, ids=[case[0] for case in CASES])
def test_by_hand(name, inputs, loss, expected):
    torch.testing.assert_close(loss(double(inputs)), double(expected), rtol=1e-14, atol=1e-14)
    assert torch.autograd.gradcheck(loss, (double(inputs).requires_grad_(),))


def test_every_loss_has_its_case_formula_source_and_use():
    named = {**UNPAIRED_LOSSES, "bco": unpaired.bco, **CPO_LOSSES, **TPO_LOSSES}
    assert named.keys() == UNPAIRED.keys() | LEADS.keys()
    for loss in named.values():
        formula, source, use = loss.__doc__.strip().split("\n\n")
        assert formula and "arXiv" in source and use.strip().startswith("Use ")


def test_the_baseline_and_the_reference_have_no_gradient():
    policy = double(POLICY).requires_grad_()
    unpaired.kto(scores(policy), beta=0.5).sum().backward()
    far = torch.sigmoid(double([0.5 * 0.75, 0.5 * 0.75, 0.5 * -1.25]))
    expected = -0.5 * (2 * double(LABEL) - 1) * far * (1 - far)
    torch.testing.assert_close(policy.grad, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("x", [-1e-18, -1e-12, -1e-3, -0.69, -0.7, -5.0, -800.0])
def test_log1mexp_is_accurate_at_both_ends(x):
    found = double(x).requires_grad_()
    value = reference_free.log1mexp(found)
    assert float(value.detach()) == pytest.approx(math.log(-math.expm1(x)), rel=1e-14)
    value.backward()
    slope = -math.exp(x) / -math.expm1(x)
    assert float(found.grad) == pytest.approx(slope, rel=1e-10) and math.isfinite(float(found.grad))


def test_alpha_0_is_the_log_probability_itself():
    values = double(MEANS)
    assert torch.equal(alpha_reward(values, 0.0), values)
    torch.testing.assert_close(alpha_reward(values, 1e-9), values, rtol=1e-8, atol=0)


def test_likelihoods_are_sums_means_and_a_mean_over_tokens_of_one_column():
    found = Likelihoods.of(double([-3.0, -8.0, -1.0, -2.0]), torch.tensor([3, 4, 1, 2]))
    torch.testing.assert_close(found.mean, double([[-1.0, -2.0], [-1.0, -1.0]]))
    assert float(found.nll(0).value()) == 1.0 and float(found.nll(1).value()) == pytest.approx(10 / 6)


def test_unpaired_metrics_are_means_of_each_class():
    found = unpaired.unpaired_metrics(scores(double(POLICY)), beta=0.5)
    assert {name: float(metric.value()) for name, metric in found.items()} == pytest.approx(
        {
            "rewards/chosen": 0.5,
            "rewards/rejected": 0.25,
            "rewards/margins": 0.25,
            "logps/chosen": -3.0,
            "logps/rejected": -3.75,
        }
    )


def test_pair_metrics():
    found = reference_free.pair_metrics(double([[-1.0, -2.0], [-3.0, -1.0]]), double([[1, 0], [0, 3]]))
    assert {name: float(metric.value()) for name, metric in found.items()} == pytest.approx(
        {
            "rewards/chosen": 0.5,
            "rewards/rejected": 1.5,
            "rewards/accuracies": 0.5,
            "rewards/margins": -1.0,
            "logps/chosen": -2.0,
            "logps/rejected": -1.5,
        }
    )


def test_the_balance_of_classes():
    assert unpaired.balance([1.0, 1.0, 0.0], 1.0, 2.0) == 1.0
    assert unpaired.balance([1.0, 0.0, 0.0], 3.0, 1.0) == 1.5


def test_label_smoothing_is_refused_where_a_loss_has_none():
    reference_free.check_smoothing(CPO_LOSSES["simpo"], 0.1)
    reference_free.check_smoothing(CPO_LOSSES["hinge"], 0.0)
    with pytest.raises(UserError, match="hinge has no label smoothing"):
        reference_free.check_smoothing(CPO_LOSSES["hinge"], 0.1)
