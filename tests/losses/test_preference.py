"""Preference losses against float64 written out by hand, value and gradient, and what they are made of."""

from __future__ import annotations

import inspect
import math

import pytest
import torch

from burnish import DPOConfig, DPOTrainer, UserError
from burnish.losses import divergence, margin, preference, transport
from burnish.losses.margin import MARGIN_LOSSES, dynamic_beta_scale, reward_margin
from burnish.losses.mixture import PREFERENCE_LOSSES, pair_loss, weighted_sum
from burnish.losses.preference import PAIR_LOSSES, PairScores, preference_metrics
from burnish.losses.transport import STEP_LOSSES, matches
from tests.conftest import tiny_tokenizer
from tests.invariants.conftest import llama, pairs

POLICY = [-3.0, -5.0, -2.0, -1.0, -7.5, -6.0]  # chosen, rejected, chosen, rejected, ...
REFERENCE = [-4.0, -4.5, -2.5, -3.0, -6.0, -6.5]
LENGTH = [4, 2, 5, 1, 3, 6]
RATIOS = [(1.0, -0.5), (0.5, 2.0), (-1.5, 0.5)]  # policy - reference
MARGINS = [1.5, -1.5, -2.0]
LEAD = [0.5, 2.0, 1.0]
BETA = 0.3


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def pair(policy=None, **rest):
    policy = double(POLICY) if policy is None else policy
    return PairScores.of(policy, double(REFERENCE), torch.tensor(LENGTH), **rest)


def sigma(x):
    return 1 / (1 + math.exp(-x))


def log_sigmoid(x):
    return -math.log1p(math.exp(-x))


def smoothed(x, epsilon):
    return -(1 - epsilon) * log_sigmoid(x) - epsilon * log_sigmoid(-x)


def exo(x, epsilon):
    win, lose = sigma(x), 1 - sigma(x)
    return win * math.log(win / (1 - epsilon)) + lose * math.log(lose / epsilon)


def discopop(x, tau):
    mix = sigma(x / tau)
    return -(1 - mix) * log_sigmoid(x) + mix * math.exp(-x)


def positive(c, r, penalty):
    return -log_sigmoid(BETA * (c - r - penalty * max(0.0, -c)))


PER_TOKEN = [1.0 / 4 + 0.5 / 2, 0.5 / 5 - 2.0 / 1, -1.5 / 3 - 0.5 / 6]
TARGET = 1 / (2 * BETA)
OF_MARGIN = {  # by hand, of the reward margin
    "sigmoid": ({}, lambda h: -log_sigmoid(h)),
    "sigmoid, smoothed": ({"label_smoothing": 0.2}, lambda h: smoothed(h, 0.2)),
    "hinge": ({}, lambda h: max(0.0, 1 - h)),
    "robust": (
        {"label_smoothing": 0.2},
        lambda h: (-0.8 * log_sigmoid(h) + 0.2 * log_sigmoid(-h)) / 0.6,
    ),
    "exo_pair": ({"label_smoothing": 0.1}, lambda h: exo(h, 0.1)),
    "discopop": ({"discopop_tau": 0.4}, lambda h: discopop(h, 0.4)),
}
OF_PAIR = {  # by hand, of the ratios of chosen and rejected and the margin per token
    "ipo": ({}, lambda c, r, t: (t - TARGET) ** 2),
    "sigmoid_norm": ({}, lambda c, r, t: -log_sigmoid(BETA * t)),
    "nca_pair": (
        {},
        lambda c, r, t: -log_sigmoid(BETA * c) - log_sigmoid(-BETA * c) / 2 - log_sigmoid(-BETA * r) / 2,
    ),
    "bco_pair": ({}, lambda c, r, t: -log_sigmoid(BETA * c) - log_sigmoid(-BETA * r)),
    "sppo_hard": ({}, lambda c, r, t: (c - TARGET) ** 2 + (r + TARGET) ** 2),
    "apo_zero": ({}, lambda c, r, t: 1 - sigma(BETA * c) + sigma(BETA * r)),
    "apo_down": ({}, lambda c, r, t: sigma(BETA * c) + 1 - sigma(BETA * (c - r))),
    "dpo_positive": ({"positive_penalty": 5.0}, lambda c, r, t: positive(c, r, 5.0)),
    "cal_dpo": (
        {},
        lambda c, r, t: -log_sigmoid(c - r) + (c - TARGET) ** 2 + (r + TARGET) ** 2,
    ),
}
AOT_DELTAS = [2.0 - 0.5, -1.0 - 0.5, -1.5 - 0.5]  # sorted gaps; those of the reference are all 0.5
AOT_UNPAIRED_DELTAS = [1.0 - 2.0, 0.5 - 0.5, -1.5 + 0.5]  # sorted ratios
OF_STEP = {
    "aot": ({"label_smoothing": 0.2}, [smoothed(BETA * d, 0.2) for d in AOT_DELTAS]),
    "aot_unpaired": ({"label_smoothing": 0.2}, [smoothed(BETA * d, 0.2) for d in AOT_UNPAIRED_DELTAS]),
}


def bound(name, options):
    """A named loss of pairs, with the options that it takes."""

    def bind(function):
        known = inspect.signature(function).parameters
        given = {"beta": BETA} | options
        return lambda *scores: function(*scores, **{k: v for k, v in given.items() if k in known})

    return pair_loss(name.partition(",")[0], bind)


CASES = OF_MARGIN | OF_PAIR | OF_STEP


@pytest.mark.parametrize("name", OF_MARGIN)
def test_a_loss_of_the_margin_by_hand(name):
    options, by_hand = OF_MARGIN[name]
    torch.testing.assert_close(
        bound(name, options)(pair()), double([by_hand(BETA * m) for m in MARGINS]), rtol=1e-13, atol=1e-14
    )


@pytest.mark.parametrize("name", OF_PAIR)
def test_a_loss_of_the_pair_by_hand(name):
    options, by_hand = OF_PAIR[name]
    expected = [by_hand(c, r, t) for (c, r), t in zip(RATIOS, PER_TOKEN, strict=True)]
    torch.testing.assert_close(bound(name, options)(pair()), double(expected), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", OF_STEP)
def test_a_loss_of_the_step_by_hand(name):
    """Sorted lists meet, so the sum over a step is what is determined."""
    options, expected = OF_STEP[name]
    found = bound(name, options)(pair(match=matches(pair())))
    torch.testing.assert_close(found.sum(), double(sum(expected)), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", OF_MARGIN | OF_PAIR)
def test_gradients(name):
    loss = bound(name, CASES[name][0])
    policy = double(POLICY).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: loss(pair(p)), (policy,))


@pytest.mark.parametrize("name", OF_STEP)
def test_gradients_of_a_step_that_is_computed_in_parts(name):
    """What pairs meet comes without gradient, and their sum has the gradient of the sorted whole."""
    loss = bound(name, OF_STEP[name][0])
    policy = double(POLICY).requires_grad_()
    met = matches(pair()).split([1, 2])
    parts = zip(policy.split([2, 4]), double(REFERENCE).split([2, 4]), met, strict=True)
    total = sum(loss(PairScores.of(p, r, torch.ones(len(p)), match=m)).sum() for p, r, m in parts)
    (found,) = torch.autograd.grad(total, policy)

    other = double(POLICY).requires_grad_()
    scores = pair(other)
    if name == "aot":
        reference = scores.reference_chosen - scores.reference_rejected
        deltas = (scores.chosen - scores.rejected).sort().values - reference.sort().values
    else:
        deltas = scores.chosen_ratio.sort().values - scores.rejected_ratio.sort().values
    whole = margin.sigmoid(BETA * deltas, 0.2).sum()
    (expected,) = torch.autograd.grad(whole, other)
    torch.testing.assert_close(total, whole, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_what_a_pair_meets():
    step = PairScores.of(
        double([3.0, 1.0, 5.0, 1.0, 1.0, 0.0]), double([0.0, 1.0, 0.0, 3.0, 0.0, 2.0]), torch.ones(6)
    )
    # gaps 2, 4, 1 and reference gaps -1, -3, -2; chosen ratios 3, 5, 1, rejected ratios 0, -2, -2
    expected = double([[-2.0, -2.0, 5.0], [-1.0, 0.0, 1.0], [-3.0, -2.0, 3.0]])
    torch.testing.assert_close(matches(step), expected)


def test_every_loss_is_tested_by_hand():
    names = {name.partition(",")[0] for name in CASES}
    assert names == {*MARGIN_LOSSES, *PAIR_LOSSES, *STEP_LOSSES} == PREFERENCE_LOSSES.keys() - {"sft"}


def test_every_loss_names_its_formula_source_and_use():
    for loss in PREFERENCE_LOSSES.values():
        formula, source, use = loss.__doc__.strip().split("\n\n")
        assert formula and "arXiv" in source and use.strip().startswith("Use ")


def test_losses_of_several_kinds_add_up():
    mixed = weighted_sum([(0.8, bound("sigmoid", {})), (0.2, bound("bco_pair", {}))])
    expected = [
        0.8 * -log_sigmoid(BETA * m) + 0.2 * OF_PAIR["bco_pair"][1](c, r, None)
        for m, (c, r) in zip(MARGINS, RATIOS, strict=True)
    ]
    torch.testing.assert_close(mixed(pair()), double(expected), rtol=1e-13, atol=1e-14)
    assert weighted_sum([])(pair()).tolist() == [0, 0, 0]


# The reward margin

SCORES = {  # f'(u) at u = exp r, written out from f
    "reverse_kl": lambda r: math.log(math.exp(r)),
    "forward_kl": lambda r: 1 - 1 / math.exp(r),
    "js_divergence": lambda r: math.log(2 * math.exp(r) / (1 + math.exp(r))),
    "alpha_divergence": lambda r: (math.exp(r) ** (0.3 - 1) - 1) / (0.3 - 1),
}


@pytest.mark.parametrize("name", SCORES)
def test_f_divergences_by_hand(name):
    score = SCORES[name]
    chosen = double([score(c) for c, _ in RATIOS])
    torch.testing.assert_close(
        divergence.score_of(name, 0.3)(pair().chosen_ratio), chosen, rtol=1e-13, atol=1e-14
    )
    expected = [BETA * (score(c) - score(r)) for c, r in RATIOS]
    found = reward_margin(pair(), BETA, f_divergence_type=name, f_alpha_divergence_coef=0.3)
    torch.testing.assert_close(found, double(expected), rtol=1e-13, atol=1e-14)


def test_divergences_are_the_ones_that_are_tested():
    assert SCORES.keys() == divergence.DIVERGENCES.keys()


def test_alpha_divergences_have_both_kl_as_their_ends():
    ratio = double([-2.0, 0.0, 3.0])
    torch.testing.assert_close(divergence.alpha_divergence(ratio, 1.0), divergence.reverse_kl(ratio))
    torch.testing.assert_close(divergence.alpha_divergence(ratio, 0.0), divergence.forward_kl(ratio))
    near = divergence.alpha_divergence(ratio, 1 - 1e-9)
    torch.testing.assert_close(near, ratio, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", SCORES)
def test_a_far_away_policy_has_a_finite_score(name):
    score = divergence.score_of(name, 0.5)
    ratio = torch.tensor([-1e4, 1e4], requires_grad=True)
    values = score(ratio)
    assert values.isfinite().all() and values[0] < values[1]
    values.sum().backward()
    assert ratio.grad.isfinite().all()


def test_an_offset_and_a_length_penalty_by_hand():
    found = reward_margin(pair(lead=double(LEAD)), BETA, margin_offset=0.5)
    torch.testing.assert_close(
        found, double([BETA * m - 0.5 * s for m, s in zip(MARGINS, LEAD, strict=True)])
    )
    found = reward_margin(pair(), BETA, length_penalty=0.3)
    torch.testing.assert_close(
        found, double([BETA * m + 0.3 * d for m, d in zip(MARGINS, [2, 4, -3], strict=True)])
    )
    with pytest.raises(UserError, match="margin_offset: the rows have no column `margin`"):
        reward_margin(pair(), BETA, margin_offset=0.5)


def test_dynamic_beta_by_hand():
    assert dynamic_beta_scale(2.0, 0.5, 0.6) == pytest.approx(1 + 0.6 * 1.5)
    assert dynamic_beta_scale(-9.0, 0.5, 0.6) == 1e-3
    found = reward_margin(pair(beta_scale=double([2.0, 0.5, 1.0])), BETA)
    torch.testing.assert_close(
        found, double([BETA * m * s for m, s in zip(MARGINS, [2, 0.5, 1], strict=True)])
    )


# Pairs


def test_pair_scores_are_ratios_and_margins():
    torch.testing.assert_close(pair().chosen_ratio, double([r[0] for r in RATIOS]))
    torch.testing.assert_close(pair().rejected_ratio, double([r[1] for r in RATIOS]))
    torch.testing.assert_close(pair().margin, double(MARGINS))
    torch.testing.assert_close(pair().margin_per_token, double(PER_TOKEN))


def test_a_table_of_pairs_is_these_pairs():
    again = PairScores.of_table(pair().table)
    torch.testing.assert_close(again.margin_per_token, pair().margin_per_token)
    torch.testing.assert_close(again.reference_chosen, pair().reference_chosen)


def test_preference_metrics():
    found = {name: float(metric.value()) for name, metric in preference_metrics(pair(), beta=0.5).items()}
    assert found == pytest.approx(
        {
            "rewards/chosen": 0.0,
            "rewards/rejected": 1 / 3,
            "rewards/accuracies": 1 / 3,
            "rewards/margins": -1 / 3,
            "logps/chosen": -12.5 / 3,
            "logps/rejected": -4.0,
        }
    )


# What makes no sense

REFUSED = [
    ({"loss_type": ["ipo"], "label_smoothing": 0.1}, "label_smoothing: the loss ipo has no label smoothing"),
    ({"label_smoothing": 0.5}, "label_smoothing: must be at least 0 and below 0.5, found 0.5"),
    ({"loss_type": "exo_pair"}, "label_smoothing: the loss exo_pair is infinite without"),
    ({"loss_type": ["sigmoid", "ipo"], "f_divergence_type": "forward_kl"}, "f_divergence_type: the loss ipo"),
    ({"loss_type": "bco_pair", "length_penalty": 0.1}, "length_penalty: the loss bco_pair"),
    ({"loss_type": "aot", "dynamic_beta": 0.6}, "dynamic_beta: the loss aot"),
    ({"loss_type": "cal_dpo", "margin_offset": 1.0}, "margin_offset: the loss cal_dpo"),
    (
        {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 2.0},
        "f_alpha_divergence_coef: must be at most 1, found 2",
    ),
    ({"f_alpha_divergence_coef": 0.2}, "f_alpha_divergence_coef: no loss that was asked for reads this"),
    ({"discopop_tau": 0.1}, "discopop_tau: no loss that was asked for reads this"),
    ({"positive_penalty": 5.0}, "positive_penalty: no loss"),
    ({"loss_type": "aot", "use_weighting": True}, "use_weighting: aot compares"),
    ({"beta": 0.0}, "beta: must be above 0, found 0"),
    ({"ld_alpha": 1.5}, "ld_alpha: must be at least 0 and at most 1, found 1.5"),
    ({"loss_weights": [1.0, 2.0]}, "loss_weights: 2 weights for 1 losses"),
    ({"sync_ref_model": True, "precompute_ref_log_probs": True}, "precompute_ref_log_probs: scores taken"),
    (
        {"sync_ref_model": True, "ref_model_mixup_alpha": 0.0},
        "ref_model_mixup_alpha: must be above 0 and at most 1, found 0",
    ),
    ({"sync_ref_model": True, "ref_model_sync_steps": 0}, "ref_model_sync_steps: must be at least 1"),
    ({"ref_model_sync_steps": 10}, "ref_model_sync_steps: the reference does not move"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_nonsense_is_refused_with_its_reason(options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        DPOConfig(output_dir=str(tmp_path), **options)


def test_an_offset_by_a_column_that_is_not_there_is_refused_before_step_1(tmp_path):
    args = DPOConfig(output_dir=str(tmp_path), margin_offset=1.0, report_to="none")
    rows = pairs().remove_columns("margin")
    with pytest.raises(UserError, match="margin_offset: the rows have no column `margin`"):
        DPOTrainer(llama(), args=args, train_dataset=rows, processing_class=tiny_tokenizer())


@pytest.mark.parametrize(
    "options",
    [
        {"loss_type": ["sigmoid", "sft"], "label_smoothing": 0.1, "f_divergence_type": "js_divergence"},
        {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]},
        {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": -1.0},
        {"loss_type": "exo_pair", "label_smoothing": 1e-3, "f_divergence_type": "forward_kl"},
    ],
)
def test_what_makes_sense_is_taken(options, tmp_path):
    DPOConfig(output_dir=str(tmp_path), **options)


def test_adding_a_loss_touches_one_file():
    """Names and options come from the dicts, whose functions are all of their own modules."""
    for module, losses in ((margin, MARGIN_LOSSES), (preference, PAIR_LOSSES), (transport, STEP_LOSSES)):
        assert all(loss.__module__ == module.__name__ for loss in losses.values())
