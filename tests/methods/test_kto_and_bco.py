"""KTO and BCO as a person uses them: what is refused, what couples a step, what is kept."""

from __future__ import annotations

import json

import pytest
import torch
from datasets import Dataset

from burnish import BCOConfig, BCOTrainer, KTOConfig, KTOTrainer
from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.engine.survey import surveyed
from burnish.errors import UserError
from burnish.models.reference import COLUMN

ROWS = [{"prompt": f"{n} plus 1 is", "completion": f" {n + n % 3}.", "label": n % 3 == 1} for n in range(16)]
MOSTLY_GOOD = [{**row, "label": not row["label"]} for row in ROWS]
"""Training makes all of it likelier, so that the KL is above 0."""

TRAINERS = {"kto": (KTOTrainer, KTOConfig), "bco": (BCOTrainer, BCOConfig)}


def trainer_of(method, model, folder, rows=ROWS, evaluated=None, peft_config=None, ref_model=None, **options):
    trainer_class, config_class = TRAINERS[method]
    settings = {"max_steps": 4, "logging_steps": 1, "learning_rate": 1e-2, "bf16": False}
    settings |= {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "max_grad_norm": 0.0}
    args = config_class(output_dir=str(folder), **settings | options)
    return trainer_class(
        str(model),
        ref_model=ref_model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        eval_dataset=evaluated and Dataset.from_list(evaluated),
        peft_config=peft_config,
    )


def logs_of(trainer, name):
    return [log[name] for log in trainer.state.log_history if name in log]


def weights_of(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize("method", TRAINERS)
@pytest.mark.parametrize("label", [True, False])
def test_labels_that_are_all_equal_are_refused(method, label, tiny_model_dir, tmp_path):
    rows = [{**row, "label": label} for row in ROWS]
    with pytest.raises(UserError, match=r"all 16 completions are (un)?desirable"):
        trainer_of(method, tiny_model_dir, tmp_path, rows)


def test_rows_without_a_label_are_refused(tiny_model_dir, tmp_path):
    rows = [{name: row[name] for name in ("prompt", "completion")} for row in ROWS]
    with pytest.raises(UserError, match=r"prompt \+ completion \+ label"):
        trainer_of("kto", tiny_model_dir, tmp_path, rows)


def test_a_step_of_one_example_is_refused_where_a_kl_is_wanted(tiny_model_dir, tmp_path):
    with pytest.raises(UserError, match="a step of one example"):
        trainer_of("kto", tiny_model_dir, tmp_path, per_device_train_batch_size=1)
    for fine in ({"gradient_accumulation_steps": 2}, {"loss_type": "apo_zero_unpaired"}):
        trainer_of("kto", tiny_model_dir, tmp_path, per_device_train_batch_size=1, **fine)


def test_scoring_in_advance_is_refused_where_completions_are_drawn_anew(tmp_path):
    with pytest.raises(UserError, match="needed in every step"):
        KTOConfig(output_dir=str(tmp_path), precompute_ref_log_probs=True)
    KTOConfig(output_dir=str(tmp_path), precompute_ref_log_probs=True, loss_type="apo_zero_unpaired")


@pytest.mark.parametrize(("weights", "warned"), [({}, True), ({"desirable_weight": 2.2}, False)])
def test_classes_out_of_balance_are_warned_of(weights, warned, tiny_model_dir, tmp_path, caplog):
    trainer_of("kto", tiny_model_dir, tmp_path, **weights)  # 5 desirable, 11 undesirable
    assert ("desirable_weight=2.2 would make it 1" in caplog.text) == warned


def test_other_completions_are_drawn_in_every_step_and_the_same_in_every_evaluation(tiny_model_dir, tmp_path):
    trainer = trainer_of("kto", tiny_model_dir, tmp_path, MOSTLY_GOOD)
    trainer.train()
    examples = [TokenizedExample.from_row(row) for row in trainer.train_dataset]
    found = {}
    for training in (True, False):
        trainer.model.train(training)
        for trainer.state.global_step in (10, 11, 12, 13):
            drawn = surveyed(trainer, trainer.model, examples)
            found.setdefault(training, []).append(drawn[0].columns["baseline"])
            assert len({e.columns["baseline"] for e in drawn}) == 1
    assert len(set(found[True])) > 1 and len(set(found[False])) == 1


def test_an_evaluation_does_not_depend_on_its_batch_size(tiny_model_dir, tmp_path):
    found = []
    for size in (1, 3, 16):
        trainer = trainer_of(
            "kto",
            tiny_model_dir,
            tmp_path,
            MOSTLY_GOOD,
            evaluated=MOSTLY_GOOD,
            per_device_eval_batch_size=size,
        )
        trainer.train()
        found.append(trainer.evaluate())
    assert found[0]["eval_kl"] > 0
    for name in ("eval_loss", "eval_kl", "eval_rewards/margins"):
        assert found[0][name] == pytest.approx(found[1][name], rel=1e-5)
        assert found[0][name] == pytest.approx(found[2][name], rel=1e-5)


def test_the_last_example_alone_in_its_step_has_a_kl_of_0(tiny_model_dir, tmp_path):
    trainer = trainer_of("kto", tiny_model_dir, tmp_path, ROWS[:9], max_steps=-1, num_train_epochs=2)
    trainer.train()
    assert len(logs_of(trainer, "kl")) == 4 and logs_of(trainer, "kl")[1::2] == [0.0, 0.0]


@pytest.mark.parametrize("method", TRAINERS)
def test_whole_weights_or_an_adapter_with_the_kept_reference(method, tiny_model_dir, tmp_path):
    """A reference by name is the one that is kept where none is given."""
    from peft import LoraConfig

    kept = trainer_of(method, tiny_model_dir, tmp_path)
    given = trainer_of(method, tiny_model_dir, tmp_path, ref_model=str(tiny_model_dir))
    for trainer in (kept, given):
        trainer.train()
    assert kept.reference.kind == ("frozen copy" if method == "kto" else "precomputed")
    torch.testing.assert_close(weights_of(kept), weights_of(given), rtol=0, atol=1e-5)
    adapter = trainer_of(
        method, tiny_model_dir, tmp_path, peft_config=LoraConfig(target_modules="all-linear")
    )
    adapter.train()
    assert adapter.reference.kind == "adapter off"
    assert logs_of(adapter, "rewards/margins")[0] == pytest.approx(0, abs=1e-5)
    assert abs(logs_of(adapter, "rewards/margins")[-1]) > 1e-3


def test_the_kept_reference_computes_in_bfloat16_as_the_policy_does(tiny_model_dir, tmp_path):
    trainer = trainer_of("kto", tiny_model_dir, tmp_path, bf16=True)
    trainer.train()
    kept = {name: weight.dtype for name, weight in trainer.reference.model.named_parameters()}
    assert kept.pop("model.embed_tokens.weight") == torch.float32
    assert set(kept.values()) == {torch.bfloat16}
    assert logs_of(trainer, "rewards/chosen")[0] == pytest.approx(0, abs=1e-3)
    assert abs(logs_of(trainer, "rewards/chosen")[-1]) > 1e-2


def test_the_mean_reward_goes_on_where_a_checkpoint_left_it(tiny_model_dir, tmp_path):
    whole = trainer_of("bco", tiny_model_dir, tmp_path / "a", save_strategy="steps", save_steps=2)
    whole.train()
    kept = json.loads((tmp_path / "a" / "checkpoint-2" / "running.json").read_text())
    assert kept["completions"] == 16 and kept["mean_ratio"] != 0
    resumed = trainer_of("bco", tiny_model_dir, tmp_path / "b")
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-2"))
    assert resumed.running == whole.running
    assert logs_of(resumed, "delta")[-1] == logs_of(whole, "delta")[-1]


def test_compute_metrics_gets_rewards_and_labels(tiny_model_dir, tmp_path):
    trainer = trainer_of("kto", tiny_model_dir, tmp_path, evaluated=ROWS)
    trainer.compute_metrics = lambda found: {"rows": len(found.predictions), "good": found.label_ids.sum()}
    found = trainer.evaluate()
    assert (found["eval_rows"], found["eval_good"]) == (16, 5)


def test_the_reference_scores_of_a_step_are_those_of_separate_forests(tiny_model_dir, tmp_path):
    """The completion beside a stranger has the score that it has alone."""
    trainer = trainer_of("kto", tiny_model_dir, tmp_path)
    trainer.train()
    examples = [TokenizedExample.from_row(row) for row in trainer.train_dataset]
    trainer.model.train()
    for example in surveyed(trainer, trainer.model, examples):
        alone = trainer.reference.score(trainer.model, Forest.pack([examples[example.row]]))
        assert example.columns[COLUMN] == pytest.approx(alone.tolist(), rel=1e-5)
