"""A forest equals separate runs of its branches, loss and gradient, for every method, in float64.

The separate runs are written out here with nothing of the library: one plain forward per branch,
full logits, and the formula of the loss.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from burnish import (
    BCOConfig,
    BCOTrainer,
    CPOConfig,
    CPOTrainer,
    DPOConfig,
    DPOTrainer,
    GKDConfig,
    GKDTrainer,
    KTOConfig,
    KTOTrainer,
    ORPOConfig,
    ORPOTrainer,
    RewardConfig,
    RewardTrainer,
    SFTConfig,
    SFTTrainer,
    TPOConfig,
    TPOTrainer,
)
from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.data.mismatch import mismatched
from burnish.engine.survey import surveyed
from tests.invariants.conftest import documents, judged, llama, pairs, triples

BETA = 0.3


def plain_logprobs(model, prompt, completion, mask):
    """Log-probabilities of the trained tokens of one branch, from full logits."""
    ids = torch.tensor([prompt + completion])
    logprobs = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
    picked = logprobs.gather(1, ids[0, 1:, None])[:, 0]
    return picked[torch.tensor([False] * len(prompt) + mask)[1:]]


def plain_sums(model, row):
    branches = zip(row["completion_ids"], row["completion_mask"], strict=True)
    return [plain_logprobs(model, row["prompt_ids"], ids, mask).sum() for ids, mask in branches]


def sft_loss(model, reference, rows):
    tokens = torch.cat(
        [plain_logprobs(model, [], r["completion_ids"][0], r["completion_mask"][0]) for r in rows]
    )
    return -tokens.mean()


def dft_loss(model, reference, rows):
    tokens = torch.cat(
        [plain_logprobs(model, [], r["completion_ids"][0], r["completion_mask"][0]) for r in rows]
    )
    return -(tokens.detach().exp() * tokens).mean()


def margins(model, reference, rows):
    for row in rows:
        chosen, rejected = plain_sums(model, row)
        with torch.no_grad():
            reference_chosen, reference_rejected = plain_sums(reference, row)
        yield row, chosen - reference_chosen, rejected - reference_rejected


def sigmoid_loss(model, reference, rows):
    return torch.stack([-F.logsigmoid(BETA * (c - r)) for _, c, r in margins(model, reference, rows)]).mean()


def hinge_loss(model, reference, rows):
    return torch.stack([F.relu(1 - BETA * (c - r)) for _, c, r in margins(model, reference, rows)]).mean()


def ipo_loss(model, reference, rows):
    losses = []
    for row, chosen, rejected in margins(model, reference, rows):
        long, short = map(len, row["completion_ids"])
        losses.append((chosen / long - rejected / short - 1 / (2 * BETA)) ** 2)
    return torch.stack(losses).mean()


def reward_loss(model, reference, rows):
    losses = []
    for row in rows:
        last = [
            model.model(torch.tensor([row["prompt_ids"] + ids])).last_hidden_state[0, -1]
            for ids in row["completion_ids"]
        ]
        chosen, rejected = (model.score(state)[0] for state in last)
        losses.append(-F.logsigmoid(chosen - rejected - row["margin"]) + 0.01 * (chosen + rejected) ** 2)
    return torch.stack(losses).mean()


def ratios(model, reference, rows):
    for row in rows:
        (policy,) = plain_sums(model, row)
        with torch.no_grad():
            (fixed,) = plain_sums(reference, row)
        yield row, policy - fixed


def kto_loss(model, reference, rows):
    """With the pairing of the library, and nothing else of it."""
    others = mismatched([TokenizedExample.from_row(row) for row in rows], seed=42, max_length=1024)
    with torch.no_grad():
        found = [ratio for _, ratio in ratios(model, reference, [other.to_row() for other in others])]
        kl = torch.stack(found).mean().clamp(min=0)
    assert kl > 0
    losses = [
        torch.sigmoid(BETA * (kl - ratio)) if row["label"] else 2 * torch.sigmoid(BETA * (ratio - kl))
        for row, ratio in ratios(model, reference, rows)
    ]
    return torch.stack(losses).mean()


def apo_zero_unpaired_loss(model, reference, rows):
    losses = [
        1 - torch.sigmoid(BETA * ratio) if row["label"] else torch.sigmoid(BETA * ratio)
        for row, ratio in ratios(model, reference, rows)
    ]
    return torch.stack(losses).mean()


def bco_loss(model, reference, rows):
    rewards = [(row, BETA * ratio) for row, ratio in ratios(model, reference, rows)]
    delta = torch.stack([reward for _, reward in rewards]).mean().detach()
    return torch.stack(
        [-F.logsigmoid(reward - delta if row["label"] else delta - reward) for row, reward in rewards]
    ).mean()


def orpo_loss(model, reference, rows):
    contrast, whole = [], []
    for row in rows:
        means = [s / len(c) for s, c in zip(plain_sums(model, row), row["completion_ids"], strict=True)]
        chosen, rejected = (mean - torch.log(1 - mean.exp()) for mean in means)
        contrast.append(-F.logsigmoid(chosen - rejected))
        ids = row["prompt_ids"] + row["completion_ids"][0]
        whole.append(plain_logprobs(model, [], ids, [True] * len(ids)))
    return BETA * torch.stack(contrast).mean() - torch.cat(whole).mean()


def likelihood_of(model, rows, completion):
    """-log p of one completion, a mean over the tokens of all rows."""
    tokens = [
        plain_logprobs(
            model, r["prompt_ids"], r["completion_ids"][completion], r["completion_mask"][completion]
        )
        for r in rows
    ]
    return -torch.cat(tokens).mean()


def cpo_loss(model, reference, rows):
    sums = [plain_sums(model, row) for row in rows]
    contrast = torch.stack([-F.logsigmoid(BETA * (chosen - rejected)) for chosen, rejected in sums])
    return contrast.mean() + likelihood_of(model, rows, 0)


def alphapo_loss(model, reference, rows):
    losses = []
    for row in rows:
        means = [s / len(c) for s, c in zip(plain_sums(model, row), row["completion_ids"], strict=True)]
        chosen, rejected = ((1 - mean.exp() ** -0.25) / 0.25 for mean in means)
        losses.append(-F.logsigmoid(BETA * (chosen - rejected) - 0.5))
    return torch.stack(losses).mean()


def tpo_loss(model, reference, rows):
    sums = [plain_sums(model, row) for row in rows]
    contrast = torch.stack([-F.logsigmoid(BETA * (chosen - rejected)) for chosen, rejected, _ in sums])
    return contrast.mean() + likelihood_of(model, rows, 2)


def gkd_loss(model, teacher, rows):
    """The generalized Jensen-Shannon divergence at a temperature of 2, from full logits."""
    losses = []
    for row in rows:
        (ids,), (mask,) = row["completion_ids"], row["completion_mask"]
        trained = torch.tensor(mask)[1:]
        q = (model(input_ids=torch.tensor([ids])).logits[0, :-1][trained] / 2).softmax(-1)
        with torch.no_grad():
            p = (teacher(input_ids=torch.tensor([ids])).logits[0, :-1][trained] / 2).softmax(-1)
        mixture = BETA * p + (1 - BETA) * q
        own, others = (q * (q / mixture).log()).sum(-1), (p * (p / mixture).log()).sum(-1)
        losses.append(BETA * others + (1 - BETA) * own)
    return torch.cat(losses).mean()


CASES = {
    "sft": (SFTTrainer, SFTConfig, {}, documents, sft_loss),
    "sft dft": (SFTTrainer, SFTConfig, {"loss_type": "dft"}, documents, dft_loss),
    "dpo sigmoid": (DPOTrainer, DPOConfig, {"beta": BETA}, pairs, sigmoid_loss),
    "dpo hinge": (DPOTrainer, DPOConfig, {"beta": BETA, "loss_type": ["hinge"]}, pairs, hinge_loss),
    "dpo ipo": (DPOTrainer, DPOConfig, {"beta": BETA, "loss_type": ["ipo"]}, pairs, ipo_loss),
    "kto": (KTOTrainer, KTOConfig, {"beta": BETA, "undesirable_weight": 2.0}, judged, kto_loss),
    "apo_zero_unpaired": (
        KTOTrainer,
        KTOConfig,
        {"beta": BETA, "loss_type": "apo_zero_unpaired"},
        judged,
        apo_zero_unpaired_loss,
    ),
    "bco": (BCOTrainer, BCOConfig, {"beta": BETA}, judged, bco_loss),
    "orpo": (ORPOTrainer, ORPOConfig, {"beta": BETA}, pairs, orpo_loss),
    "cpo": (CPOTrainer, CPOConfig, {"beta": BETA}, pairs, cpo_loss),
    "alphapo": (
        CPOTrainer,
        CPOConfig,
        {"beta": BETA, "loss_type": "alphapo", "alpha": 0.25},
        pairs,
        alphapo_loss,
    ),
    "tpo": (TPOTrainer, TPOConfig, {"beta": BETA}, triples, tpo_loss),
    "gkd": (GKDTrainer, GKDConfig, {"beta": BETA, "divergence_temperature": 2.0}, documents, gkd_loss),
    "reward": (RewardTrainer, RewardConfig, {"center_rewards_coefficient": 0.01}, pairs, reward_loss),
}


@pytest.mark.parametrize("tier", ["registered", "mask", "packed", "padded"])
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradient(case, tier, tokenizer, tmp_path):
    trainer_class, config_class, options, data, plain_loss = CASES[case]
    reward = trainer_class is RewardTrainer
    model, reference = llama(reward), llama(reward)
    with torch.no_grad():  # the reference differs from the policy, so that no margin is zero
        for parameter in reference.parameters():
            parameter.mul_(1.1)
    rows = data()
    extra = {"ref_model": reference} if trainer_class in (DPOTrainer, KTOTrainer, BCOTrainer) else {}
    extra |= {"teacher_model": reference} if trainer_class is GKDTrainer else {}
    args = config_class(output_dir=str(tmp_path), report_to="none", tier=tier, **options)
    trainer = trainer_class(model, args=args, train_dataset=rows, processing_class=tokenizer, **extra)
    trainer.get_ready()
    assert model.forest_tier == tier

    model.train()
    trainer.state.global_step = -1  # the step before the one that is drawn with the seed itself
    examples = [TokenizedExample.from_row(row) for row in rows]
    forest = Forest.pack(surveyed(trainer, model, examples))
    found = trainer.compute_loss(model, forest)
    found.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    expected = plain_loss(model, reference, rows)
    expected.backward()

    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert gradients
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-10, atol=1e-13, msg=name)


def test_changing_one_tree_leaves_the_others_unchanged():
    from burnish.models.certify import certify
    from burnish.models.score import score

    model = llama(dtype=torch.float32)
    certify(model)
    examples = [TokenizedExample.from_row(row) for row in pairs()]
    before = Forest.pack(examples)
    changed = examples[3]
    first = (changed.prompt[0] + 1) % 200 + 3
    other = replace(changed, prompt=[first, *changed.prompt[1:]])
    after = Forest.pack([*examples[:3], other, *examples[4:]])
    with torch.no_grad():
        one, two = score(model, before).logprob, score(model, after).logprob
    own = before.tree[before.target_branch] == 3
    assert torch.equal(one[~own], two[~own])
    assert not torch.isclose(one[own], two[own]).any()
