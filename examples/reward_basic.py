"""A reward model, from rows with `prompt`, `chosen` and `rejected`.

python examples/reward_basic.py MODEL PAIRS.jsonl
"""

import sys

from datasets import load_dataset

from burnish import RewardConfig, RewardTrainer

model, rows = sys.argv[1:3]
dataset = load_dataset("json", data_files=rows, split="train").train_test_split(0.1, seed=0)
trainer = RewardTrainer(
    model=model,
    args=RewardConfig(output_dir="runs/reward", learning_rate=1e-5, eval_strategy="epoch", report_to="none"),
    train_dataset=dataset["train"],
    eval_dataset=dataset["test"],
)
trainer.train()
trainer.save_model()
