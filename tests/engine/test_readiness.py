"""A model of the user's is left as transformers would have left it, to be used again for anything."""

from __future__ import annotations

import peft
import pytest
import torch
from transformers import TrainerCallback

from burnish import DPOConfig, DPOTrainer, GKDConfig, GKDTrainer, SFTConfig, SFTTrainer
from burnish.evaluation.reward_model import RewardModel
from tests.conftest import save_tiny_model, tiny_tokenizer
from tests.invariants.conftest import documents, pairs

QUIET = {
    "report_to": "none",
    "disable_tqdm": True,
    "bf16": True,
    "save_strategy": "no",
    "max_steps": 1,
    "logging_steps": 1,
    "disable_dropout": True,
    "learning_rate": 1e-3,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Llama with attention dropout."""
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny", attention_dropout=0.1)


def loaded(folder, dtype=torch.float32, kind="AutoModelForCausalLM"):
    import transformers

    return getattr(transformers, kind).from_pretrained(folder, dtype=dtype)


def sft(model, folder, **options):
    args = SFTConfig(output_dir=str(folder), **QUIET | options)
    return SFTTrainer(
        model, args, train_dataset=documents(4), eval_dataset=documents(2), processing_class=tiny_tokenizer()
    )


def dpo(model, folder, ref_model=None, **options):
    args = DPOConfig(output_dir=str(folder), **QUIET | options)
    return DPOTrainer(model, ref_model, args, train_dataset=pairs(4), processing_class=tiny_tokenizer())


def state(model):
    """All that a model is but for the numbers in it, and what a trainer of transformers changes too."""
    changed = {"training", "_is_accelerate_prepared"}
    of_modules = {
        name: {key: describe(value) for key, value in vars(module).items() if key not in changed}
        for name, module in model.named_modules()
    }
    weights = {n: (p.dtype, p.requires_grad, id(p)) for n, p in model.named_parameters()}
    config = model.config.to_dict() | {"use_cache": None}
    return of_modules, weights, config, model.config._attn_implementation


def describe(value):
    return list(value) if isinstance(value, dict) else id(value)


def as_left(model):
    """Its state, where a constructor has already set the ids of special tokens."""
    model.config.pad_token_id = tiny_tokenizer().pad_token_id
    return state(model)


class Fails(TrainerCallback):
    def on_step_end(self, args, state, control, **rest):
        raise RuntimeError("stopped")


@pytest.mark.parametrize("use", ["train", "evaluate", "predict", "fail"])
def test_a_model_is_left_as_it_was(use, folder, tmp_path):
    model = loaded(folder)
    before = as_left(model)
    trainer = sft(model, tmp_path)
    trainer.model.config.eos_token_id = model.config.eos_token_id
    if use == "fail":
        trainer.add_callback(Fails())
        with pytest.raises(RuntimeError, match="stopped"):
            trainer.train()
    else:
        getattr(trainer, use)(*([documents(2)] if use == "predict" else []))
    after = state(model)
    for one, other in zip(after, before, strict=True):
        assert one == other
    trainer.get_ready()
    assert state(model) != before  # which the comparison would have seen


def test_models_beside_it_are_left_too_and_go_on_to_be_trained(folder, tmp_path):
    reference, teacher = loaded(folder), loaded(folder)
    before = [as_left(each) for each in (reference, teacher)]
    dpo(loaded(folder), tmp_path, reference).train()
    args = GKDConfig(output_dir=str(tmp_path), **QUIET)
    GKDTrainer(
        loaded(folder), teacher, args, train_dataset=documents(4), processing_class=tiny_tokenizer()
    ).train()
    assert [state(each) for each in (reference, teacher)] == before
    sft(reference, tmp_path).train()


def test_a_trained_model_is_trained_again_and_answers(folder, tmp_path):
    trained = sft(loaded(folder), tmp_path)
    trained.train()
    again = dpo(trained.model, tmp_path)
    again.train()
    first = next(log for log in again.state.log_history if "loss" in log)
    assert first["loss"] == pytest.approx(0.6931472, abs=1e-4)
    assert again.evaluate(again.train_dataset)["eval_loss"] < 0.69
    again.model.generate(torch.tensor([[5, 6]]), max_new_tokens=2)


def test_a_reward_model_is_asked_and_trained_on(folder):
    model = loaded(folder, kind="AutoModelForSequenceClassification")
    model.config.num_labels = 1
    before = state(model)
    RewardModel(model, tiny_tokenizer())
    assert state(model) == before


@pytest.mark.parametrize("saved", [["lm_head"], ["embed_tokens", "lm_head"]])
def test_a_head_in_float32_on_a_base_in_16_bits_answers_in_training_and_afterwards(saved, folder, tmp_path):
    adapter = peft.LoraConfig(target_modules=["q_proj"], modules_to_save=saved)
    model = peft.get_peft_model(loaded(folder, torch.bfloat16), adapter)
    head = {name: p for name, p in model.named_parameters() if "modules_to_save" in name}
    trainer = sft(model, tmp_path, sample_prompts=["2 plus 1 is"], sample_max_new_tokens=2)
    assert {p.dtype for p in head.values()} == {torch.float32}
    trainer.train()
    assert {p.dtype for p in head.values()} == {torch.bfloat16}
    trainer.model.generate(torch.tensor([[5, 6]]), max_new_tokens=2)
    assert trainer.evaluate()["eval_loss"] > 0


def test_a_checkpoint_has_the_dropout_of_the_model_and_not_of_training(folder, tmp_path):
    trainer = sft(loaded(folder), tmp_path)
    trainer.get_ready()
    assert not trainer.model.model.layers[0].self_attn.attention_dropout
    assert trainer.model.config.attention_dropout == 0
    trainer.save_model(str(tmp_path / "saved"))
    assert type(trainer.model.config).from_pretrained(tmp_path / "saved").attention_dropout == 0.1
    assert trainer.model.config.attention_dropout == 0
