"""A step is the same for any token budget, any accumulation and any order of its examples."""

from __future__ import annotations

import math

import pytest
import torch
from peft import LoraConfig

import burnish
from burnish import DPOConfig, DPOTrainer, RewardTrainer
from tests.invariants.conftest import documents, judged, llama, pairs, triples

METHODS = {
    "sft": ("SFT", documents, {}),
    "reward": ("Reward", pairs, {}),
    "dpo": ("DPO", pairs, {}),
    "kto": ("KTO", judged, {"undesirable_weight": 2.0}),
    "bco": ("BCO", judged, {}),
    "orpo": ("ORPO", pairs, {"beta": 0.5}),
    "cpo": ("CPO", pairs, {}),
    "simpo": ("CPO", pairs, {"loss_type": "simpo", "alpha": 0.25, "cpo_alpha": 0.5, "beta": 2.0}),
    "tpo": ("TPO", triples, {}),
    "gkd": ("GKD", documents, {"beta": 0.3, "divergence_temperature": 2.0}),
}


def weights_after_one_step(method, tokenizer, folder, *, dtype=torch.float64, order=None, batch=8, **options):
    prefix, data, own = METHODS[method]
    trainer_class = getattr(burnish, f"{prefix}Trainer")
    model = llama(trainer_class is RewardTrainer, dtype)
    rows = data()
    args = getattr(burnish, f"{prefix}Config")(
        output_dir=str(folder),
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        max_steps=1,
        optim="sgd",
        learning_rate=0.1,
        lr_scheduler_type="constant",
        max_grad_norm=options.pop("max_grad_norm", 0.0),
        train_sampling_strategy="sequential",
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=8 // batch,
        bf16=False,
        **own,
        **options,
    )
    extra = {"ref_model": reference_of(dtype)} if prefix in ("KTO", "BCO") else {}
    extra |= {"teacher_model": reference_of(dtype)} if prefix == "GKD" else {}
    trainer = trainer_class(
        model, args=args, **extra, train_dataset=rows.select(order or range(8)), processing_class=tokenizer
    )
    result = trainer.train()
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    return weights, result.training_loss


def reference_of(dtype):
    """A reference that differs from the policy, so that KL and mean reward are not 0 in the first step."""
    reference = llama(dtype=dtype)
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.mul_(1.1)
    return reference


def moved(method):
    start = llama(METHODS[method][0] == "Reward")
    return torch.cat([p.detach().flatten() for p in start.parameters()])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=["f64", "f32"]
)
def test_any_cut_gives_the_same_step(method, dtype, tolerance, tokenizer, tmp_path):
    if dtype == torch.float32:
        budgets, batches, orders = [1, 1000], [8], [None]
    else:
        budgets, batches, orders = [1, 40, 1000], [8, 2, 1], [None, [5, 2, 7, 0, 3, 6, 1, 4]]
    start = moved(method).to(dtype)
    expected, expected_loss = weights_after_one_step(
        method, tokenizer, tmp_path, dtype=dtype, tokens_per_forward=10**6
    )
    step = (expected - start).norm()
    assert step > 1e-3
    for budget in budgets:
        for batch in batches:
            for order in orders:
                found, loss = weights_after_one_step(
                    method,
                    tokenizer,
                    tmp_path,
                    dtype=dtype,
                    order=order,
                    batch=batch,
                    tokens_per_forward=budget,
                )
                assert (found - expected).norm() <= tolerance * expected.norm(), (budget, batch, order)
                assert loss == pytest.approx(expected_loss, rel=max(tolerance, 1e-6)), (budget, batch, order)


def test_checkpointing_gives_the_same_step(tokenizer, tmp_path):
    expected, _ = weights_after_one_step("dpo", tokenizer, tmp_path)
    for reentrant in (True, False):
        found, _ = weights_after_one_step(
            "dpo",
            tokenizer,
            tmp_path,
            gradient_checkpointing=True,
            gradient_checkpointing_kwargs={"use_reentrant": reentrant},
            tokens_per_forward=30,
        )
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", ["full", "fresh adapter", "continued adapter"])
def test_the_first_step_of_dpo_has_margin_zero_and_loss_ln_2(kind, tokenizer, tmp_path):
    model = llama()
    peft_config = None
    if kind == "fresh adapter":
        peft_config = LoraConfig(target_modules="all-linear", lora_dropout=0.0)
    elif kind == "continued adapter":
        from peft import get_peft_model

        model = get_peft_model(model, LoraConfig(target_modules="all-linear", init_lora_weights=False))
    args = DPOConfig(
        output_dir=str(tmp_path),
        report_to="none",
        max_steps=2,
        logging_steps=1,
        learning_rate=0.1,
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = DPOTrainer(
        model, args=args, train_dataset=pairs(), processing_class=tokenizer, peft_config=peft_config
    )
    trainer.train()
    first, second = (log for log in trainer.state.log_history if "rewards/margins" in log)
    assert first["loss"] == pytest.approx(math.log(2), abs=3e-8)  # the log is kept in float32
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-12)
    assert abs(second["rewards/margins"]) > 1e-4


def test_an_adapter_on_off_and_merged(tokenizer):
    from peft import get_peft_model

    from burnish.data.example import TokenizedExample
    from burnish.data.forest import Forest
    from burnish.models.certify import certify
    from burnish.models.score import score

    plain = llama()
    certify(plain)
    forest = Forest.pack([TokenizedExample.from_row(row) for row in pairs()])
    base = score(plain, forest).logprob
    targets = ["q_proj", "v_proj", "gate_proj", "down_proj", "lm_head"]
    adapted = get_peft_model(
        llama(), LoraConfig(target_modules=targets, init_lora_weights=False, lora_dropout=0.0)
    )
    certify(adapted)
    on = score(adapted, forest).logprob
    with adapted.disable_adapter():
        torch.testing.assert_close(score(adapted, forest).logprob, base, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(on, base)
    merged = adapted.merge_and_unload()
    certify(merged)
    torch.testing.assert_close(score(merged, forest).logprob, on, rtol=1e-10, atol=1e-10)
