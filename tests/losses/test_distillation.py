"""Divergences of teacher and student: by hand, by autograd, and by TRL's own function."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from burnish.errors import UserError
from burnish.losses.distillation import check_distillation, forward_kl, generalized_jsd, reverse_kl

BETAS = [0.0, 0.1, 0.5, 0.9, 1.0]


def logits(rows=7, vocabulary=13, seed=0, spread=3.0):
    generator = torch.Generator().manual_seed(seed)
    both = spread * torch.randn(2, rows, vocabulary, generator=generator, dtype=torch.float64)
    return both[0].requires_grad_(), both[1]


def plain(student, teacher, beta):
    """float[n, V] logits -> float[n], as the definition stands, with probabilities."""
    q, p = student.softmax(-1), teacher.softmax(-1)
    kl = lambda a, b: (a * (a / b).log()).sum(-1)
    if beta in (0, 1):
        return kl(q, p) if beta else kl(p, q)
    mixture = beta * p + (1 - beta) * q
    return beta * kl(p, mixture) + (1 - beta) * kl(q, mixture)


def test_two_tokens_by_hand():
    student, teacher = (torch.tensor([row], dtype=torch.float64).log() for row in ([0.5, 0.5], [0.9, 0.1]))
    forward = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    reverse = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    mixed = 0.5 * (0.9 * math.log(0.9 / 0.7) + 0.1 * math.log(0.1 / 0.3))
    mixed += 0.5 * (0.5 * math.log(0.5 / 0.7) + 0.5 * math.log(0.5 / 0.3))
    assert float(forward_kl(student, teacher).value) == pytest.approx(forward, rel=1e-12)
    assert float(reverse_kl(student, teacher).value) == pytest.approx(reverse, rel=1e-12)
    assert float(generalized_jsd(student, teacher, 0.5).value) == pytest.approx(mixed, rel=1e-12)


@pytest.mark.parametrize("beta", BETAS)
def test_value_and_gradient_are_those_of_the_definition(beta):
    student, teacher = logits()
    expected = plain(student, teacher, beta)
    (gradient,) = torch.autograd.grad(expected.sum(), student)
    found = generalized_jsd(student.detach().log_softmax(-1), teacher.log_softmax(-1), beta)
    torch.testing.assert_close(found.value, expected, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(found.gradient, gradient, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("beta", BETAS)
def test_equal_distributions_have_none_and_pull_nowhere(beta):
    student, _ = logits()
    logprobs = student.detach().log_softmax(-1)
    found = generalized_jsd(logprobs, logprobs, beta)
    assert found.value.abs().max() < 1e-14 and found.gradient.abs().max() < 1e-14


@pytest.mark.parametrize("beta", [1e-6, 1 - 1e-6])
def test_the_ends_are_the_limits(beta):
    """JSD(β) / β tends to the forward KL for β to 0, and JSD(β) / (1 - β) to the reverse KL for β to 1."""
    student, teacher = (each.detach().log_softmax(-1) for each in logits(spread=1.0))
    limit = generalized_jsd(student, teacher, beta).value / min(beta, 1 - beta)
    torch.testing.assert_close(limit, generalized_jsd(student, teacher, round(beta)).value, rtol=1e-4, atol=0)


@pytest.mark.parametrize("beta", BETAS)
def test_probabilities_that_underflow_in_float32_give_finite_numbers(beta):
    student = torch.tensor([[0.0, 300.0, -300.0], [500.0, 0.0, 0.0]]).log_softmax(-1)
    teacher = torch.tensor([[300.0, 0.0, -300.0], [500.0, 0.0, 0.0]]).log_softmax(-1)
    found = generalized_jsd(student, teacher, beta)
    assert found.value.isfinite().all() and found.gradient.isfinite().all()
    largest = 300.0 if beta in (0, 1) else -beta * math.log(beta) - (1 - beta) * math.log(1 - beta)
    assert found.value.tolist() == pytest.approx([largest, 0.0], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("beta", BETAS)
def test_values_are_those_of_trl(beta):
    gkd = pytest.importorskip("trl.experimental.gkd")
    student, teacher = logits()
    expected = gkd.GKDTrainer.generalized_jsd_loss(student, teacher, beta=beta, reduction="none").sum(-1)
    found = generalized_jsd(student.log_softmax(-1), teacher.log_softmax(-1), beta)
    torch.testing.assert_close(found.value, expected, rtol=1e-12, atol=1e-12)
    (gradient,) = torch.autograd.grad(expected.sum(), student)
    torch.testing.assert_close(found.gradient, gradient, rtol=1e-10, atol=1e-12)


def test_the_forward_kl_is_cross_entropy_less_the_teachers_entropy():
    student, teacher = logits()
    found = forward_kl(student.log_softmax(-1), teacher.log_softmax(-1)).value
    cross = F.cross_entropy(student, teacher.softmax(-1), reduction="none")
    entropy = torch.distributions.Categorical(logits=teacher).entropy()
    torch.testing.assert_close(found, cross - entropy)


@pytest.mark.parametrize(("beta", "temperature"), [(-0.1, 1.0), (1.1, 1.0), (0.5, 0.0), (0.5, math.inf)])
def test_what_makes_no_sense_is_refused(beta, temperature):
    with pytest.raises(UserError, match="divergence_temperature" if 0 <= beta <= 1 else "beta"):
        check_distillation(beta, temperature)
