"""What numbers an option may have, and what they count: for configs, `burnish explain` and the schema.

A config checks its own numbers (`check_ranges`), so Python and the command line refuse the same ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from burnish.engine.compat import default_of
from burnish.errors import UserError, shorten


@dataclass(frozen=True)
class Range:
    """An interval; `above` and `below` are its open ends, `least` and `most` its closed ones.

    `special` is a value outside it that says something else, such as -1 for "no limit".
    """

    above: float | None = None
    least: float | None = None
    below: float | None = None
    most: float | None = None
    special: float | None = None

    def holds(self, value: float) -> bool:
        return value == self.special or not (
            (self.above is not None and not value > self.above)
            or (self.least is not None and not value >= self.least)
            or (self.below is not None and not value < self.below)
            or (self.most is not None and not value <= self.most)
        )

    def __str__(self) -> str:
        ends = {"above": self.above, "at least": self.least, "below": self.below, "at most": self.most}
        text = " and ".join(f"{word} {end:g}" for word, end in ends.items() if end is not None)
        return text if self.special is None else f"{text}, or {self.special:g}"


POSITIVE = Range(above=0)
COUNT = Range(least=1)
FROM_ZERO = Range(least=0)
SHARE = Range(least=0, most=1)
PART = Range(least=0, below=1)

RANGES = {
    "learning_rate": Range(least=0, below=1),
    "num_train_epochs": POSITIVE,
    "max_steps": Range(least=1, special=-1),
    "per_device_train_batch_size": COUNT,
    "per_device_eval_batch_size": COUNT,
    "gradient_accumulation_steps": COUNT,
    "max_length": Range(least=2),
    "tokens_per_forward": COUNT,
    "warmup_steps": FROM_ZERO,
    "eval_steps": POSITIVE,
    "save_steps": POSITIVE,
    "logging_steps": POSITIVE,
    "save_total_limit": COUNT,
    "early_stopping_patience": COUNT,
    "weight_decay": FROM_ZERO,
    "max_grad_norm": FROM_ZERO,
    "adam_beta1": PART,
    "adam_beta2": PART,
    "adam_epsilon": POSITIVE,
    "neftune_noise_alpha": POSITIVE,
    "seed": FROM_ZERO,
    "data_seed": FROM_ZERO,
    "dataset_num_proc": COUNT,
    "dataloader_num_workers": FROM_ZERO,
    "bad_row_budget": FROM_ZERO,
    "test_split_size": POSITIVE,
    "torch_empty_cache_steps": COUNT,
    "eval_delay": FROM_ZERO,
    "eval_accumulation_steps": COUNT,
    "dataloader_prefetch_factor": COUNT,
    "ddp_bucket_cap_mb": COUNT,
    "ddp_timeout": COUNT,
    "sample_steps": COUNT,
    "sample_max_new_tokens": COUNT,
    "lora_r": COUNT,
    "lora_alpha": COUNT,
    "lora_dropout": PART,
    "beta": POSITIVE,
    "label_smoothing": Range(least=0, below=0.5),
    "ld_alpha": SHARE,
    "f_alpha_divergence_coef": Range(most=1),
    "discopop_tau": POSITIVE,
    "positive_penalty": FROM_ZERO,
    "dynamic_beta": FROM_ZERO,
    "ref_model_mixup_alpha": Range(above=0, most=1),
    "ref_model_sync_steps": COUNT,
    "desirable_weight": FROM_ZERO,
    "undesirable_weight": FROM_ZERO,
    "cpo_alpha": FROM_ZERO,
    "simpo_gamma": FROM_ZERO,
    "tpo_l_gamma": FROM_ZERO,
    "loss_weights": FROM_ZERO,
    "center_rewards_coefficient": FROM_ZERO,
    "margin_offset": FROM_ZERO,
    "tpo_alpha": FROM_ZERO,
    "focal_gamma": FROM_ZERO,
    "divergence_temperature": POSITIVE,
}

OF_METHOD = {("gkd", "beta"): SHARE}
"""Where an option of the same name is another number."""

UNITS = {
    "learning_rate": "change of a weight per step, before the optimizer scales it",
    "num_train_epochs": "passes over the rows",
    "max_steps": "optimizer steps",
    "warmup_steps": "optimizer steps; below 1 a share of all steps",
    "eval_steps": "optimizer steps; below 1 a share of all steps",
    "save_steps": "optimizer steps; below 1 a share of all steps",
    "logging_steps": "optimizer steps; below 1 a share of all steps",
    "ref_model_sync_steps": "optimizer steps",
    "sample_max_new_tokens": "tokens",
    "early_stopping_patience": "evaluations",
    "eval_delay": "optimizer steps or epochs, as eval_strategy says",
    "torch_empty_cache_steps": "optimizer steps",
    "per_device_train_batch_size": "rows (pairs, for pairs) per device and forward; packs with packing",
    "per_device_eval_batch_size": "rows (pairs, for pairs) per device",
    "gradient_accumulation_steps": "batches per optimizer step",
    "max_length": "tokens of a prompt with one completion",
    "tokens_per_forward": "tokens",
    "save_total_limit": "checkpoints",
    "dataset_num_proc": "processes",
    "dataloader_num_workers": "processes",
    "dataloader_prefetch_factor": "batches per worker",
    "bad_row_budget": "rows; below 1 a share of all rows",
    "test_split_size": "rows; below 1 a share of all rows",
    "ddp_timeout": "seconds",
    "ddp_bucket_cap_mb": "megabytes",
    "length_penalty": "reward per token",
    "lora_r": "columns of the adapter's factors",
    "max_grad_norm": "Euclidean norm of all gradients; 0 does not clip",
    "label_smoothing": "share of pairs",
    "lora_dropout": "share of activations",
}


def meant_rate(rate: float) -> str:
    """What a learning rate of 10 or more was meant to be: 2e5 has lost its minus sign."""
    return re.sub(r"e\+?0*", "e-", f"{rate:.3g}" if rate >= 1e6 else f"{rate:.0e}")


def range_of(method: str, name: str) -> Range | None:
    return OF_METHOD.get((method, name), RANGES.get(name))


def holds(allowed: Range | None, value: Any) -> bool:
    """Whether a number, or each of a list of numbers, is in the range; anything else is not its matter."""
    values = value if isinstance(value, list | tuple) else [value]
    numbers = [each for each in values if isinstance(each, int | float) and not isinstance(each, bool)]
    return allowed is None or all(map(allowed.holds, numbers))


def check_ranges(config: Any) -> None:
    """Refuse numbers outside their range. Raises `UserError`."""
    methods = list(_methods(type(config)))
    for option in fields(config):
        allowed = next(
            (r for m in methods if (r := OF_METHOD.get((m, option.name)))), RANGES.get(option.name)
        )
        value = getattr(config, option.name)
        if not holds(allowed, value):
            default = default_of(option)
            fix = "leave it out" if default is None else f"{shorten(default)} is the default"
            if option.name == "learning_rate" and value >= 10:
                fix = f"write {meant_rate(value)}, with a minus sign"
            raise UserError(f"must be {allowed}, found {shorten(value)}", where=option.name, fix=fix)


def _methods(config_class: type) -> Iterator[str]:
    """`gkd` of GKDConfig and what is derived from it."""
    for each in config_class.__mro__:
        yield each.__name__.removesuffix("Config").lower()
