"""The losses of TRL on the same numbers, value and gradient, as `benchmarks/trl_losses.py` recorded them."""

from __future__ import annotations

import importlib.util
import inspect
import json
from pathlib import Path

import pytest
import torch

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.losses.likelihood import nll
from burnish.losses.mixture import pair_loss, weighted_sum
from burnish.losses.output import Mean
from burnish.losses.preference import PairScores
from burnish.losses.transport import STEP_LOSSES, matches
from burnish.losses.weighting import length_desensitized, on_policy_weight

RECORD = json.loads((Path(__file__).parent / "trl_1_16.json").read_text())
INPUTS = {
    name: [torch.tensor(row, dtype=torch.float64) for row in rows] for name, rows in RECORD["inputs"].items()
}
DEFAULTS = {"beta": 0.1, "label_smoothing": 0.0}


def title(case):
    return ", ".join(f"{name}={value}" for name, value in case["options"].items())


def forest_of_the_record():
    lengths = [len(row) for row in INPUTS["policy"]]
    pairs = zip(lengths[::2], lengths[1::2], strict=True)
    return Forest.pack(
        [TokenizedExample([7, 7], [[7] * n for n in p], [[True] * n for n in p]) for p in pairs]
    )


def loss_here(options, logprob):
    """What `DPOTrainer.objective` makes of float[N] log-probabilities."""

    def bind(function):
        known = inspect.signature(function).parameters
        given = {name: value for name, value in (DEFAULTS | options).items() if name in known}
        return lambda *scores: function(*scores, **given)

    forest = forest_of_the_record()
    reference = torch.cat(INPUTS["reference"])
    alpha = options.get("ld_alpha")

    def add_up(values):
        return forest.per_branch(values) if alpha is None else length_desensitized(forest, values, alpha)

    pair = PairScores.of(add_up(logprob), add_up(reference), forest.trained_per_branch)
    names = options["loss_type"]
    if not STEP_LOSSES.keys().isdisjoint(names):
        pair = PairScores(**{**vars(pair), "match": matches(pair)})
    weighed = list(zip(options.get("loss_weights") or [1.0] * len(names), names, strict=True))
    losses = weighted_sum([(weight, pair_loss(name, bind)) for weight, name in weighed if name != "sft"])(
        pair
    )
    if options.get("use_weighting"):
        losses = losses * on_policy_weight(forest, logprob, torch.cat(INPUTS["log_sum_squares"]))
    likelihood = Mean.of(nll(logprob[forest.target_branch % 2 == 0])).value()
    return losses.mean() + sum(weight for weight, name in weighed if name == "sft") * likelihood


def in_float32(options):
    """Whether TRL computes all of it, or the share of label smoothing, in float32."""
    return options.get("f_divergence_type") == "alpha_divergence" or "exo_pair" in options["loss_type"]


@pytest.mark.parametrize("case", RECORD["cases"], ids=title)
def test_value_and_gradient_are_those_of_trl(case):
    tolerance = {"rtol": 1e-11, "atol": 1e-12}
    if in_float32(case["options"]):
        tolerance = {"rtol": 1e-5, "atol": 1e-6}
    logprob = torch.cat(INPUTS["policy"]).requires_grad_()
    found = loss_here(case["options"], logprob)
    torch.testing.assert_close(found, torch.tensor(case["loss"], dtype=torch.float64), **tolerance)
    (gradient,) = torch.autograd.grad(found, logprob)
    expected = torch.tensor([v for branch in case["gradient"] for v in branch], dtype=torch.float64)
    torch.testing.assert_close(gradient, expected, **tolerance)


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed")
def test_the_record_is_what_the_installed_trl_says():
    import trl

    from benchmarks.trl_losses import fixed_inputs, run

    if trl.__version__ != RECORD["version"]:
        pytest.skip(f"the record is of TRL {RECORD['version']}")
    assert fixed_inputs() == RECORD["inputs"]
    for case in RECORD["cases"]:
        assert run(case["options"], RECORD["inputs"])["loss"] == pytest.approx(case["loss"], rel=1e-6)


def test_the_record_has_every_loss_of_trl_and_every_option_of_theirs():
    options = [case["options"] for case in RECORD["cases"]]
    names = {name for given in options for name in given["loss_type"]}
    assert names == TRL_LOSSES
    assert {name for given in options for name in given} >= {
        "ld_alpha",
        "use_weighting",
        "f_divergence_type",
        "label_smoothing",
        "loss_weights",
    }


TRL_LOSSES = set(
    "sigmoid hinge ipo exo_pair nca_pair robust bco_pair sppo_hard aot aot_unpaired apo_zero apo_down "
    "discopop sft sigmoid_norm".split()
)
