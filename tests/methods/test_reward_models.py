"""Reward models of every form: separate runs, any cut of a step, heads, readouts, and what is refused."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaForSequenceClassification,
)

from burnish import RewardConfig, RewardTrainer
from burnish.cli import main
from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.errors import UserError
from burnish.losses.reward import REWARD_PAIR_LOSSES
from tests.conftest import save_tiny_model, tiny_tokenizer, write_rows
from tests.invariants.conftest import llama_of, trees

QUIET = {"report_to": "none", "disable_tqdm": True, "bf16": False, "save_strategy": "no"}


def model_of(labels: int = 1):
    return llama_of(LlamaForSequenceClassification, num_labels=labels)


# A forest equals separate runs


def pairs(column: str) -> list[dict]:
    return [{**row, column: row["row"] / 10} for row in trees(2)]


def lists() -> list[dict]:
    """Two to five completions of a prompt, some of them as good as others."""
    rows = [row for count in (2, 3, 5, 4) for row in trees(count, count=2, seed=count)]
    return [
        {**row, "row": index, "scores": [float((7 * index + 3 * place) % 4) for place in range(len(found))]}
        for index, row in enumerate(rows)
        for found in [row["completion_ids"]]
    ]


def scored() -> list[dict]:
    return [{**row, "scores": [float(row["row"] % 5), float(row["row"] % 3)]} for row in trees(1)]


def rewards(model, row):
    """float[branches, labels], from one plain forward for each completion."""
    states = [
        model.model(torch.tensor([row["prompt_ids"] + ids])).last_hidden_state[0, -1]
        for ids in row["completion_ids"]
    ]
    return model.score(torch.stack(states))


def of_pairs(formula):
    def loss(model, rows):
        return torch.stack([formula(*rewards(model, row)[:, 0], row) for row in rows]).mean()

    return loss


def plackett_luce(model, rows):
    losses = []
    for row in rows:
        reward = rewards(model, row)[:, 0]
        parts = []
        for i, score in enumerate(row["scores"]):
            rivals = [reward[j] for j, other in enumerate(row["scores"]) if other < score] + [reward[i]]
            parts.append(torch.stack(rivals).logsumexp(0) - reward[i])
        losses.append(sum(parts))
    return torch.stack(losses).mean()


def all_pairs(model, rows):
    losses = []
    for row in rows:
        found = list(zip(rewards(model, row)[:, 0], row["scores"], strict=True))
        parts = [-F.logsigmoid(a - b) for (a, x), (b, y) in itertools.permutations(found, 2) if x > y]
        losses.append(sum(parts) / len(parts))
    return torch.stack(losses).mean()


def regression(model, rows):
    return torch.stack([(rewards(model, row)[0] - torch.tensor(row["scores"])) ** 2 for row in rows]).mean()


def ordinal(model, rows):
    losses = []
    for row in rows:
        for reward, score in zip(rewards(model, row)[0], row["scores"], strict=True):
            losses.append(
                sum(F.softplus(t - reward if score > t else reward - t) for t in (0.5, 1.5, 2.5, 3.5))
            )
    return torch.stack(losses).mean()


TWO = {"attributes": ["help", "truth"]}
CASES = {
    "bradley_terry": (
        {"center_rewards_coefficient": 0.01},
        pairs("margin"),
        of_pairs(lambda c, r, row: -F.logsigmoid(c - r - row["margin"]) + 0.01 * (c + r) ** 2),
    ),
    "hinge": ({}, pairs("margin"), of_pairs(lambda c, r, row: F.relu(1 - (c - r - row["margin"])))),
    "soft_label": (
        {},
        pairs("chosen_probability"),
        of_pairs(
            lambda c, r, row: (
                F.softplus(r - c) * row["chosen_probability"]
                + F.softplus(c - r) * (1 - row["chosen_probability"])
            )
        ),
    ),
    "plackett_luce": ({}, lists(), plackett_luce),
    "all_pairs": ({}, lists(), all_pairs),
    "regression": (TWO, scored(), regression),
    "ordinal": ({**TWO, "ordinal_levels": [0.0, 1.0, 2.0, 3.0, 4.0]}, scored(), ordinal),
}


def trainer_of(case, folder, **options):
    own, rows, _ = CASES[case]
    args = RewardConfig(output_dir=str(folder), loss_type=case, **{**QUIET, **own, **options})
    model = model_of(2 if "attributes" in own else 1)
    return RewardTrainer(
        model,
        args=args,
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows),
        processing_class=tiny_tokenizer(),
    )


@pytest.mark.parametrize("tier", ["registered", "padded"])
@pytest.mark.parametrize("case", CASES)
def test_a_forest_equals_separate_runs(case, tier, tmp_path):
    trainer = trainer_of(case, tmp_path, tier=tier)
    trainer.get_ready()
    model, (_, rows, plain) = trainer.model, CASES[case]
    assert model.forest_tier == tier
    found = trainer.compute_loss(model, Forest.pack([TokenizedExample.from_row(row) for row in rows]))
    found.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    expected = plain(model, rows)
    expected.backward()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert gradients
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-10, atol=1e-13, msg=name)


def step_of(case, folder, **options):
    fixed = {"max_steps": 1, "optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 0.0}
    fixed |= {"lr_scheduler_type": "constant", "per_device_train_batch_size": 8}
    trainer = trainer_of(case, folder, **{**fixed, **options})
    start = torch.cat([p.detach().flatten().clone() for p in trainer.model.parameters()])
    loss = trainer.train().training_loss
    weights = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
    assert (weights - start).norm() > 1e-3
    return weights, loss


@pytest.mark.parametrize("case", ["plackett_luce", "all_pairs", "ordinal", "soft_label"])
def test_any_cut_gives_the_same_step(case, tmp_path):
    whole, loss = step_of(case, tmp_path)
    for cut in (
        {"tokens_per_forward": 1},
        {"tokens_per_forward": 60},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    ):
        weights, found = step_of(case, tmp_path, **cut)
        assert (weights - whole).norm() <= 1e-12 * whole.norm(), cut
        assert found == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_an_evaluation_does_not_depend_on_its_batches(case, tmp_path):
    found = [
        trainer_of(case, tmp_path, **options).evaluate()
        for options in ({}, {"per_device_eval_batch_size": 3}, {"tokens_per_forward": 40})
    ]
    metrics = {name for name in found[0] if not name.endswith(("runtime", "per_second", "preparation_time"))}
    assert len(metrics) > 4
    for name in metrics:
        assert [each[name] for each in found[1:]] == pytest.approx([found[0][name]] * 2, rel=1e-9), name


def test_predictions_of_lists_are_filled_up(tmp_path):
    trainer = trainer_of("plackett_luce", tmp_path, per_device_eval_batch_size=3)
    output = trainer.predict(trainer.eval_dataset)
    for row, found, scores in zip(lists(), output.predictions, output.label_ids, strict=True):
        count = len(row["scores"])
        with torch.no_grad():
            expected = rewards(trainer.model.eval(), row)[:, 0]
        torch.testing.assert_close(torch.tensor(found[:count]), expected, rtol=1e-6, atol=1e-7)
        assert scores[:count].tolist() == row["scores"]
        assert (found[count:] == -100).all() and (scores[count:] == -100).all() and len(found) == 5


# From rows to a saved model

ANSWERS = ("no", "maybe", "yes", "yes, gladly")
LISTS = [
    {
        "prompt": f"Is it {n}?",
        "completions": [f" {answer}." for answer in ANSWERS[: 2 + n % 3]],
        "ranks": list(range(2 + n % 3, 0, -1)),
    }
    for n in range(24)
]
SCORED = [
    {"prompt": f"Is it {n}?", "completion": f" {answer}.", "help": float(place), "truth": 3.0 - place}
    for n in range(8)
    for place, answer in enumerate(ANSWERS)
]


def trained(folder, model, rows, **options):
    args = RewardConfig(
        output_dir=str(folder),
        **{"max_steps": 25, "learning_rate": 3e-3, "logging_steps": 1, **QUIET, **options},
    )
    trainer = RewardTrainer(str(model), args=args, train_dataset=Dataset.from_list(rows))
    trainer.train()
    trainer.save_model()
    return trainer, [log for log in trainer.state.log_history if "loss" in log]


@pytest.mark.parametrize("loss", ["plackett_luce", "all_pairs"])
def test_lists_of_several_lengths_are_learnt(loss, tiny_model_dir, tmp_path):
    trainer, logs = trained(tmp_path, tiny_model_dir, LISTS, loss_type=loss, max_steps=60)
    assert logs[-1]["loss"] < 0.5 * logs[0]["loss"]
    assert logs[-1]["accuracy"] > 0.9 and logs[-1]["best_accuracy"] > 0.9
    assert trainer.train_dataset[0]["scores"] == [-2.0, -1.0]


@pytest.mark.parametrize("loss", sorted(REWARD_PAIR_LOSSES))
def test_pairs_are_learnt(loss, tiny_model_dir, tmp_path):
    rows = [
        {
            "prompt": f"Is it {n}?",
            "chosen": " yes.",
            "rejected": " no.",
            "margin": 1.0,
            "chosen_probability": 0.9,
        }
        for n in range(24)
    ]
    _, logs = trained(tmp_path, tiny_model_dir, rows, loss_type=loss)
    assert logs[-1]["loss"] < 0.7 * logs[0]["loss"] and logs[-1]["accuracy"] == 1.0


def test_soft_labels_end_at_their_probability(tiny_model_dir, tmp_path):
    rows = [
        {"prompt": f"Is it {n}?", "chosen": " yes.", "rejected": " no.", "chosen_probability": 0.75}
        for n in range(24)
    ]
    _, logs = trained(tmp_path, tiny_model_dir, rows, loss_type="soft_label", max_steps=60)
    assert torch.sigmoid(torch.tensor(logs[-1]["margin"])) == pytest.approx(0.75, abs=0.02)


def test_several_attributes_and_their_readout(tiny_model_dir, tmp_path):
    trainer, logs = trained(
        tmp_path / "first",
        tiny_model_dir,
        SCORED,
        loss_type="regression",
        attributes=["help", "truth"],
        attribute_weights=[1.0, 0.5],
    )
    assert logs[-1]["loss"] < 0.5 * logs[0]["loss"]
    assert {"mean_absolute_error/help", "mean_absolute_error/truth"} <= logs[-1].keys()
    config = json.loads((tmp_path / "first" / "config.json").read_text())
    assert config["id2label"] == {"0": "help", "1": "truth"}
    assert (config["problem_type"], config["attribute_weights"]) == ("regression", [1.0, 0.5])

    saved = AutoModelForSequenceClassification.from_pretrained(tmp_path / "first").eval()
    output = trainer.predict(Dataset.from_list(SCORED[:1]))
    ids = trainer.processing_class("Is it 0? no.<|im_end|>", return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(torch.tensor(output.predictions), saved(ids).logits, rtol=1e-4, atol=1e-5)
    assert output.label_ids.tolist() == [[0.0, 3.0]]

    # It goes on with pairs, whose reward is the readout that it was saved with.
    rows = [{"prompt": f"Is it {n}?", "chosen": " yes.", "rejected": " no."} for n in range(8)]
    again, logs = trained(tmp_path / "second", tmp_path / "first", rows, max_steps=1, learning_rate=0.0)
    with torch.no_grad():
        labels = [
            saved(again.processing_class(f"Is it {n}? {answer}.<|im_end|>", return_tensors="pt").input_ids)
            for n in range(8)
            for answer in ("yes", "no")
        ]
    readout = torch.cat([each.logits for each in labels]) @ torch.tensor([1.0, 0.5])
    assert logs[0]["mean_reward"] == pytest.approx(float(readout.mean()), abs=1e-4)


def test_ordinal_scores_are_learnt_on_their_own_scale(tiny_model_dir, tmp_path):
    options = {"attributes": ["help"], "ordinal_levels": [0.0, 1.0, 2.0, 3.0]}
    _, logs = trained(tmp_path, tiny_model_dir, SCORED, loss_type="ordinal", max_steps=160, **options)
    assert logs[-1]["accuracy"] == 1.0 and logs[-1]["mean_absolute_error"] < 0.5
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path).num_labels == 1


def test_from_the_command_line(tiny_model_dir, tmp_path):
    rows = [
        {
            "instruction": f"Is it {n}?",
            "completions": [
                {"response": answer, "overall_score": place}
                for place, answer in enumerate(ANSWERS[: 2 + n % 3])
            ],
        }
        for n in range(8)
    ]
    file = write_rows(tmp_path / "lists.jsonl", rows)
    words = ["reward", "--model_name_or_path", str(tiny_model_dir), "--dataset_name", str(file)]
    words += ["--loss_type", "plackett_luce", "--max_steps", "2", "--report_to", "none"]
    assert main([*words, "--output_dir", str(tmp_path / "out")]) == 0
    assert list((tmp_path / "out").glob("*.safetensors"))


def test_a_loss_of_ones_own(tiny_model_dir, tmp_path, pairs_file):
    seen = []

    def loss(chosen, rejected, margin):
        seen.append(margin)
        return (1 - chosen + rejected).square()

    args = RewardConfig(output_dir=str(tmp_path), max_steps=1, **QUIET)
    RewardTrainer(str(tiny_model_dir), args=args, train_dataset=str(pairs_file), loss=loss).train()
    assert seen and not seen[0].any()


# What is refused


PAIR = {"prompt": "Is it?", "chosen": " yes.", "rejected": " no."}
REFUSED_ROWS = {
    "pairs for a pointwise loss": (
        PAIR,
        {"loss_type": "regression"},
        "found columns prompt, chosen, rejected; expected prompt + completion + score",
        "These columns are rows for reward models and DPO (preference)",
    ),
    "scores for pairs": (
        {"prompt": "Is it?", "completion": " yes.", "score": 3},
        {},
        "expected prompt + chosen + rejected",
        "These columns are rows for reward models of scores (prompt and completion, with scores)",
    ),
    "lists for pairs": (
        LISTS[0],
        {},
        "expected prompt + chosen + rejected",
        "These columns are rows for reward models of ranked lists (completions with ranks)",
    ),
    "pairs for lists": (
        PAIR,
        {"loss_type": "plackett_luce"},
        "expected prompt + completions + scores | prompt + completions + ranks",
        "These columns are rows for reward models and DPO (preference)",
    ),
    "pairs without the probability": (
        PAIR,
        {"loss_type": "soft_label"},
        "expected prompt + chosen + rejected + chosen_probability",
        "",
    ),
    "pairs without the margin": (
        PAIR,
        {"loss_type": "scaled_bradley_terry"},
        "expected prompt + chosen + rejected + margin",
        "",
    ),
    "an attribute that is not there": (
        {"prompt": "Is it?", "completion": " yes.", "help": 3},
        {"loss_type": "regression", "attributes": ["help", "truth"]},
        "expected prompt + completion + help + truth",
        "",
    ),
    "a score that is no level": (
        {"prompt": "Is it?", "completion": " yes.", "score": 5},
        {"loss_type": "ordinal", "ordinal_levels": [0.0, 1.0]},
        "row 0, column 'score': expected one of the levels 0, 1, found 5",
        "",
    ),
    "a pointwise score that is missing": (
        {"prompt": "Is it?", "completion": " yes.", "score": None},
        {"loss_type": "regression"},
        "row 0, column 'score': expected a finite number, found nothing",
        "",
    ),
}


@pytest.mark.parametrize("case", REFUSED_ROWS)
def test_rows_of_another_kind_are_refused_with_the_reason(case, tmp_path):
    row, options, *parts = REFUSED_ROWS[case]
    labels = len(options.get("attributes", [0]))
    args = RewardConfig(output_dir=str(tmp_path), **QUIET, **options)
    with pytest.raises(UserError) as caught:
        RewardTrainer(
            model_of(labels),
            args=args,
            train_dataset=Dataset.from_list([row]),
            processing_class=tiny_tokenizer(),
        )
    assert all(part in str(caught.value) for part in parts)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"focal_gamma": 3.0}, "focal_gamma"),
        ({"attributes": ["help"]}, "attributes"),
        ({"ordinal_levels": [0.0, 1.0]}, "ordinal_levels"),
        ({"loss_type": "ordinal"}, "ordinal_levels"),
        ({"loss_type": "ordinal", "ordinal_levels": [1.0, 0.0]}, "ordinal_levels"),
        ({"loss_type": "plackett_luce", "center_rewards_coefficient": 0.01}, "center_rewards_coefficient"),
        ({"loss_type": "regression", "attribute_weights": [1.0, 2.0]}, "attribute_weights"),
        ({"loss_type": "bradly_terry"}, "loss_type"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options, where, tmp_path):
    with pytest.raises(UserError, match=f"^{where}: "):
        RewardConfig(output_dir=str(tmp_path), **QUIET, **options)


def test_a_head_with_other_labels_is_refused(tmp_path):
    args = RewardConfig(output_dir=str(tmp_path), **QUIET)
    with pytest.raises(UserError, match="head has 2 labels, and 1 are needed"):
        RewardTrainer(model_of(2), args=args, processing_class=tiny_tokenizer())


def test_a_loss_beside_a_loss_type_is_refused(tmp_path):
    args = RewardConfig(output_dir=str(tmp_path), loss_type="hinge", **QUIET)
    with pytest.raises(UserError, match="there is a loss_type hinge too"):
        RewardTrainer(model_of(), args=args, processing_class=tiny_tokenizer(), loss=print)


def test_a_head_on_a_frozen_bfloat16_base(tmp_path):
    """With an adapter, the new head is float32 on a base that stays as it is stored."""
    base = save_tiny_model(tmp_path / "base")
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(base)
    rows = Dataset.from_list(
        [{"prompt": f"{n} plus 1 is", "chosen": f" {n + 1}.", "rejected": f" {n}."} for n in range(8)]
    )

    def trained(**options):
        args = RewardConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=2,
            report_to="none",
            save_strategy="no",
            model_init_kwargs={"dtype": "bfloat16"},  # on any machine
            **options,
        )
        adapter = LoraConfig(r=4, target_modules="all-linear")
        trainer = RewardTrainer(str(base), args, train_dataset=rows, peft_config=adapter)
        trainer.train()
        return trainer

    for options, computed in (({}, "bfloat16"), ({"bf16": False}, "float32")):
        trainer = trained(**options)
        said = next(choice for name, choice, _ in trainer.plan.rows if name == "dtype")
        assert said == f"computes in {computed}, float32 weights on a bfloat16 base"


def test_new_weights_are_drawn_by_the_seed(tiny_model_dir, tmp_path):
    """A head and an adapter of one seed are the same whatever was drawn before."""

    def drawn(seed):
        torch.rand(seed + 3)
        args = RewardConfig(output_dir=str(tmp_path), seed=seed, **QUIET)
        adapter = LoraConfig(r=4, target_modules="all-linear")
        trainer = RewardTrainer(str(tiny_model_dir), args, peft_config=adapter)
        return torch.cat([p.detach().flatten() for p in trainer.model.parameters() if p.requires_grad])

    assert torch.equal(drawn(1), drawn(1)) and not torch.equal(drawn(1), drawn(2))
