"""TRL's names: those that are here, and what is said of those that are not."""

import importlib

import pytest

import burnish
from burnish.trl.names import ABSENT, ABSENT_METHODS, EXPERIMENTAL, why_absent


def imported(statement: str) -> str:
    with pytest.raises(ImportError) as error:
        exec(statement)
    return str(error.value)


@pytest.mark.parametrize("name", EXPERIMENTAL)
def test_methods_have_trl_s_paths(name):
    module = importlib.import_module(f"burnish.experimental.{name}")
    assert sorted(module.__all__) == [f"{name.upper()}Config", f"{name.upper()}Trainer"]
    for each in module.__all__:
        assert getattr(module, each) is getattr(burnish, each)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("from burnish import SFTTrainer, GRPOTrainer", "TRL's GRPOTrainer is not here: it samples answers"),
        ("from burnish import RLOOConfig", "TRL's RLOOConfig is not here: it samples answers"),
        ("from burnish import setup_chat_format", "clone_chat_template takes a chat template over"),
        ("from burnish import SyncRefModelCallback", "DPOConfig(sync_ref_model=True)"),
        ("from burnish import accuracy_reward", "`burnish compare` measures answers by a function"),
        ("from burnish import SFTTrainr", "no attribute 'SFTTrainr'. Did you mean 'SFTTrainer'?"),
        ("from burnish.experimental.ppo import PPOTrainer", "TRL's PPOTrainer is not here: it samples"),
        ("from burnish.experimental.orpo import ORPOTrainr", "Did you mean 'ORPOTrainer'?"),
        ("from burnish.experimental import grop", "no attribute 'grop'"),
        ("from burnish.rewards import think_format_reward", "TRL's think_format_reward is not here"),
        ("from burnish.trainer import SFTTrainr", "Did you mean 'SFTTrainer'?"),
    ],
)
def test_an_import_of_a_name_that_is_not_here_says_why(statement, said):
    assert said in imported(statement)


def test_modules_of_trl_have_the_names_of_the_package():
    from burnish.data_utils import apply_chat_template
    from burnish.trainer import DPOTrainer

    assert apply_chat_template is burnish.apply_chat_template and DPOTrainer is burnish.DPOTrainer


PUBLIC = """add_response_schema apply_chat_template BEMACallback clone_chat_template create_reference_model
DatasetMixtureConfig DistillationConfig DistillationTrainer DPOConfig DPOTrainer extract_prompt get_dataset
get_peft_config get_quantization_config get_training_chat_template GRPOConfig GRPOTrainer init_zero_verbose
is_conversational is_conversational_from_value KTOConfig KTOTrainer LogCompletionsCallback
maybe_apply_chat_template maybe_convert_to_chatml maybe_extract_prompt maybe_unpair_preference_dataset
ModelConfig pack_dataset prepare_multimodal_messages RewardConfig RewardTrainer RichProgressCallback
RLOOConfig RLOOTrainer ScriptArguments SFTConfig SFTTrainer supports_tool_calling SyncRefModelCallback
TrlParser unpair_preference_dataset WeaveCallback""".split()
"""The names of TRL 1.16."""


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_here_or_answered(name):
    assert (name in burnish.EXPORTS) != (why_absent(name) is not None)


def test_a_name_that_is_not_here_is_no_attribute():
    assert not hasattr(burnish, "GRPOTrainer")
    with pytest.raises(AttributeError, match="TRL's PPOConfig is not here: it samples answers"):
        _ = burnish.PPOConfig


def test_every_sentence_is_about_a_name_that_is_not_here():
    names = [f"{stem}Trainer" for stems in ABSENT_METHODS for stem in stems.split()]
    names += [name for each in ABSENT for name in each.split()]
    for name in names:
        said = why_absent(name)
        assert said is not None and "\n" not in said and name not in burnish.EXPORTS
    assert why_absent("SFTTrainer") is None and why_absent("Trainer") is None
