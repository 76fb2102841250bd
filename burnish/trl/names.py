"""Which of TRL's names are where, and what to say of those that are not here.

Nothing is imported: `import burnish` reads this.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.util import find_spec
from types import ModuleType
from typing import Any

HELPERS = {
    "burnish.trl.callbacks": "BEMACallback LogCompletionsCallback RichProgressCallback",
    "burnish.trl.mixture": "DatasetConfig DatasetMixtureConfig get_dataset",
    "burnish.trl.models": "create_reference_model init_zero_verbose",
    "burnish.trl.parser": "TrlParser",
    "burnish.trl.rows": "extract_prompt is_conversational is_conversational_from_value "
    "maybe_convert_to_chatml maybe_extract_prompt maybe_unpair_preference_dataset "
    "pack_dataset unpair_preference_dataset",
    "burnish.trl.templates": "apply_chat_template clone_chat_template get_training_chat_template "
    "maybe_apply_chat_template supports_tool_calling",
}
"""Module: the helpers of TRL's that it has."""

EXPERIMENTAL = ("bco", "cpo", "gkd", "kto", "orpo", "prm", "tpo")
"""Methods that TRL has, or had, under `experimental`; `burnish.experimental` has them too."""

PATHS = ("chat_template_utils", "data_utils", "rewards", "scripts", "trainer")
"""Modules of TRL's that scripts import from."""

ABSENT_PATHS = tuple(
    "a2po async_distillation async_grpo bema_for_ref_model distillation gmpo gold grpo_with_replay_buffer "
    "gspo_token iw_opd judges merge_model_callback minillm nash_md online_dpo papo ppo sdft sdpo "
    "server_distillation ssd utils winrate_callback xpo".split()
)
"""Paths of TRL's that hold nothing here: a name imported from them is answered with a sentence."""

ONLINE = "it samples answers while it trains, which nothing does here yet; DPO and KTO train on given answers"
FUNCTIONS = "answers are not rewarded in training yet; `burnish compare` measures answers by a function"
COLLATORS = "trainers make batches of rows themselves, without padding"
JUDGES = "`burnish compare` sets two models side by side, by a judge, a reward model or a function"
IMAGES = "images are not trained on or generated here"
FORMATS = "clone_chat_template takes a chat template over from another model"
CALLS = "it parses tool calls of sampled answers, and nothing is sampled in training yet"
SCRIPTS = "use ScriptArguments"

ABSENT_METHODS = {
    "A2PO AsyncDistillation AsyncGRPO GMPO GOLD GRPO GRPOWithReplayBuffer GSPOToken IWOPD MiniLLM NashMD "
    "OnlineDPO PAPO PPO PPOv2 RLOO SDFT SDPO SSD ServerDistillation XPO": ONLINE,
    "Distillation": "answers are not sampled in training yet; GKDTrainer distils a teacher on given answers",
    "IterativeSFT": "make a new SFTTrainer of `trainer.model` for each round",
    "DDPO AlignProp": IMAGES,
}
"""Trainers and configs that are not here, by what their names begin with: why."""

ABSENT = {
    "SyncRefModelCallback": "DPOConfig(sync_ref_model=True) lets the reference follow the policy",
    "WeaveCallback": "traces are not written to Weave; sample_prompts writes answers to samples.jsonl",
    "MergeModelCallback": "`burnish merge` merges adapters, and models are not mixed",
    "DataCollatorForCompletionOnlyLM": "SFTConfig has completion_only_loss and assistant_only_loss",
    "ConstantLengthDataset": "SFTConfig(packing=True) packs rows",
    "add_response_schema parse_response": CALLS,
    "prepare_multimodal_messages": IMAGES,
    "setup_chat_format setup_chat_template": FORMATS,
    "SFTScriptArguments DPOScriptArguments": SCRIPTS,
    "AutoModelForCausalLMWithValueHead AutoModelForSeq2SeqLMWithValueHead PreTrainedModelWrapper": ONLINE,
    "accuracy_reward reasoning_accuracy_reward think_format_reward get_cosine_scaled_reward "
    "get_repetition_penalty_reward get_soft_overlong_punishment": FUNCTIONS,
    "DPODataCollatorWithPadding RewardDataCollatorWithPadding DataCollatorForChatML "
    "DataCollatorForLanguageModeling DataCollatorForPreference": COLLATORS,
    "WinRateCallback HfPairwiseJudge OpenAIPairwiseJudge PairRMJudge AllTrueJudge BasePairwiseJudge": JUDGES,
    "VLLMClient": ONLINE,
}
"""Other names that are not here: why."""


def exports() -> dict[str, str]:
    """Helper: the module that has it."""
    return {name: module for module, names in HELPERS.items() for name in names.split()}


def why_absent(name: str) -> str | None:
    """A sentence on a name of TRL's that is not here; None where TRL has no such name."""
    stem = name.removesuffix("Trainer").removesuffix("Config")
    table, sought = (ABSENT, name) if stem == name else (ABSENT_METHODS, stem)
    reason = next((why for names, why in table.items() if sought in names.split()), None)
    return None if reason is None else f"TRL's {name} is not here: {reason}"


def missing(module: str, name: str, names: Iterable[str]) -> Exception:
    """The error for a name that a module does not have, for its `__getattr__` to raise.

    `module.name` wants an `AttributeError`. `from module import name`, which asks for the name in importlib's
    `_handle_fromlist`, would say "cannot import name" in its place, and lets an `ImportError` pass.
    """
    from burnish.errors import nearest

    said = why_absent(name) or f"module '{module}' has no attribute '{name}'.{nearest(name, names)}"
    imports = sys._getframe(2).f_code.co_name == "_handle_fromlist"
    if imports and find_spec(f"{module}.{name}"):
        imports = False  # a submodule that is not loaded yet: the import goes on to load it
    return ImportError(said, name=module) if imports else AttributeError(said, name=name)


class TrlPath(ModuleType):
    """`burnish.experimental.orpo`: a path of TRL's with the names it has here, and sentences for others."""

    def __init__(self, name: str, found: list[str]) -> None:
        super().__init__(name, "TRL's path of names that `burnish` itself has.")
        self.__path__: list[str] = []
        self.__all__ = found

    def __getattr__(self, name: str) -> Any:
        import burnish

        if name in self.__all__:
            return getattr(burnish, name)
        if name.startswith("__"):
            raise AttributeError(name)
        raise missing(self.__name__, name, self.__all__)


def register_paths(package: str, names: list[str]) -> None:
    """Let `from burnish.trainer import SFTTrainer` find what `burnish` itself has."""
    for path in PATHS:
        sys.modules[f"{package}.{path}"] = TrlPath(f"{package}.{path}", names)
