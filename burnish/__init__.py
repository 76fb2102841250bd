"""Burnish: post-training of language models on one engine, where every batch is a packed prefix forest.

Names are imported when they are first used, so that `import burnish` does not bring torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from burnish.errors import UserError as UserError
    from burnish.evaluation.reward_model import RewardModel as RewardModel
    from burnish.methods.bco import BCOConfig as BCOConfig
    from burnish.methods.bco import BCOTrainer as BCOTrainer
    from burnish.methods.cpo import CPOConfig as CPOConfig
    from burnish.methods.cpo import CPOTrainer as CPOTrainer
    from burnish.methods.dpo import DPOConfig as DPOConfig
    from burnish.methods.dpo import DPOTrainer as DPOTrainer
    from burnish.methods.gkd import GKDConfig as GKDConfig
    from burnish.methods.gkd import GKDTrainer as GKDTrainer
    from burnish.methods.kto import KTOConfig as KTOConfig
    from burnish.methods.kto import KTOTrainer as KTOTrainer
    from burnish.methods.orpo import ORPOConfig as ORPOConfig
    from burnish.methods.orpo import ORPOTrainer as ORPOTrainer
    from burnish.methods.prm import PRMConfig as PRMConfig
    from burnish.methods.prm import PRMTrainer as PRMTrainer
    from burnish.methods.reward import RewardConfig as RewardConfig
    from burnish.methods.reward import RewardTrainer as RewardTrainer
    from burnish.methods.sft import SFTConfig as SFTConfig
    from burnish.methods.sft import SFTTrainer as SFTTrainer
    from burnish.methods.tpo import TPOConfig as TPOConfig
    from burnish.methods.tpo import TPOTrainer as TPOTrainer
    from burnish.models.load import ModelConfig as ModelConfig
    from burnish.models.load import get_peft_config as get_peft_config
    from burnish.models.load import get_quantization_config as get_quantization_config
    from burnish.pipeline.script import ScriptArguments as ScriptArguments

__version__ = "0.1.0"

EXPORTS = {
    "BCOConfig": "burnish.methods.bco",
    "BCOTrainer": "burnish.methods.bco",
    "CPOConfig": "burnish.methods.cpo",
    "CPOTrainer": "burnish.methods.cpo",
    "DPOConfig": "burnish.methods.dpo",
    "DPOTrainer": "burnish.methods.dpo",
    "GKDConfig": "burnish.methods.gkd",
    "GKDTrainer": "burnish.methods.gkd",
    "KTOConfig": "burnish.methods.kto",
    "KTOTrainer": "burnish.methods.kto",
    "ModelConfig": "burnish.models.load",
    "ORPOConfig": "burnish.methods.orpo",
    "ORPOTrainer": "burnish.methods.orpo",
    "PRMConfig": "burnish.methods.prm",
    "PRMTrainer": "burnish.methods.prm",
    "RewardConfig": "burnish.methods.reward",
    "RewardModel": "burnish.evaluation.reward_model",
    "RewardTrainer": "burnish.methods.reward",
    "SFTConfig": "burnish.methods.sft",
    "SFTTrainer": "burnish.methods.sft",
    "TPOConfig": "burnish.methods.tpo",
    "TPOTrainer": "burnish.methods.tpo",
    "ScriptArguments": "burnish.pipeline.script",
    "UserError": "burnish.errors",
    "get_peft_config": "burnish.models.load",
    "get_quantization_config": "burnish.models.load",
}
"""Public name: the module that has it."""

__all__ = [*EXPORTS, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module 'burnish' has no attribute '{name}'")
    value = getattr(importlib.import_module(EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
