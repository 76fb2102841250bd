"""Preference losses by name, several of them with weights, and which options go with which.

A loss of the reward margin takes what changes that margin; a loss of the pair, of the step, or of the
chosen tokens does not. Options that no loss would read, or that make no sense with one, are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import torch

from burnish.errors import UserError
from burnish.losses.divergence import check_alpha
from burnish.losses.likelihood import nll
from burnish.losses.margin import MARGIN_LOSSES, PairLoss, of_margin, reward_margin
from burnish.losses.preference import PAIR_LOSSES
from burnish.losses.transport import STEP_LOSSES

PREFERENCE_LOSSES: dict[str, Callable] = {**MARGIN_LOSSES, **PAIR_LOSSES, **STEP_LOSSES, "sft": nll}
"""All of `loss_type`. `sft` is a mean over the tokens of chosen completions, the others over pairs."""

MARGIN_OPTIONS = {
    "f_divergence_type": "reverse_kl",
    "margin_offset": 0.0,
    "length_penalty": 0.0,
    "dynamic_beta": 0.0,
}
"""Options that act on the reward margin, with the value that asks for nothing."""


def pair_loss(name: str, bind: Callable[[Callable], Callable]) -> PairLoss:
    """A named loss as a function of `PairScores`; `bind` fills in the options of a function."""
    if name in MARGIN_LOSSES:
        return of_margin(bind(MARGIN_LOSSES[name]), bind(reward_margin))
    return bind(PAIR_LOSSES[name] if name in PAIR_LOSSES else STEP_LOSSES[name])


def weighted_sum(losses: Sequence[tuple[float, PairLoss]]) -> PairLoss:
    """Several losses of a pair as one, as in mixed preference optimization, arXiv:2411.10442."""
    return lambda pair: sum((weight * loss(pair) for weight, loss in losses), torch.zeros_like(pair.margin))


def check_mixture(options: Any) -> None:
    """Refuse a mixture that makes no sense. `options` has the fields of `DPOConfig`. Raises `UserError`."""
    names, weights = options.loss_type, options.loss_weights
    if weights is not None and len(weights) != len(names):
        raise UserError(
            f"{len(weights)} weights for {len(names)} losses",
            where="loss_weights",
            fix="give one weight for every loss",
        )
    if options.beta <= 0:
        raise UserError(f"must be positive, found {options.beta}", where="beta", fix="0.1 is usual")
    if options.ld_alpha is not None and not 0 <= options.ld_alpha <= 1:
        raise UserError(f"found {options.ld_alpha}", where="ld_alpha", fix="give at least 0 and at most 1")
    of_pairs = [name for name in names if name != "sft"]
    _check_label_smoothing(options.label_smoothing, of_pairs)
    _check_margin_options(options, of_pairs)
    _check_unread(options, names)
    if options.use_weighting and (found := [name for name in of_pairs if name in STEP_LOSSES]):
        raise UserError(
            f"{found[0]} compares pairs with others of their step, so a pair has no loss to be weighed",
            where="use_weighting",
            fix="leave it out",
        )


def _check_label_smoothing(share: float, names: list[str]) -> None:
    def refuse(what: str, fix: str) -> UserError:
        return UserError(what, where="label_smoothing", fix=fix)

    if not 0 <= share < 0.5:
        raise refuse(
            f"found {share}, the share of pairs that are labelled the wrong way round",
            "give at least 0 and less than 0.5",
        )
    without = [
        name for name in names if "label_smoothing" not in signature(PREFERENCE_LOSSES[name]).parameters
    ]
    if share and without:
        raise refuse(f"the loss {without[0]} has no label smoothing", "leave it out")
    if not share and "exo_pair" in names:
        raise refuse(
            "the loss exo_pair is infinite without label smoothing", "give a small one, such as 1e-3"
        )


def _check_margin_options(options: Any, names: list[str]) -> None:
    given = [name for name, nothing in MARGIN_OPTIONS.items() if getattr(options, name) != nothing]
    others = [name for name in names if name not in MARGIN_LOSSES]
    if given and others:
        raise UserError(
            f"the loss {others[0]} is no function of chosen score - rejected score, in which alone what is "
            "unknown of the two scores cancels",
            where=given[0],
            fix=f"take it with one of {', '.join(MARGIN_LOSSES)}",
        )
    if options.f_divergence_type == "alpha_divergence":
        check_alpha(options.f_alpha_divergence_coef)


def _check_unread(options: Any, names: list[str]) -> None:
    """Options that belong to a loss (or to alpha-divergences) must have one that reads them."""
    readers = {"f_alpha_divergence_coef": options.f_divergence_type == "alpha_divergence"}
    for name, loss in PREFERENCE_LOSSES.items():
        for option in signature(loss).parameters:
            readers[option] = readers.get(option, False) or name in names
    for option, read in readers.items():
        default = getattr(type(options), option, None)
        if (
            not read
            and option not in ("beta", "label_smoothing")
            and getattr(options, option, default) != default
        ):
            raise UserError("no loss that was asked for reads this", where=option, fix="leave it out")
