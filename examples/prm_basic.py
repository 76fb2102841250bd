"""A process reward model, from rows with `prompt`, `completions` (the steps) and `labels`.

python examples/prm_basic.py MODEL STEPS.jsonl
"""

import sys

from datasets import load_dataset

from burnish import PRMConfig, PRMTrainer

model, rows = sys.argv[1:3]
dataset = load_dataset("json", data_files=rows, split="train").train_test_split(0.1, seed=0)
trainer = PRMTrainer(
    model=model,
    args=PRMConfig(output_dir="runs/prm", eval_strategy="epoch", report_to="none"),
    train_dataset=dataset["train"],
    eval_dataset=dataset["test"],
)
trainer.train()
trainer.save_model()
