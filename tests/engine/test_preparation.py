"""The rows of a trainer: names, several sources, streams; what a message and the run's record say of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import datasets
import pytest
import torch
from datasets import Dataset, IterableDataset

from burnish import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer
from burnish.data.sources.source import load_rows
from burnish.engine.step import shortened_origins
from burnish.errors import UserError
from tests.conftest import tiny_tokenizer, write_rows
from tests.invariants.conftest import llama

TEXTS = [{"text": f"{n} times {n} is {n * n}.", "id": f"t{n}"} for n in range(24)]
PAIRS = [{"prompt": f"{n} plus 1 is", "chosen": f" {n + 1}.", "rejected": f" {n}?"} for n in range(8)]


@pytest.fixture(autouse=True)
def quiet(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))


def settings(folder, **more) -> dict:
    return {
        "output_dir": str(folder / "out"),
        "max_steps": 3,
        "per_device_train_batch_size": 4,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
        "optim": "sgd",
        "learning_rate": 0.1,
        "train_sampling_strategy": "sequential",
        **more,
    }


def sft(folder, rows, **more) -> SFTTrainer:
    return SFTTrainer(
        llama(),
        args=SFTConfig(**settings(folder, **more)),
        train_dataset=rows,
        processing_class=tiny_tokenizer(),
    )


def weights(trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])


def record(folder) -> dict:
    return json.loads((folder / "out" / "preparation.json").read_text())


# Sources


def test_names_and_sources_are_mixed_and_rows_know_where_they_are_from(tmp_path):
    a = write_rows(tmp_path / "a.jsonl", TEXTS[:4])
    b = write_rows(tmp_path / "b.jsonl", [{"question": "Why?", "answer": "So."}] * 4)
    trainer = sft(tmp_path, [f"{a}:2", load_rows(b, columns={"prompt": "question", "completion": "answer"})])
    assert trainer.train_dataset["origin"][:] == [
        *[f"{a}, row {n} (id t{n})" for n in range(4)] * 2,
        *[f"{b}, row {n}" for n in range(4)],
    ]
    trainer.train()
    assert "8 of 8 rows of 2 sources kept; 12 in an epoch" in [row[1] for row in trainer.plan.rows]


def test_a_name_may_ask_for_a_sample(tmp_path):
    trainer = sft(tmp_path, str(write_rows(tmp_path / "a.jsonl", TEXTS)) + "#5")
    assert len(trainer.train_dataset) == 5


def test_the_run_records_what_became_of_every_row(tmp_path):
    rows = [*TEXTS[:5], {"text": None, "id": "bad"}, {"text": "", "id": "empty"}]
    trainer = SFTTrainer(
        llama(),
        args=SFTConfig(**settings(tmp_path, on_bad_row="skip", bad_row_budget=1)),
        train_dataset=str(write_rows(tmp_path / "train.jsonl", rows)),
        eval_dataset={"a": TEXTS[:2], "b": TEXTS[:3]},
        processing_class=tiny_tokenizer(),
    )
    trainer.train()
    found = record(tmp_path)
    (train,) = found["train"]
    assert (train["read"], train["kept"]) == (7, 5)
    assert sum(tally["count"] for tally in train["dropped"].values()) == 2
    assert [tally["rows"] for tally in train["faults"].values()] == [[5]]
    assert [found[name][0]["read"] for name in ("eval_a", "eval_b")] == [2, 3]


def test_labels_that_sft_does_not_use_are_spoken_of(tmp_path):
    rows = [{"prompt": "a", "completion": "b", "label": False}] * 4
    trainer = sft(tmp_path, rows)
    trainer.train()
    said = [row[1] for row in trainer.plan.rows if "label" in row[1]]
    assert said == [
        "prompt and completion, from columns prompt, completion; not used: label",
        "note: the column 'label' is not used: completions that it calls bad are trained like the others; "
        "use kto, which learns from both, or filter them out",
    ]


def test_a_step_that_cannot_be_applied_names_its_rows(tmp_path, caplog):
    trainer = sft(tmp_path, str(write_rows(tmp_path / "a.jsonl", TEXTS)), max_steps=1)
    trainer.loss = lambda logprob: logprob * torch.nan
    with caplog.at_level("WARNING", logger="burnish"):
        trainer.train()
    named = ", ".join(f"{n} (id t{n})" for n in range(4))
    assert f"its gradient is not finite ({tmp_path}/a.jsonl, rows {named})" in caplog.text


def written(row: dict) -> str:
    return f"{row['question']} {row['answer']}"


@pytest.mark.parametrize("kind", ["name", "dataset", "stream"])
def test_a_function_of_ones_own_formats_rows_wherever_they_are_from(kind, tmp_path):
    rows = [{"question": f"{n}?", "answer": f"{n}.", "prompt": "x", "completion": "y"} for n in range(4)]
    given = {
        "name": str(write_rows(tmp_path / "a.jsonl", rows)),
        "dataset": Dataset.from_list(rows),
        "stream": Dataset.from_list(rows).to_iterable_dataset(),
    }
    trainer = SFTTrainer(
        llama(),
        args=SFTConfig(**settings(tmp_path)),
        train_dataset=given[kind],
        formatting_func=written,
        processing_class=tiny_tokenizer(),
    )
    texts = [trainer.processing_class.decode(row["completion_ids"][0]) for row in trainer.train_dataset]
    assert texts == [f"{n}? {n}.<|im_end|>" for n in range(4)]


def test_a_function_that_fails_names_the_row(tmp_path):
    path = write_rows(tmp_path / "a.jsonl", [{"question": "a", "answer": "b"}, {"question": "a", "id": 7}])
    with pytest.raises(
        UserError, match=r"a.jsonl, row 1 \(id 7\): formatting_func raised ValueError: no answer"
    ):
        SFTTrainer(
            llama(),
            args=SFTConfig(**settings(tmp_path)),
            train_dataset=str(path),
            formatting_func=answered,
            processing_class=tiny_tokenizer(),
        )


def answered(row: dict) -> str:
    if row["answer"] is None:
        raise ValueError("no answer")
    return row["answer"]


@pytest.mark.parametrize(
    ("origins", "text"),
    [
        (["a.jsonl, row 3"], "a.jsonl, row 3"),
        (["a, row 3 (id 1)", "b, row 0", "a, row 4"], "a, rows 3 (id 1), 4; b, row 0"),
        (["row 7", "row 9"], "rows 7, 9"),
        ([f"a, row {n}" for n in range(10)], "a, rows 0, 1, 2, 3, 4, 5, 6, 7 and 2 more"),
    ],
)
def test_origins_in_a_line(origins, text):
    assert shortened_origins(origins) == text


# Streams


def test_a_stream_trains_as_the_dataset_does(tmp_path):
    whole, streamed = Dataset.from_list(TEXTS), Dataset.from_list(TEXTS).to_iterable_dataset()
    trainers = [sft(tmp_path, rows, max_steps=9) for rows in (whole, streamed)]  # more than an epoch
    for trainer in trainers:
        trainer.train()
    assert torch.equal(weights(trainers[0]), weights(trainers[1]))


def test_a_stream_is_counted_as_it_goes(tmp_path, capsys):
    def rows():
        for n in range(1000):
            yield {"text": 1 if n % 100 == 50 else f"text {n}"}

    stream = IterableDataset.from_generator(rows)
    trainer = sft(tmp_path, stream, max_steps=60, on_bad_row="skip", bad_row_budget=0.05)
    trainer.train()
    (train,) = record(tmp_path)["train"]
    assert train["read"] == 300 and train["kept"] == 297  # 240 rows were needed, and a batch is read ahead
    assert sum(tally["count"] for tally in train["dropped"].values()) == 3
    shown = " ".join(capsys.readouterr().out.split())
    assert "a stream; rows are read, checked and counted as they come" in shown
    assert "the stream: 297 of 300 rows kept" in shown


def test_a_stream_of_pairs_trains_a_reward_model(tmp_path):
    trainer = RewardTrainer(
        llama(reward=True),
        args=RewardConfig(**settings(tmp_path, train_sampling_strategy="random")),
        train_dataset=Dataset.from_list(PAIRS).to_iterable_dataset(),
        processing_class=tiny_tokenizer(),
    )
    trainer.train()
    assert ("order", "drawn out of 1,000 rows at a time") in [row[:2] for row in trainer.plan.rows]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"max_steps": -1}, "max_steps: training on a stream needs max_steps"),
        ({"dataloader_num_workers": 2}, "dataloader_num_workers: a stream's rows are read"),
        ({"packing": True}, "packing: packs are chosen over all rows"),
    ],
)
def test_what_a_stream_cannot_do(more, message, tmp_path):
    with pytest.raises(UserError) as error:
        sft(tmp_path, Dataset.from_list(TEXTS).to_iterable_dataset(), **more)
    assert str(error.value).startswith(message)


def test_an_evaluation_reads_a_stream_in_full(tmp_path):
    trainer = SFTTrainer(
        llama(),
        args=SFTConfig(**settings(tmp_path)),
        train_dataset=TEXTS,
        eval_dataset={"held_out": Dataset.from_list(TEXTS).to_iterable_dataset()},
        processing_class=tiny_tokenizer(),
    )
    (report,) = trainer.preparation_reports["eval_held_out"]
    assert report.read == len(TEXTS) and "a stream, read in full" in str(report)
    evaluated = trainer.evaluate()["eval_held_out_loss"]
    assert evaluated == trainer.evaluate(Dataset.from_list(TEXTS))["eval_loss"]


def dpo(folder, rows, **more):
    model, options = llama(), settings(folder) | {"learning_rate": 0.1} | more
    trainer = DPOTrainer(
        model, args=DPOConfig(**options), train_dataset=rows, processing_class=tiny_tokenizer()
    )
    trainer.train()
    return weights(trainer), trainer.reference.kind


def test_full_dpo_on_a_stream_asks_a_copy_of_the_model(tmp_path):
    rows = Dataset.from_list(PAIRS)
    streamed, kind = dpo(tmp_path / "stream", rows.to_iterable_dataset())
    whole, other_kind = dpo(tmp_path / "whole", rows)
    assert (kind, other_kind) == ("frozen copy", "precomputed")
    torch.testing.assert_close(streamed, whole)
    with pytest.raises(UserError, match=r"a stream's rows are not known then\n  fix: leave it out"):
        dpo(tmp_path, rows.to_iterable_dataset(), precompute_ref_log_probs=True)


# Several processes

WORKER = """
import sys, torch
from datasets import Dataset, IterableDataset
from tests.conftest import tiny_tokenizer
from tests.engine.test_preparation import TEXTS, sft, weights
from pathlib import Path

batch, streamed, folder = int(sys.argv[1]), sys.argv[2] == "stream", Path(sys.argv[3])
rows = Dataset.from_list(TEXTS + [{"text": None, "id": "bad"}, {"text": "", "id": "empty"}])
rows = rows.to_iterable_dataset() if streamed else rows
trainer = sft(folder, rows, per_device_train_batch_size=batch, on_bad_row="skip", bad_row_budget=1,
              ddp_find_unused_parameters=False, max_grad_norm=0.0)
trainer.train()
(report,) = trainer.preparation_reports["train"]
assert (report.read, report.kept, report.dropped_rows) == (26, 24, 2), report
if trainer.is_world_process_zero():
    torch.save(weights(trainer), folder / "weights.pt")
"""


def run(folder, processes, batch, kind) -> tuple[torch.Tensor, dict]:
    folder.mkdir()
    (folder / "worker.py").write_text(WORKER)
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)] if processes > 1 else []
    if launch:
        launch += ["--master_port", str(28500 + os.getpid() % 1000)]
    command = [sys.executable, *launch, str(folder / "worker.py"), str(batch), kind, str(folder)]
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(folder / "weights.pt"), record(folder)


@pytest.mark.parametrize("kind", ["whole", "stream"])
def test_two_processes_read_what_one_reads_and_take_its_steps(kind, tmp_path):
    one, record_of_one = run(tmp_path / "one", 1, 8, kind)
    two, record_of_two = run(tmp_path / "two", 2, 4, kind)
    assert (two - one).norm() <= 1e-12 * one.norm()
    assert record_of_two == record_of_one
    (train,) = record_of_one["train"]
    assert train["kept"] + sum(tally["count"] for tally in train["dropped"].values()) == train["read"] == 26
