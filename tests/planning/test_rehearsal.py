"""A step without numbers takes what a real one takes, at any depth, and leaves nothing behind."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.models.attention.plan import Plan
from burnish.models.forward import attach
from burnish.models.fused import fuse
from burnish.models.rehearsal import Ledger, rehearse, without_numbers
from burnish.models.score import score
from burnish.models.twin import fuse_twin, layer_count, layer_period, make_twin, shortened
from tests.conftest import save_tiny_model


def forest() -> Forest:
    prompt, one, other = [list(range(5, 5 + n)) for n in (40, 30, 20)]
    pair = TokenizedExample(prompt, [one, other], [[True] * 30, [True] * 20])
    packed = Forest.pack([pair, pair, pair])
    _ = packed.target, packed.target_branch, packed.trained_per_branch
    Plan.of(packed, None)
    return packed


def rehearsed(folder, layers=None):
    model = make_twin(str(folder), "causal", layers=layers)
    fuse_twin(model)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    attach(without_numbers(model, mode))
    model.train()
    forests = [forest(), forest()]
    return rehearse(model, mode, lambda: score(model, forests.pop()).logprob.sum())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("deep") / "model")


def test_a_twin_has_the_shapes_of_the_model(folder):
    model, twin = AutoModelForCausalLM.from_pretrained(folder), make_twin(str(folder), "causal")
    shapes = {name: (weight.shape, weight.dtype) for name, weight in model.named_parameters()}
    assert {name: (weight.shape, weight.dtype) for name, weight in twin.named_parameters()} == shapes
    assert all(weight.is_meta for weight in twin.parameters())


def test_a_rehearsal_counts_the_bytes_of_a_real_step(folder):
    """The same ledger on real tensors, in the same order: the difference is what weights and noise are."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    fuse(model)
    attach(model).train()
    packed, ledger = forest(), Ledger()
    with ledger:
        score(model, packed).logprob.sum().backward()
    expected = ledger.since().total
    first, _ = rehearsed(folder)
    assert first.fullest.total == pytest.approx(expected, rel=0.01)
    assert first.effort.operations == ledger.operations
    assert first.effort.calls == pytest.approx(ledger.calls, rel=0.02)


def test_every_layer_takes_the_same(folder):
    deep, two, three = (rehearsed(folder, layers) for layers in (7, 2, 3))
    for whole, at_two, at_three in zip(deep, two, three, strict=True):
        found = at_two.at_depth(at_three, 5)
        assert found.top.total == whole.top.total
        assert found.bottom.total == whole.bottom.total
        assert found.effort == whole.effort


def test_a_later_micro_batch_has_all_gradients_beside_it(folder):
    first, later = rehearsed(folder)
    weights = sum(p.nbytes for p in make_twin(str(folder), "causal").parameters())
    assert later.bottom.gradients == weights
    assert first.top.gradients < later.top.gradients == weights
    assert later.top.total > first.top.total


def test_layers_of_several_kinds_are_taken_by_their_period():
    class Config:
        layer_types = ["sliding", "sliding", "full"] * 4
        num_hidden_layers = 12

        def get_text_config(self):
            return self

    assert layer_period(Config()) == 3
    assert layer_count(shortened(Config(), 5)) == 5


def test_weights_are_counted_by_nobody():
    """A view of a frozen weight is no activation; a product is one."""
    weight, states, ledger = torch.ones(1000, 1000), torch.ones(10, 1000), Ledger()
    with ledger:
        kept = weight.detach().t()
        made = states @ kept
    assert ledger.live == ledger.since().total == made.nbytes
