"""The methods a stage can train with: name, where the classes are, and what to do with the result.

Only names stand here, so that the command line can list and describe them without importing torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from burnish.pipeline.fields import Field, class_fields

SHARED = (("burnish.pipeline.script", "ScriptArguments"), ("burnish.models.load", "ModelConfig"))
"""The classes whose fields every method has beside its own config."""


@dataclass(frozen=True)
class Method:
    """`prefix` is that of the class names: `DPO` for `DPOTrainer` and `DPOConfig`."""

    name: str
    prefix: str
    summary: str
    next_step: str

    @property
    def module(self) -> str:
        return f"burnish.methods.{self.name}"

    def trainer_class(self) -> Any:
        return getattr(importlib.import_module(self.module), f"{self.prefix}Trainer")

    def config_class(self) -> Any:
        return getattr(importlib.import_module(self.module), f"{self.prefix}Config")

    def fields(self) -> Mapping[str, Field]:
        """Every option of the method: data, model, and the config with all it inherits."""
        found: dict[str, Field] = {}
        for module, name in (*SHARED, (self.module, f"{self.prefix}Config")):
            found |= class_fields(module, name)
        return found


LOADS = "AutoModelForCausalLM.from_pretrained('{output}') loads the trained model"

METHODS = {
    method.name: method
    for method in (
        Method(
            "sft",
            "SFT",
            "Supervised fine-tuning on texts, chats or prompts with completions.",
            "burnish dpo --model_name_or_path {output} --dataset_name <rows with chosen and rejected>",
        ),
        Method(
            "reward",
            "Reward",
            "Train a reward model on pairs, ranked lists or scores of completions.",
            "AutoModelForSequenceClassification.from_pretrained('{output}') scores a text",
        ),
        Method(
            "prm",
            "PRM",
            "Train a process reward model on completions whose steps are labelled, right or wrong.",
            "AutoModelForTokenClassification.from_pretrained('{output}') judges the steps of a text",
        ),
        Method(
            "dpo",
            "DPO",
            "Direct preference optimization on pairs of a chosen and a rejected completion.",
            LOADS,
        ),
        Method(
            "kto", "KTO", "Kahneman-Tversky optimization on completions with a label, good or not.", LOADS
        ),
        Method(
            "bco", "BCO", "Binary classifier optimization on completions with a label, good or not.", LOADS
        ),
        Method(
            "orpo", "ORPO", "Odds ratio preference optimization: fine-tuning and preference in one.", LOADS
        ),
        Method(
            "cpo", "CPO", "Contrastive preference optimization, SimPO, AlphaPO: pairs, no reference.", LOADS
        ),
        Method("gkd", "GKD", "Distillation: a student learns a teacher's distribution of tokens.", LOADS),
        Method("tpo", "TPO", "Triple preference optimization: pairs with a gold completion.", LOADS),
    )
}
