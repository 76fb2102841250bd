"""Master weights and working copies."""

from __future__ import annotations

import pytest
import torch

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.models.certify import certify
from burnish.models.precision import compute_in, working_copies
from burnish.models.score import score
from tests.invariants.conftest import llama, pairs


def forest():
    return Forest.pack([TokenizedExample.from_row(row) for row in pairs()])


def ready(dtype=torch.float32):
    model = llama(dtype=torch.float32)
    for parameter in model.parameters():  # not `model.to`, which would round the rotary frequencies too
        parameter.data = parameter.data.to(dtype)
    certify(model)
    return model


def test_scores_are_those_of_the_model_stored_in_bfloat16():
    stored = ready(torch.bfloat16)
    copied = ready()
    compute_in(copied, torch.bfloat16)
    with torch.no_grad():
        torch.testing.assert_close(
            score(copied, forest()).logprob, score(stored, forest()).logprob, rtol=0, atol=0
        )


def test_weights_are_back_in_place_after_the_forward_and_gradients_are_float32():
    model = ready()
    before = dict(model.named_parameters())
    compute_in(model, torch.bfloat16)
    logprob = score(model, forest()).logprob
    after = dict(model.named_parameters())
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)
    logprob.sum().backward()
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}


def test_gradients_are_near_the_float32_ones():
    exact, copied = ready(), ready()
    compute_in(copied, torch.bfloat16)
    gradients = []
    for model in (exact, copied):
        score(model, forest()).logprob.mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    error = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
    assert 1e-5 < error < 0.05


def test_an_update_too_small_for_bfloat16_is_not_lost():
    model = ready()
    compute_in(model, torch.bfloat16)
    weight = model.model.layers[0].mlp.up_proj.weight
    first = score(model, forest()).logprob.detach()
    start = weight.detach().clone()
    with torch.no_grad():
        for _ in range(40):
            weight += weight.abs() * 2**-12  # 1/16 of what bfloat16 can tell apart
    assert not torch.equal(weight, start)
    assert not torch.equal(score(model, forest()).logprob, first)  # and the copy follows


def test_a_copy_is_made_again_only_when_its_weight_changed():
    model = ready()
    compute_in(model, torch.bfloat16)
    weight = model.model.layers[0].mlp.up_proj.weight
    copies = model.working_copies
    with torch.no_grad(), working_copies(model):
        first = model.model.layers[0].mlp.up_proj.weight
    with torch.no_grad(), working_copies(model):
        assert model.model.layers[0].mlp.up_proj.weight is first
    with torch.no_grad():
        weight.mul_(2)
    with torch.no_grad(), working_copies(model):
        assert model.model.layers[0].mlp.up_proj.weight is not first
    weight.data.mul_(2)  # behind autograd's back
    copies.forget()
    with torch.no_grad(), working_copies(model):
        torch.testing.assert_close(model.model.layers[0].mlp.up_proj.weight, weight.detach().bfloat16())


def test_embeddings_are_looked_up_in_float32_and_cast():
    model = ready()
    compute_in(model, torch.bfloat16)
    seen = []
    model.model.layers[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].dtype))
    score(model, forest())
    assert seen == [torch.bfloat16]
    with working_copies(model):
        assert model.model.embed_tokens.weight.dtype == torch.float32
        assert model.lm_head.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_layers_run_again_with_copies(reentrant):
    plain, checkpointed = ready(), ready()
    gradients = []
    for model in (plain, checkpointed):
        compute_in(model, torch.bfloat16)
        model.train()
        if model is checkpointed:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
            if reentrant:
                model.enable_input_require_grads()
        score(model, forest()).logprob.sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.equal(*gradients)


def test_modules_kept_in_float32_on_purpose_stay():
    model = ready()
    model._keep_in_fp32_modules = ["down_proj"]
    compute_in(model, torch.bfloat16)
    with working_copies(model):
        assert model.model.layers[0].mlp.down_proj.weight.dtype == torch.float32
        assert model.model.layers[0].mlp.up_proj.weight.dtype == torch.bfloat16
