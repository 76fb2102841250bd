"""Burnish: post-training of language models on one engine, where every batch is a packed prefix forest.

Names are imported when they are first used, so that `import burnish` does not bring torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from burnish.trl.names import exports, missing, register_paths

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
    from burnish.trl.callbacks import BEMACallback as BEMACallback
    from burnish.trl.callbacks import LogCompletionsCallback as LogCompletionsCallback
    from burnish.trl.callbacks import RichProgressCallback as RichProgressCallback
    from burnish.trl.mixture import DatasetConfig as DatasetConfig
    from burnish.trl.mixture import DatasetMixtureConfig as DatasetMixtureConfig
    from burnish.trl.mixture import get_dataset as get_dataset
    from burnish.trl.models import create_reference_model as create_reference_model
    from burnish.trl.models import init_zero_verbose as init_zero_verbose
    from burnish.trl.parser import TrlParser as TrlParser
    from burnish.trl.rows import extract_prompt as extract_prompt
    from burnish.trl.rows import is_conversational as is_conversational
    from burnish.trl.rows import is_conversational_from_value as is_conversational_from_value
    from burnish.trl.rows import maybe_convert_to_chatml as maybe_convert_to_chatml
    from burnish.trl.rows import maybe_extract_prompt as maybe_extract_prompt
    from burnish.trl.rows import maybe_unpair_preference_dataset as maybe_unpair_preference_dataset
    from burnish.trl.rows import pack_dataset as pack_dataset
    from burnish.trl.rows import unpair_preference_dataset as unpair_preference_dataset
    from burnish.trl.templates import apply_chat_template as apply_chat_template
    from burnish.trl.templates import clone_chat_template as clone_chat_template
    from burnish.trl.templates import get_training_chat_template as get_training_chat_template
    from burnish.trl.templates import maybe_apply_chat_template as maybe_apply_chat_template
    from burnish.trl.templates import supports_tool_calling as supports_tool_calling

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
    **exports(),
}
"""Public name: the module that has it."""

__all__ = [*EXPORTS, "__version__"]

register_paths("burnish", list(EXPORTS))


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise missing("burnish", name, EXPORTS)
    value = getattr(importlib.import_module(EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
