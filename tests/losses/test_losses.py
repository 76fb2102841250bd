"""Losses against float64 written out by hand, and their gradients."""

from __future__ import annotations

import math

import pytest
import torch

from burnish.losses.likelihood import dft, nll
from burnish.losses.output import Extreme, Mean
from burnish.losses.reward import bradley_terry, centering, reward_metrics


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def log_sigmoid(x):
    return -math.log1p(math.exp(-x))


def test_likelihood_losses_by_hand():
    logprob = torch.tensor([-0.5, -2.0], dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(nll(logprob).detach(), double([0.5, 2.0]))
    loss = dft(logprob)
    torch.testing.assert_close(loss.detach(), double([0.5 * math.exp(-0.5), 2 * math.exp(-2)]))
    (gradient,) = torch.autograd.grad(loss.sum(), logprob)
    torch.testing.assert_close(gradient, -double([math.exp(-0.5), math.exp(-2)]))


def test_bradley_terry_by_hand():
    chosen, rejected = double([1.0, -2.0]), double([0.5, 1.0])
    expected = [-log_sigmoid(0.5 - 0.1), -log_sigmoid(-3.0 - 0.2)]
    found = bradley_terry(chosen, rejected, double([0.1, 0.2]))
    torch.testing.assert_close(found, double(expected), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(centering(chosen, rejected), double([2.25, 1.0]))
    assert torch.autograd.gradcheck(bradley_terry, (chosen.requires_grad_(), rejected.requires_grad_(), 0.3))


def test_reward_metrics():
    found = reward_metrics(torch.tensor([1.0, -2.0]), torch.tensor([0.5, 1.0]))
    values = {name: float(metric.value()) for name, metric in found.items()}
    assert values == pytest.approx(
        {"min_reward": -2.0, "mean_reward": 0.125, "max_reward": 1.0, "accuracy": 0.5, "margin": -1.25}
    )


def test_means_of_unequal_batches_add_to_the_mean_of_all():
    values = torch.arange(7.0)
    parts = Mean.of(values[:2]) + Mean.of(values[2:3]) + Mean.of(values[3:])
    assert float(parts.value()) == float(values.mean())


def test_a_weighted_mean_ignores_what_has_no_weight():
    values = torch.tensor([1.0, float("inf"), 3.0])
    assert float(Mean.of(values, torch.tensor([1.0, 0.0, 3.0])).value()) == 2.5


def test_extremes_add_to_the_further_one():
    first, second = torch.tensor([1.0, 5.0]), torch.tensor([-3.0, 2.0])
    assert float((Extreme.most(first) + Extreme.most(second)).value()) == 5.0
    assert float((Extreme.least(first) + Extreme.least(second)).value()) == -3.0
