"""Student against teacher in tiles, against full logits in float64: values, gradients, rules of heads."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.losses.distillation import generalized_jsd
from burnish.models import tiles
from burnish.models.certify import certify
from burnish.models.divergence import Predictions, compared, divergence
from burnish.models.head import Head
from tests.invariants.conftest import llama, pairs
from tests.losses.test_distillation import BETAS, plain

TOKENS, VOCABULARY = 11, 17


def predictions(
    seed, width=5, vocabulary=VOCABULARY, bias=True, scale=1.0, softcap=None, dtype=torch.float64
):
    generator = torch.Generator().manual_seed(seed)
    make = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)
    states, weight = make(TOKENS, width).requires_grad_(), make(vocabulary, width).requires_grad_()
    own_bias = make(vocabulary).requires_grad_() if bias else None
    return Predictions(states, Head(weight, own_bias, scale, softcap))


def frozen(predictions):
    head = predictions.head
    bias = None if head.bias is None else head.bias.detach()
    return Predictions(predictions.states.detach(), head._replace(weight=head.weight.detach(), bias=bias))


def full_logits(predictions):
    return predictions.head.logits(predictions.states)


@pytest.fixture(params=[1, 80, 10**6], ids=["one row a tile", "two rows a tile", "one tile"])
def tile(request, monkeypatch):
    monkeypatch.setattr(tiles, "TILE_ELEMENTS", request.param)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize(
    "rules", [{}, {"bias": False, "scale": 0.3}, {"softcap": 2.0}, {"scale": 1.7, "softcap": 1.5}], ids=str
)
def test_value_and_gradient_are_those_of_full_logits(tile, rules, beta, temperature):
    student, teacher = predictions(0, **rules), frozen(predictions(1, width=8, softcap=4.0))
    inputs = [tensor for tensor in (student.states, *student.head[:2]) if tensor is not None]
    expected = plain(full_logits(student) / temperature, full_logits(teacher) / temperature, beta)
    sides = (each.as_compared(VOCABULARY, temperature) for each in (student, teacher))
    found = compared(*sides, partial(generalized_jsd, beta=beta)).value
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
    for weights in (torch.full((TOKENS,), 0.25).double(), torch.linspace(-1, 1, TOKENS).double()):
        wanted = torch.autograd.grad(expected @ weights, inputs, retain_graph=True)
        sides = (each.as_compared(VOCABULARY, temperature) for each in (student, teacher))
        again = compared(*sides, partial(generalized_jsd, beta=beta)).value
        for f, e in zip(torch.autograd.grad(again @ weights, inputs), wanted, strict=True):
            torch.testing.assert_close(f, e, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("beta", BETAS)
def test_gradcheck(beta):
    student, teacher = predictions(0, scale=0.7, softcap=3.0), frozen(predictions(1))

    def run(states, weight, bias):
        own = Predictions(states, Head(weight, bias, 0.7, 3.0))
        return compared(own, teacher, partial(generalized_jsd, beta=beta)).value

    assert torch.autograd.gradcheck(run, (student.states, *student.head[:2]))


def test_logits_of_both_together_stay_within_a_tile(monkeypatch):
    monkeypatch.setattr(tiles, "TILE_ELEMENTS", 2 * VOCABULARY * 3)
    largest = 0
    original = tiles.make_tile

    def watch(states, head):
        nonlocal largest
        largest = max(largest, len(states))
        return original(states, head)

    monkeypatch.setattr(tiles, "make_tile", watch)
    student, teacher = predictions(0), frozen(predictions(1))
    compared(student, teacher, generalized_jsd).value.sum().backward()
    assert largest == 3


def test_a_bfloat16_teacher_is_compared_in_float32():
    student, teacher = predictions(0, dtype=torch.float32), frozen(predictions(1, dtype=torch.bfloat16))
    found = compared(student, teacher, generalized_jsd).value
    assert found.dtype == torch.float32
    logits = full_logits(teacher).float()
    torch.testing.assert_close(found, plain(full_logits(student), logits, 0.5), rtol=1e-4, atol=1e-5)


def test_where_the_tables_differ_the_tokens_of_both_are_compared():
    student, teacher = predictions(0, vocabulary=20), frozen(predictions(1))
    sides = (each.as_compared(VOCABULARY, 1.0) for each in (student, teacher))
    found = compared(*sides, generalized_jsd).value
    expected = plain(full_logits(student)[:, :VOCABULARY], full_logits(teacher), 0.5)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    found.sum().backward()
    assert student.head.weight.grad[:VOCABULARY].any() and not student.head.weight.grad[VOCABULARY:].any()


def test_details_are_of_the_student(tile):
    student, teacher = predictions(0), frozen(predictions(1))
    details = compared(student, teacher, generalized_jsd, details=True).details
    logits = full_logits(student)
    torch.testing.assert_close(details.entropy, torch.distributions.Categorical(logits=logits).entropy())
    assert torch.equal(details.top, logits.argmax(-1))


def test_no_trained_token_gives_nothing():
    student, teacher = predictions(0), frozen(predictions(1))
    none = (each._replace(states=each.states[:0]) for each in (student, teacher))
    assert compared(*none, generalized_jsd).value.shape == (0,)


@pytest.mark.parametrize("tier", ["registered", "mask", "packed", "padded"])
def test_teacher_and_student_meet_at_the_same_tokens_in_any_tier(tier):
    """The student runs its forest in another way than the teacher does."""
    student, teacher = llama(), llama()
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(1.1)
    examples = [TokenizedExample.from_row(row) for row in pairs()]
    certify(student, tiers=[tier])
    certify(teacher.requires_grad_(False), tiers=["registered"])
    forest = Forest.pack(examples)
    found = divergence(student, teacher, forest, generalized_jsd)
    expected = []
    for example in examples:
        for completion in example.completions:
            ids = torch.tensor([example.prompt + completion])
            place = slice(len(example.prompt) - 1, -1)
            own, other = (model(input_ids=ids).logits[0, place] for model in (student, teacher))
            expected.append(plain(own, other, 0.5))
    torch.testing.assert_close(found.value, torch.cat(expected), rtol=1e-11, atol=1e-12)
    found.value.sum().backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
