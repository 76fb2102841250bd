"""The balancing loss of experts is added as the model's config or an option says, however a step is cut."""

from __future__ import annotations

import pytest
import torch

from burnish import DPOConfig, DPOTrainer, UserError
from tests.conftest import tiny_tokenizer
from tests.invariants.conftest import llama, pairs
from tests.models.test_routers import mixtral


def trained(tmp_path, model, tokens=4096, **options):
    args = DPOConfig(
        output_dir=str(tmp_path),
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        max_steps=1,
        logging_steps=1,
        optim="sgd",
        learning_rate=0.1,
        max_grad_norm=0.0,
        lr_scheduler_type="constant",
        train_sampling_strategy="sequential",
        per_device_train_batch_size=4,
        tokens_per_forward=tokens,
        **options,
    )
    trainer = DPOTrainer(model, args=args, train_dataset=pairs(4), processing_class=tiny_tokenizer())
    trainer.train()
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    return weights, trainer.state.log_history[0], {row[0]: row[1:] for row in trainer.plan.rows}


def test_it_is_the_same_however_a_step_is_cut(tmp_path):
    whole, log, plan = trained(tmp_path, mixtral())
    cut, cut_log, _ = trained(tmp_path, mixtral(), tokens=30)
    without, plain_log, _ = trained(tmp_path, mixtral(), router_aux_loss_coef=0.0)
    torch.testing.assert_close(cut, whole, rtol=0, atol=1e-6)
    assert log["aux_loss"] == pytest.approx(cut_log["aux_loss"], rel=1e-5) and "aux_loss" not in plain_log
    assert log["loss"] == pytest.approx(plain_log["loss"] + 0.5 * log["aux_loss"], rel=1e-5)
    assert (whole - without).abs().max() > 1e-4
    assert plan["experts"][0] == "balancing loss times 0.5"


def test_a_model_without_experts_has_no_such_option(tmp_path):
    with pytest.raises(UserError, match="LlamaForCausalLM has no balancing loss"):
        trained(tmp_path, llama(), router_aux_loss_coef=0.1)
