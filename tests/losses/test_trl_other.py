"""KTO, ORPO, CPO and TPO of TRL on the same numbers, as `benchmarks/trl_other_losses.py` recorded them."""

from __future__ import annotations

import importlib.util
import inspect
import json
from pathlib import Path

import pytest
import torch

from burnish.losses import reference_free as free
from burnish.losses.reference_free import CPO_LOSSES, TPO_LOSSES, Likelihoods
from burnish.losses.unpaired import UNPAIRED_LOSSES, USES_KL, UnpairedScores

RECORD = json.loads((Path(__file__).parent / "trl_1_16_other.json").read_text())
READS = {"orpo": ("chosen", "rejected"), "cpo": ("chosen", "rejected"), "kto": ("policy",)}
READS["tpo"] = ("chosen", "rejected", "gold")


def bound(loss, options):
    known = inspect.signature(loss).parameters
    given = {name: value for name, value in options.items() if name in known}
    return lambda *values: loss(*values, **given).mean()


def orpo(options, values):
    log_odds = free.log_odds_ratio(torch.stack([values["chosen"], values["rejected"]], 1))
    return bound(free.odds_ratio, options)(log_odds)


def cpo(options, values):
    value = free.alpha_reward(torch.stack([values["chosen"], values["rejected"]], 1), options["alpha"])
    return bound(CPO_LOSSES[options["loss_type"]], options)(free.lead(value))


def tpo(options, values):
    total = torch.stack([values[name] for name in READS["tpo"]], 1)
    found = Likelihoods.of(total.flatten(), torch.ones(total.numel()), 3)
    contrast = bound(TPO_LOSSES[options["loss_type"]], options)(free.lead(found.mean))
    return contrast + options["tpo_alpha"] * found.nll(2).value()


def kto(options, values):
    columns = {"label": values["label"]}
    if options["loss_type"] in USES_KL:
        kl = (values["stranger"] - values["stranger_reference"]).mean().clamp(min=0)
        columns["baseline"] = kl.expand(len(values["label"]))
    scores = UnpairedScores.of(values["policy"], values["reference"], columns)
    return bound(UNPAIRED_LOSSES[options["loss_type"]], options)(scores)


HERE = {"orpo": orpo, "cpo": cpo, "tpo": tpo, "kto": kto}


@pytest.mark.parametrize(
    "case", RECORD["cases"], ids=lambda c: f"{c['method']} {c['options'].get('loss_type', '')}"
)
def test_value_and_gradient_are_those_of_trl(case):
    values = {name: torch.tensor(v, dtype=torch.float64) for name, v in RECORD["inputs"].items()}
    leaves = [values[name].requires_grad_() for name in READS[case["method"]]]
    loss = HERE[case["method"]](case["options"], values)
    near = {"rtol": 1e-6, "atol": 1e-7} if case["method"] == "orpo" else {"rtol": 1e-12, "atol": 1e-14}
    found = [loss.detach(), *torch.autograd.grad(loss, leaves)]  # ORPO of TRL computes in float32
    expected = [case["loss"], *case["gradient"]]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, torch.tensor(other, dtype=torch.float64), **near)


def test_the_kl_of_the_record_is_above_0():
    inputs = RECORD["inputs"]
    assert sum(inputs["stranger"]) > sum(inputs["stranger_reference"])


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed")
def test_the_record_is_of_the_installed_trl():
    import trl

    from benchmarks import trl_other_losses

    if trl.__version__ != RECORD["version"]:
        pytest.skip(f"the record is of TRL {RECORD['version']}")
    assert RECORD["inputs"] == trl_other_losses.INPUTS
    known = [{"method": case["method"], "options": case["options"]} for case in RECORD["cases"]]
    assert [{"method": method, "options": options} for method, options in trl_other_losses.CASES] == known
    for method, options in trl_other_losses.CASES[:2]:
        values = {name: torch.tensor(v, dtype=torch.float64) for name, v in RECORD["inputs"].items()}
        expected = next(c["loss"] for c in RECORD["cases"] if c["options"] == options)
        assert float(trl_other_losses.RUN[method](options, values)) == expected
