"""Two processes take the step that one takes, however unevenly the rows fall."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

WORKER = """
import sys, torch
from burnish import BCOConfig, BCOTrainer, DPOConfig, DPOTrainer, KTOConfig, KTOTrainer
from burnish import ORPOConfig, ORPOTrainer, SFTConfig, SFTTrainer
from tests.conftest import tiny_tokenizer
from tests.invariants.conftest import documents, judged, llama, pairs
from tests.invariants.test_steps import reference_of

method, batch, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
methods = {
    "sft": (SFTTrainer, SFTConfig, documents(7), {}),
    "dpo": (DPOTrainer, DPOConfig, pairs(8), {}),
    "aot": (DPOTrainer, DPOConfig, pairs(8), {"loss_type": ["aot", "sft"], "loss_weights": [1.0, 0.5]}),
    "kto": (KTOTrainer, KTOConfig, judged(), {}),
    "bco": (BCOTrainer, BCOConfig, judged(), {}),
    "orpo": (ORPOTrainer, ORPOConfig, pairs(8), {}),
}
more = {"ref_model": reference_of(torch.float64)} if method in ("kto", "bco") else {}
kind, config, rows, options = methods[method]
model = llama()
args = config(
    output_dir=folder, report_to="none", save_strategy="no", disable_tqdm=True, use_cpu=True, max_steps=1,
    logging_steps=1, optim="sgd", learning_rate=0.1, lr_scheduler_type="constant", max_grad_norm=0.0,
    train_sampling_strategy="sequential", per_device_train_batch_size=batch, per_device_eval_batch_size=3,
    tokens_per_forward=30, ddp_find_unused_parameters=False, **options,
)
trainer = kind(model, args=args, train_dataset=rows.select(range(len(rows) // 2 * 2)), eval_dataset=rows,
               processing_class=tiny_tokenizer(), **more)
trainer.train()
metrics = trainer.evaluate()
if trainer.is_world_process_zero():
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    log = trainer.state.log_history[0]
    numbers = torch.tensor([log["loss"], log["num_tokens"], metrics["eval_loss"]], dtype=torch.float64)
    torch.save((weights, numbers), f"{folder}/result.pt")
"""


def run(method, processes, batch, folder):
    folder.mkdir()
    (folder / "worker.py").write_text(WORKER)
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)] if processes > 1 else []
    if launch:
        launch += ["--master_port", str(29500 + os.getpid() % 1000)]
    command = [sys.executable, *launch, str(folder / "worker.py"), method, str(batch), str(folder)]
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(folder / "result.pt")


@pytest.mark.parametrize(
    ("method", "rows"), [("sft", 6), ("dpo", 8), ("aot", 8), ("kto", 8), ("bco", 8), ("orpo", 8)]
)
def test_two_processes_take_the_step_of_one(method, rows, tmp_path):
    one, numbers = run(method, 1, rows, tmp_path / "one")
    two, other_numbers = run(method, 2, rows // 2, tmp_path / "two")
    assert (two - one).norm() <= 1e-12 * one.norm()
    torch.testing.assert_close(other_numbers, numbers, rtol=1e-6, atol=0)
