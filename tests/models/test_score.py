"""`head_scores` against a plain log-softmax over full logits, in float64: values, gradients, every option."""

import pytest
import torch

from burnish.models import tiles
from burnish.models.head import Head
from burnish.models.score import head_scores


def plain(states, tokens, head):
    logits = states @ head.weight.T
    if head.bias is not None:
        logits = logits + head.bias
    logits = logits * head.scale
    if head.softcap is not None:
        logits = head.softcap * torch.tanh(logits / head.softcap)
    return logits, logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]


def problem(bias=True, scale=1.0, softcap=None, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    make = lambda *shape: (
        torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    )
    states, weight = make(11, 5), make(17, 5)
    tokens = torch.randint(17, (11,), generator=generator)
    return states, tokens, Head(weight, make(17) if bias else None, scale, softcap)


@pytest.fixture(params=[1, 40, 10**6], ids=["one row a tile", "two rows a tile", "one tile"])
def tile(request, monkeypatch):
    monkeypatch.setattr(tiles, "TILE_ELEMENTS", request.param)


@pytest.mark.parametrize("uniform", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("scale", "softcap"), [(1.0, None), (0.3, None), (1.0, 2.0), (1.7, 1.5)])
def test_value_and_gradient_match_a_plain_log_softmax(tile, bias, scale, softcap, uniform):
    states, tokens, head = problem(bias, scale, softcap)
    inputs = [states, head.weight] + ([head.bias] if bias else [])
    for weights in (torch.ones(11).double() * -0.25, torch.linspace(-1, 1, 11).double()):
        expected = plain(states, tokens, head)[1]
        found = head_scores(states, tokens, head, uniform=uniform).logprob
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        expected_gradients = torch.autograd.grad(expected @ weights, inputs)
        found_gradients = torch.autograd.grad(found @ weights, inputs)
        for f, e in zip(found_gradients, expected_gradients, strict=True):
            torch.testing.assert_close(f, e, rtol=1e-11, atol=1e-12)


def test_gradcheck():
    states, tokens, head = problem(True, 0.7, 3.0)
    run = lambda s, w, b: head_scores(s, tokens, Head(w, b, 0.7, 3.0)).logprob
    assert torch.autograd.gradcheck(run, (states, head.weight, head.bias))


def test_details_are_entropy_in_nats_top_tokens_and_mean_logits(tile):
    states, tokens, head = problem(softcap=2.0)
    logits, _ = plain(states, tokens, head)
    details = head_scores(states, tokens, head, details=True).details
    torch.testing.assert_close(details.entropy, torch.distributions.Categorical(logits=logits).entropy())
    assert torch.equal(details.top, logits.argmax(-1))
    torch.testing.assert_close(details.mean_logit, logits.mean(-1))
    torch.testing.assert_close(details.log_sum_squares, logits.softmax(-1).square().sum(-1).log())
    assert not details.entropy.requires_grad
    assert head_scores(states, tokens, head).details is None


def test_a_frozen_head_gets_no_gradient_and_keeps_no_states():
    states, tokens, head = problem()
    frozen = Head(head.weight.detach(), head.bias.detach(), 1.0, None)
    logprob = head_scores(states, tokens, frozen).logprob
    assert logprob.grad_fn.saved_tensors[1:4] == (None, None, None)
    (found,) = torch.autograd.grad(logprob.sum(), [states])
    (expected,) = torch.autograd.grad(plain(states, tokens, frozen)[1].sum(), [states])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_the_log_softmax_is_float32_for_half_precision():
    states, tokens, head = problem(dtype=torch.bfloat16)
    logprob = head_scores(states, tokens, head).logprob
    assert logprob.dtype == torch.float32
    logits = torch.addmm(head.bias, states, head.weight.T).float()
    torch.testing.assert_close(logprob, logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0])


def test_full_logits_never_exist(monkeypatch):
    monkeypatch.setattr(tiles, "TILE_ELEMENTS", 17 * 3)
    largest = 0
    original = tiles.make_tile

    def watch(states, *rest):
        nonlocal largest
        tile = original(states, *rest)
        largest = max(largest, tile.logprobs.shape[0])
        return tile

    monkeypatch.setattr(tiles, "make_tile", watch)
    states, tokens, head = problem()
    head_scores(states, tokens, head).logprob.sum().backward()
    assert largest == 3


def test_no_scored_token_gives_empty_scores_and_zero_gradient():
    states, tokens, head = problem()
    logprob = head_scores(states[:0], tokens[:0], head).logprob
    assert logprob.shape == (0,)
    logprob.sum().backward()
    assert head.weight.grad is None or not head.weight.grad.any()
