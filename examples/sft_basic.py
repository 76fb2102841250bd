"""Supervised fine-tuning on chats, rows with `messages`.

python examples/sft_basic.py MODEL CHATS.jsonl
"""

import sys

from datasets import load_dataset

from burnish import SFTConfig, SFTTrainer

model, rows = sys.argv[1:3]
dataset = load_dataset("json", data_files=rows, split="train").train_test_split(0.1, seed=0)
trainer = SFTTrainer(
    model=model,
    args=SFTConfig(output_dir="runs/sft", num_train_epochs=1, eval_strategy="epoch", report_to="none"),
    train_dataset=dataset["train"],
    eval_dataset=dataset["test"],
)
trainer.train()
trainer.save_model()
