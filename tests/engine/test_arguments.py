"""Constructors answer wrong arguments with the fix, before a model is loaded."""

import inspect
from dataclasses import dataclass

import pytest
from transformers import TrainingArguments

import burnish
from burnish import (
    BCOTrainer,
    DPOConfig,
    DPOTrainer,
    GKDTrainer,
    KTOConfig,
    ModelConfig,
    ORPOTrainer,
    RewardTrainer,
    ScriptArguments,
    SFTConfig,
    SFTTrainer,
)
from burnish.engine.arguments import TrainerArguments
from burnish.errors import UserError

MODEL = "./no/such/model"
"""Whoever loads it fails with another message."""

TRAINERS = [name for name in burnish.EXPORTS if name.endswith("Trainer")]


def evaluating(config=SFTConfig):
    return config(output_dir="out", eval_strategy="steps", report_to="none")


@dataclass
class OwnArguments(TrainingArguments):
    colour: str = "red"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SFTTrainer(MODEL, tokenizer=1), "SFTTrainer: 'tokenizer' is called processing_class here"),
        (lambda: SFTTrainer(MODEL, max_seq_length=9), "write args=SFTConfig(max_length=9)"),
        (lambda: SFTTrainer(MODEL, packing=True), "write args=SFTConfig(packing=True, ...)"),
        (lambda: SFTTrainer(MODEL, ref_model="x"), "an argument of BCOTrainer, DPOTrainer, KTOTrainer"),
        (lambda: SFTTrainer(MODEL, train_datset=[]), "Did you mean 'train_dataset'?"),
        (lambda: SFTTrainer(MODEL, model_init=print), "is not supported: a model is passed, or named"),
        (lambda: BCOTrainer(MODEL, embedding_func=print), "is not supported: completions are not weighed"),
        (lambda: ORPOTrainer(MODEL, loss=print), "an argument of DPOTrainer, RewardTrainer, SFTTrainer"),
        (lambda: SFTTrainer(MODEL, DPOConfig("out")), "args: expected a SFTConfig, found a DPOConfig"),
        (lambda: SFTTrainer(MODEL, [{"text": "a"}]), "args: expected a SFTConfig, found [{'text': 'a'}]"),
        (lambda: DPOTrainer(MODEL, DPOConfig("out")), "ref_model comes before args"),
        (lambda: DPOTrainer(), "model: no model was given"),
        (lambda: GKDTrainer(MODEL), "no teacher was given"),
        (lambda: SFTTrainer(MODEL, evaluating()), "eval_dataset: there are no rows to evaluate on"),
        (lambda: SFTTrainer(MODEL, evaluating(TrainingArguments)), "there are no rows to evaluate on"),
        (lambda: SFTTrainer(MODEL, OwnArguments("out", colour="blue")), "SFTConfig has no colour"),
        (
            lambda: RewardTrainer(MODEL, processing_class="base"),
            "expected a tokenizer, found the text 'base'",
        ),
        (lambda: RewardTrainer(MODEL, compute_metrics="accuracy"), "expected a function, found 'accuracy'"),
        (lambda: SFTTrainer(object(), quantization_config=1), "the model is loaded already"),
        (lambda: SFTConfig("out", max_seq_length=9), "'max_seq_length' is called max_length here"),
        (lambda: SFTConfig("out", beta=0.1), "'beta' is an option of dpo, kto"),
        (lambda: DPOConfig("out", learning_rat=1e-5), "Did you mean 'learning_rate'?"),
        (lambda: DPOConfig("out", warmup_ratio=0.1), "write warmup_steps=0.1"),
        (lambda: DPOConfig("out", evaluation_strategy="no"), "write eval_strategy='no'"),
        (lambda: DPOConfig("out", rpo_alpha=1.0), "write loss_type=['sigmoid', 'sft'], loss_weights="),
        (
            lambda: DPOConfig("out", learning_rate=2e5),
            "must be at least 0 and below 1, found 200000.0\n  fix: write 2e-5",
        ),
        (lambda: KTOConfig("out", beta=-1), "beta: must be above 0, found -1"),
        (lambda: DPOConfig("out", row_function=evaluating), "give 'path/to/file.py:evaluating'"),
        (lambda: ModelConfig(torch_dtype="bfloat16"), "write dtype='bfloat16'"),
        (lambda: ModelConfig(lora_rank=8), "lora_r"),
        (lambda: ScriptArguments(dataset="a.jsonl"), "dataset_name"),
    ],
)
def test_what_is_wrong_is_said_with_the_fix(make, said):
    with pytest.raises(UserError) as error:
        make()
    assert said in str(error.value)


def test_a_rate_of_zero_and_options_of_a_class_of_ones_own_are_right():
    @dataclass
    class Own(SFTConfig):
        colour: str = "red"

    assert Own("out", colour="blue", learning_rate=0.0).colour == "blue"
    assert SFTTrainer.config_class("out", warmup_steps=0.5).warmup_steps == 0.5


def test_a_class_may_have_a_constructor_of_its_own():
    class Own(SFTConfig):
        def __init__(self, colour: str, **options):
            super().__init__("out", **options)
            self.colour = colour

    assert Own(colour="blue", packing=True).packing


@pytest.mark.parametrize("name", TRAINERS)
def test_signatures_hide_no_argument(name):
    trainer = getattr(burnish, name)
    shown = inspect.signature(trainer).parameters
    assert all(each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in shown.values())
    own = set(inspect.signature(trainer.setup).parameters) - {"self"}
    assert TrainerArguments.__annotations__.keys() | own | {"model", "args"} <= shown.keys()


def test_the_shared_arguments_are_those_of_the_engine():
    from burnish.engine.trainer import Engine

    named = inspect.signature(Engine.__init__).parameters.keys() - {"self", "model", "args", "method"}
    assert named == TrainerArguments.__annotations__.keys()
