"""Process reward models: separate runs, any cut of a step, what is saved, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForTokenClassification, LlamaForTokenClassification

from burnish import PRMConfig, PRMTrainer
from burnish.cli import main
from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.errors import UserError
from tests.conftest import tiny_tokenizer, write_rows
from tests.invariants.conftest import llama_of, trees

QUIET = {"report_to": "none", "disable_tqdm": True, "bf16": False, "save_strategy": "no"}


def judged_rows(count: int = 8) -> list[dict]:
    """Prepared rows of unequal lengths; every third token of a completion and its last one end a step."""
    rows = []
    for row in trees(1, count):
        length = len(row["completion_ids"][0])
        mask = [place % 3 == 2 or place == length - 1 for place in range(length)]
        labels = [((row["row"] + step) % 4) / 3 for step in range(sum(mask))]
        rows.append({**row, "completion_mask": [mask], "labels": labels})
    return rows


def model_of(dtype=torch.float64):
    return llama_of(LlamaForTokenClassification, dtype, num_labels=2)


def plain_loss(model, rows):
    """With one forward for each row, by the model's own head."""
    losses = []
    for row in rows:
        ids = torch.tensor([row["prompt_ids"] + row["completion_ids"][0]])
        logits = model(input_ids=ids).logits[0, len(row["prompt_ids"]) :]
        judged = logits[torch.tensor(row["completion_mask"][0])]
        for (wrong, right), label in zip(judged.log_softmax(-1), row["labels"], strict=True):
            losses.append(-label * right - (1 - label) * wrong)
    return torch.stack(losses).mean()


@pytest.mark.parametrize("tier", ["registered", "mask", "packed", "padded"])
def test_a_forest_equals_separate_runs(tier, tmp_path):
    model, rows = model_of(), judged_rows()
    args = PRMConfig(output_dir=str(tmp_path), tier=tier, **QUIET)
    trainer = PRMTrainer(
        model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tiny_tokenizer()
    )
    trainer.get_ready()
    assert model.forest_tier == tier
    found = trainer.compute_loss(model, Forest.pack([TokenizedExample.from_row(row) for row in rows]))
    found.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.eval()
    expected = plain_loss(model, rows)
    expected.backward()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-10, atol=1e-13, msg=name)


def step_of(folder, **options):
    args = PRMConfig(
        output_dir=str(folder),
        max_steps=1,
        optim="sgd",
        learning_rate=0.1,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        **{"per_device_train_batch_size": 8, **QUIET, **options},
    )
    model = model_of()
    rows = Dataset.from_list(judged_rows())
    trainer = PRMTrainer(model, args=args, train_dataset=rows, processing_class=tiny_tokenizer())
    loss = trainer.train().training_loss
    return torch.cat([p.detach().flatten() for p in model.parameters()]), loss


def test_any_cut_gives_the_same_step(tmp_path):
    whole, loss = step_of(tmp_path)
    start = torch.cat([p.detach().flatten() for p in model_of().parameters()])
    assert (whole - start).norm() > 1e-3
    assert loss == pytest.approx(plain_loss(model_of().eval(), judged_rows()).item(), rel=1e-6)
    for cut in (
        {"tokens_per_forward": 1},
        {"tokens_per_forward": 40},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    ):
        weights, found = step_of(tmp_path, **cut)
        assert (weights - whole).norm() <= 1e-12 * whole.norm(), cut
        assert found == pytest.approx(loss, rel=1e-6)


SUMS = [
    {
        "prompt": f"Add {n} and {m}.",
        "completions": [f"{n}+{m}", f"={n + m + (n + m) % 2}"],
        "labels": [True, (n + m) % 2 == 0],
    }
    for n in range(6)
    for m in range(6)
]


@pytest.fixture(scope="module")
def sums_file(tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("steps") / "sums.jsonl", SUMS)


def test_it_learns_and_loads_with_transformers(tiny_model_dir, tmp_path):
    args = PRMConfig(output_dir=str(tmp_path), learning_rate=3e-3, max_steps=30, logging_steps=1, **QUIET)
    rows = Dataset.from_list(SUMS)
    trainer = PRMTrainer(str(tiny_model_dir), args=args, train_dataset=rows, eval_dataset=rows)
    trainer.train()
    trainer.save_model()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    assert logs[-1]["loss"] < 0.8 * logs[0]["loss"]
    assert {"accuracy", "accuracy/right", "accuracy/wrong"} <= logs[-1].keys()

    saved, loading = AutoModelForTokenClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not loading["missing_keys"] and isinstance(saved, LlamaForTokenClassification)
    assert saved.config.id2label == {0: "wrong", 1: "right"}
    output = trainer.predict(rows.select([1])).predictions
    tokenizer = trainer.processing_class
    ids = tokenizer("Add 0 and 1.0+1\n=2\n", return_tensors="pt").input_ids
    ends = [place for place, token in enumerate(tokenizer.batch_decode(ids[0][:, None])) if token == "\n"]
    with torch.no_grad():
        expected = saved.eval()(ids).logits[0, ends].softmax(-1)[:, 1]
    torch.testing.assert_close(torch.tensor(output[0]), expected, rtol=1e-4, atol=1e-5)


def test_an_adapter_learns_with_its_head(tiny_model_dir, tmp_path):
    from peft import AutoPeftModelForTokenClassification, LoraConfig

    args = PRMConfig(output_dir=str(tmp_path), max_steps=2, learning_rate=1e-2, **QUIET)
    config = LoraConfig(target_modules="all-linear")
    rows = Dataset.from_list(SUMS)
    trainer = PRMTrainer(str(tiny_model_dir), args=args, train_dataset=rows, peft_config=config)
    trainer.train()
    trainer.save_model()
    loaded = AutoPeftModelForTokenClassification.from_pretrained(tmp_path, num_labels=2)
    theirs, names = loaded.state_dict(), [n for n in loaded.state_dict() if "score.modules_to_save" in n]
    ours = trainer.model.state_dict()
    assert names and not [name for name in ours if "score" in name and "lora" in name]
    for name in names:
        assert torch.equal(theirs[name], ours[name].cpu())
        untrained = ours[name.replace("modules_to_save.default", "original_module")]
        assert not torch.equal(ours[name], untrained)


def test_from_the_command_line(tiny_model_dir, sums_file, tmp_path):
    out = tmp_path / "out"
    words = ["prm", "--model_name_or_path", str(tiny_model_dir), "--dataset_name", str(sums_file)]
    words += ["--output_dir", str(out), "--max_steps", "2", "--report_to", "none", "--step_separator", ";"]
    words += ["--train_on_last_step_only", "true", "--disable_tqdm", "true"]
    assert main(words) == 0
    assert json.loads((out / "config.json").read_text())["architectures"] == ["LlamaForTokenClassification"]


def test_the_example_runs_as_it_stands(tiny_model_dir, sums_file, tmp_path):
    script = Path(__file__).parents[2] / "examples" / "prm_basic.py"
    command = [sys.executable, str(script), str(tiny_model_dir), str(sums_file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "runs" / "prm").glob("*.safetensors"))


def test_the_last_step_alone(tiny_model_dir, tmp_path):
    args = PRMConfig(output_dir=str(tmp_path), train_on_last_step_only=True, step_separator="\n\n", **QUIET)
    trainer = PRMTrainer(str(tiny_model_dir), args=args, train_dataset=Dataset.from_list(SUMS))
    for row, given in zip(trainer.train_dataset, SUMS, strict=True):
        assert row["labels"] == [float(given["labels"][-1])] and sum(row["completion_mask"][0]) == 1
        assert row["completion_mask"][0][-1]


def test_steps_and_labels_that_differ_in_number_are_refused(tiny_model_dir, tmp_path):
    rows = write_rows(tmp_path / "steps.jsonl", [*SUMS[:2], {**SUMS[2], "id": "s3", "labels": [True] * 3}])
    args = PRMConfig(output_dir=str(tmp_path), **QUIET)
    with pytest.raises(UserError) as caught:
        PRMTrainer(str(tiny_model_dir), args=args, train_dataset=str(rows))
    assert "steps.jsonl, row 2 (id s3), columns 'completions', 'labels': 2 steps, but 3 labels" in str(
        caught.value
    )


def test_a_head_with_other_labels_is_refused(tmp_path):
    model = model_of()
    model.config.num_labels = 3
    with pytest.raises(UserError, match="3 labels, and 2 are needed"):
        PRMTrainer(
            model, args=PRMConfig(output_dir=str(tmp_path), **QUIET), processing_class=tiny_tokenizer()
        )


def test_truncated_rows_train_the_steps_that_are_left(tiny_model_dir, tmp_path):
    args = PRMConfig(output_dir=str(tmp_path), max_length=17, max_steps=1, logging_steps=1, **QUIET)
    trainer = PRMTrainer(str(tiny_model_dir), args=args, train_dataset=Dataset.from_list(SUMS))
    for row in trainer.train_dataset:
        assert len(row["labels"]) == sum(row["completion_mask"][0]) == 1
    trainer.train()
