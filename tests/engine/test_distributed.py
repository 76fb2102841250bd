"""Two processes take the steps and the evaluation of one, however unevenly the rows fall."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from burnish.engine.ranks import check_launch
from burnish.errors import UserError

WORKER = """
import sys, torch
from datasets import Dataset, IterableDataset
from burnish import BCOConfig, BCOTrainer, DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from burnish import ORPOConfig, ORPOTrainer, SFTConfig, SFTTrainer
from tests.conftest import tiny_tokenizer
from tests.invariants.conftest import documents, judged, llama, pairs
from tests.invariants.test_steps import reference_of

folder = sys.argv[1]
aot = {"loss_type": ["aot", "sft"], "loss_weights": [1.0, 0.5]}
even = {"max_steps": 1}
uneven = {"num_train_epochs": 1, "per_device_train_batch_size": 4}  # the last step has 1 row, or 1 of 4
cases = {
    "sft": (SFTTrainer, SFTConfig, documents(7), even),
    "dpo": (DPOTrainer, DPOConfig, pairs(8), even),
    "aot": (DPOTrainer, DPOConfig, pairs(8), even | aot),
    "kto": (KTOTrainer, KTOConfig, judged(), even),
    "bco": (BCOTrainer, BCOConfig, judged(), even),
    "orpo": (ORPOTrainer, ORPOConfig, pairs(8), even),
    "uneven sft": (SFTTrainer, SFTConfig, documents(5), uneven),
    "uneven aot": (DPOTrainer, DPOConfig, pairs(5), uneven | aot),
    "uneven kto": (KTOTrainer, KTOConfig, judged().select(range(6)), uneven),
    "uneven bco": (BCOTrainer, BCOConfig, judged().select(range(5)), uneven),
    "packs": (SFTTrainer, SFTConfig, documents(5), uneven | {"packing": True, "max_length": 30}),
    "stream": (SFTTrainer, SFTConfig, documents(5), {"max_steps": 2, "per_device_train_batch_size": 4}),
}


def run(name):
    kind, config, rows, options = cases[name]
    model = llama()
    reference = {"ref_model": reference_of(torch.float64)} if config in (KTOConfig, BCOConfig) else {}
    options = {"per_device_train_batch_size": len(rows) // 2 * 2, "save_strategy": "no"} | options
    args = config(
        output_dir=folder, report_to="none", disable_tqdm=True, use_cpu=True, logging_steps=1, optim="sgd",
        learning_rate=0.1, lr_scheduler_type="constant", max_grad_norm=0.0,
        train_sampling_strategy="sequential", per_device_eval_batch_size=3, tokens_per_forward=30,
        ddp_find_unused_parameters=False, **options,
    )
    args.per_device_train_batch_size //= args.world_size
    dataset = rows.select(range(len(rows) // 2 * 2)) if "max_steps" in options else rows
    if name == "stream":
        texts = [{"prompt": f"{n} is", "completion": " n" * n} for n in range(1, 6)]
        dataset = Dataset.from_list(texts).to_iterable_dataset()
    found = []
    trainer = kind(model, args=args, train_dataset=dataset, eval_dataset=rows, **reference,
                   processing_class=tiny_tokenizer(), compute_metrics=lambda p: found.append(p) or {})
    trainer.train()
    metrics = trainer.evaluate()
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    logs = [(log["loss"], log["num_tokens"]) for log in trainer.state.log_history if "loss" in log]
    numbers = torch.tensor([*logs, (metrics["eval_loss"], 0.0)], dtype=torch.float64)
    return weights, numbers, *(torch.tensor(values).double() for values in found[-1])


def sharded():
    '''An evaluation in which one rank has rows that take several forwards, and the other one short row.'''
    rows = [{"prompt_ids": [], "completion_ids": [[5] * n], "completion_mask": [[True] * n], "row": n}
            for n in (28, 29, 9)]
    args = SFTConfig(output_dir=folder, report_to="none", use_cpu=True, per_device_eval_batch_size=2,
                     tokens_per_forward=30, bf16=False)
    model = llama().float()
    rows = Dataset.from_list(rows)
    trainer = SFTTrainer(model, args=args, eval_dataset=rows, processing_class=tiny_tokenizer())
    trainer.get_ready()
    if args.world_size > 1:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
        fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    return (torch.tensor([trainer.evaluate()["eval_loss"]]),)


results = {name: run(name) for name in cases} | {"sharded": sharded()}
if int(__import__("os").environ.get("RANK", 0)) == 0:
    torch.save(results, f"{folder}/result.pt")
"""

CASES = ("sft", "dpo", "aot", "kto", "bco", "orpo")
CASES += ("uneven sft", "uneven aot", "uneven kto", "uneven bco", "packs", "stream", "sharded")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return [run(processes, tmp_path_factory.mktemp("ranks")) for processes in (1, 2)]


def run(processes, folder):
    (folder / "worker.py").write_text(WORKER)
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)] if processes > 1 else []
    if launch:
        launch += ["--master_port", str(29500 + os.getpid() % 1000)]
    command = [sys.executable, *launch, str(folder / "worker.py"), str(folder)]
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(folder / "result.pt")


@pytest.mark.parametrize("case", CASES)
def test_two_processes_do_what_one_does(case, results):
    one, two = (found[case] for found in results)
    if len(one) > 1:
        assert (two[0] - one[0]).norm() <= 1e-12 * one[0].norm()
    for expected, value in zip(one[-3:], two[-3:], strict=True):  # logs, predictions, labels
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    ("ranks", "environment", "where"),
    [
        (1, {}, None),
        (2, {"WORLD_SIZE": "2"}, None),
        (1, {"MASTER_ADDR": "somewhere", "MASTER_PORT": "29500"}, None),
        (1, {"WORLD_SIZE": "2"}, "WORLD_SIZE"),
        (
            1,
            dict.fromkeys(("MASTER_ADDR", "MASTER_PORT"), "1") | {"ACCELERATE_USE_CPU": "True"},
            "--num_proc",
        ),
    ],
)
def test_processes_that_know_nothing_of_each_other_are_refused(ranks, environment, where, monkeypatch):
    for name in ("WORLD_SIZE", "ACCELERATE_USE_CPU", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if where is None:
        check_launch(SimpleNamespace(num_processes=ranks))
    else:
        with pytest.raises(UserError, match=where):
            check_launch(SimpleNamespace(num_processes=ranks))
