"""DPO with a LoRA adapter, on rows with `prompt`, `chosen` and `rejected`.

python examples/dpo_basic.py MODEL PAIRS.jsonl
"""

import sys

from datasets import load_dataset
from peft import LoraConfig

from burnish import DPOConfig, DPOTrainer

model, rows = sys.argv[1:3]
dataset = load_dataset("json", data_files=rows, split="train").train_test_split(0.1, seed=0)
trainer = DPOTrainer(
    model=model,
    args=DPOConfig(
        output_dir="runs/dpo", learning_rate=1e-5, beta=0.1, eval_strategy="epoch", report_to="none"
    ),
    train_dataset=dataset["train"],
    eval_dataset=dataset["test"],
    peft_config=LoraConfig(target_modules="all-linear"),
)
trainer.train()
trainer.save_model()
