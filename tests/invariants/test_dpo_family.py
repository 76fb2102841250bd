"""DPO's losses and their options: a forest equals separate runs, and a step does not depend on how it is cut.

In float64, with a reference that differs from the policy, so that no margin is zero.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from burnish import DPOConfig, DPOTrainer
from tests.invariants.conftest import llama, pairs

BETA = 0.3
QUIET = {"report_to": "none", "disable_tqdm": True, "bf16": False, "save_strategy": "no", "beta": BETA}
ROWS = pairs()


def other_model():
    model = llama()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    return model


def tokens(model, row):
    """Log-probabilities of chosen and of rejected by token, and log Σ p² with them, from full logits."""
    found = []
    for completion in row["completion_ids"]:
        ids = torch.tensor([row["prompt_ids"] + completion])
        logprobs = model(input_ids=ids).logits[0, :-1].log_softmax(-1)[len(row["prompt_ids"]) - 1 :]
        picked = logprobs.gather(1, torch.tensor(completion)[:, None])[:, 0]
        found.append((picked, (2 * logprobs).logsumexp(-1)))
    return found


def ratios(policy, reference, weight=lambda place, shared: 1.0):
    """(chosen, rejected) ratio of every row, tokens weighed by their place and the length both have."""
    for row in ROWS:
        shared = min(map(len, row["completion_ids"]))
        sums = []
        for model in (policy, reference):
            weighed = [
                sum(weight(place, shared) * value for place, value in enumerate(values))
                for values, _ in tokens(model, row)
            ]
            sums.append(weighed)
        yield [p - r.detach() for p, r in zip(*sums, strict=True)]


def mean_loss(of_pair):
    return lambda policy, reference: torch.stack([of_pair(c, r) for c, r in ratios(policy, reference)]).mean()


def js(ratio):
    return torch.log(2 * ratio.exp() / (1 + ratio.exp()))


def ld_loss(policy, reference):
    weight = lambda place, shared: 1.0 if place < shared else 0.25
    return torch.stack([-F.logsigmoid(BETA * (c - r)) for c, r in ratios(policy, reference, weight)]).mean()


def wpo_loss(policy, reference):
    losses = []
    for row, (c, r) in zip(ROWS, ratios(policy, reference), strict=True):
        weight = torch.exp(sum((p - s).mean() for p, s in tokens(policy, row))).detach()
        losses.append(-F.logsigmoid(BETA * (c - r)) * weight)
    return torch.stack(losses).mean()


def mpo_loss(policy, reference):
    found = list(ratios(policy, reference))
    sigmoid = torch.stack([-F.logsigmoid(BETA * (c - r)) for c, r in found]).mean()
    bco = torch.stack([-F.logsigmoid(BETA * c) - F.logsigmoid(-BETA * r) for c, r in found]).mean()
    nll = -torch.cat([tokens(policy, row)[0][0] for row in ROWS]).mean()
    return 0.8 * sigmoid + 0.2 * bco + 0.5 * nll


def aot_loss(policy, reference):
    def gaps(model):
        sums = [[values.sum() for values, _ in tokens(model, row)] for row in ROWS]
        return torch.stack([chosen - rejected for chosen, rejected in sums]).sort().values

    return -F.logsigmoid(BETA * (gaps(policy) - gaps(reference).detach())).mean()


def aot_unpaired_loss(policy, reference):
    chosen, rejected = (
        torch.stack(side).sort().values for side in zip(*ratios(policy, reference), strict=True)
    )
    return -F.logsigmoid(BETA * (chosen - rejected)).mean()


def dynamic_beta_loss(policy, reference):
    margins = torch.stack([c - r for c, r in ratios(policy, reference)])
    mean = margins.mean().item()
    scale = 1 + 0.2 * (mean - 0.1 * mean)
    assert scale > 0.1
    return -F.logsigmoid(BETA * scale * margins).mean()


def offset_loss(policy, reference):
    return torch.stack(
        [
            -F.logsigmoid(BETA * (c - r) - 2 * row["margin"] + 0.1 * (len(a) - len(b)))
            for row, (c, r) in zip(ROWS, ratios(policy, reference), strict=True)
            for a, b in [row["completion_ids"]]
        ]
    ).mean()


CASES = {
    "js_divergence": (
        {"f_divergence_type": "js_divergence"},
        mean_loss(lambda c, r: -F.logsigmoid(BETA * (js(c) - js(r)))),
    ),
    "sppo_hard": (
        {"loss_type": "sppo_hard"},
        mean_loss(lambda c, r: (c - 0.5 / BETA) ** 2 + (r + 0.5 / BETA) ** 2),
    ),
    "ld": ({"ld_alpha": 0.25}, ld_loss),
    "wpo": ({"use_weighting": True}, wpo_loss),
    "mpo": ({"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 0.5]}, mpo_loss),
    "aot": ({"loss_type": "aot"}, aot_loss),
    "aot_unpaired": ({"loss_type": "aot_unpaired"}, aot_unpaired_loss),
    "dynamic_beta": ({"dynamic_beta": 0.2}, dynamic_beta_loss),
    "offset and length": ({"margin_offset": 2.0, "length_penalty": 0.1}, offset_loss),
}


def after_one_step(case, tokenizer, folder, **options):
    """The step's loss and its gradient, taken back from what plain gradient descent did with it."""
    model = llama()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    args = DPOConfig(
        output_dir=str(folder),
        max_steps=1,
        logging_steps=1,
        optim="sgd",
        learning_rate=0.1,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        **{"per_device_train_batch_size": 8, **QUIET, **CASES[case][0], **options},
    )
    trainer = DPOTrainer(model, other_model(), args, train_dataset=ROWS, processing_class=tokenizer)
    trainer.train()
    gradients = {n: (before[n] - weight.detach()) / 0.1 for n, weight in model.named_parameters()}
    return trainer.state.log_history[0]["loss"], gradients


@pytest.mark.parametrize("case", CASES)
def test_a_step_is_that_of_separate_runs_however_it_is_cut(case, tokenizer, tmp_path):
    model, reference = llama(), other_model()
    expected = CASES[case][1](model, reference)
    expected.backward()
    cuts = [{}, {"tokens_per_forward": 60}, {"tokens_per_forward": 1}]
    cuts += [{"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4}]
    for cut in cuts:
        loss, gradients = after_one_step(case, tokenizer, tmp_path, **cut)
        assert loss == pytest.approx(expected.item(), rel=1e-6)  # the log's loss is a float32
        for name, weight in model.named_parameters():
            torch.testing.assert_close(
                gradients[name],
                weight.grad,
                rtol=1e-9,
                atol=1e-12,
                msg=lambda m, n=name, c=cut: f"{n} {c}: {m}",
            )


@pytest.mark.parametrize("case", ["aot", "aot_unpaired", "dynamic_beta", "mpo", "wpo", "ld"])
def test_an_evaluation_does_not_depend_on_its_batches(case, tokenizer, tmp_path):
    losses = []
    for options in ({}, {"tokens_per_forward": 50}, {"per_device_eval_batch_size": 3}):
        args = DPOConfig(output_dir=str(tmp_path), **{**QUIET, **CASES[case][0], **options})
        trainer = DPOTrainer(llama(), other_model(), args, eval_dataset=ROWS, processing_class=tokenizer)
        losses.append(trainer.evaluate()["eval_loss"])
    assert losses == pytest.approx([CASES[case][1](llama(), other_model()).item()] * 3, rel=1e-9)
