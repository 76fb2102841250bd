"""Which options are read only where another one has a certain value: for checks and for `burnish explain`.

An option that nothing would read is refused, for it was meant to do something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ON = (True,)


@dataclass(frozen=True)
class Need:
    """`option` is read where `other` is one of `values`, or has one of them among several.

    An option of `purpose` is refused with its default value too: `lora_r: 16` alone was meant to train an
    adapter. Any other with its default value changes nothing either way and passes.
    """

    option: str
    other: str
    values: tuple[Any, ...]
    methods: tuple[str, ...] = ()
    purpose: str = ""

    def is_met(self, value: Any) -> bool:
        return any(each in self.values for each in (value if isinstance(value, list) else [value]))

    def of(self, method: str) -> bool:
        return not self.methods or method in self.methods


def needs(options: str, other: str, *values: Any, methods: str = "", purpose: str = "") -> tuple[Need, ...]:
    return tuple(Need(each, other, values, tuple(methods.split()), purpose) for each in options.split())


ADAPTER = (
    "lora_r lora_alpha lora_dropout lora_target_modules lora_target_parameters lora_modules_to_save "
    "lora_task_type use_rslora use_dora"
)

NEEDS: tuple[Need, ...] = (
    *needs(ADAPTER, "use_peft", True, purpose="adapters"),
    *needs("bnb_4bit_quant_type use_bnb_nested_quant bnb_4bit_quant_storage", "load_in_4bit", True),
    *needs("eval_steps", "eval_strategy", "steps", purpose="evaluation"),
    *needs("eval_delay early_stopping_patience", "eval_strategy", "steps", "epoch"),
    *needs("save_steps", "save_strategy", "steps"),
    *needs("save_total_limit", "save_strategy", "steps", "epoch", "best"),
    *needs("logging_steps", "logging_strategy", "steps"),
    *needs("hub_model_id hub_private_repo hub_always_push hub_revision", "push_to_hub", True),
    *needs("ref_model_mixup_alpha ref_model_sync_steps", "sync_ref_model", True),
    *needs("bad_row_budget", "on_bad_row", "skip"),
    *needs("discopop_tau", "loss_type", "discopop", methods="dpo"),
    *needs("positive_penalty", "loss_type", "dpo_positive", methods="dpo"),
    *needs("f_alpha_divergence_coef", "f_divergence_type", "alpha_divergence"),
    *needs("simpo_gamma", "loss_type", "simpo", "alphapo", methods="cpo"),
    *needs("cpo_alpha", "loss_type", "sigmoid", "hinge", "ipo", "simpo", methods="cpo"),
    *needs("tpo_l_gamma", "loss_type", "tpo-l", methods="tpo"),
    *needs("focal_gamma", "loss_type", "focal", methods="reward"),
    *needs("ordinal_levels", "loss_type", "ordinal", methods="reward"),
    *needs("attributes", "loss_type", "regression", "ordinal", methods="reward"),
)

RIVALS = (
    ("num_train_epochs", "max_steps"),
    ("dataset_name", "datasets"),
    ("eval_dataset_name", "test_split_size"),
    ("load_in_4bit", "load_in_8bit"),
)
"""Options that say the same thing in two ways, of which one may be given."""
