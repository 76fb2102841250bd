"""ORPO with a LoRA adapter, on rows with `prompt`, `chosen` and `rejected`.

python examples/orpo_basic.py MODEL PAIRS.jsonl
"""

import sys

from peft import LoraConfig

from burnish import ORPOConfig, ORPOTrainer

model, rows = sys.argv[1:3]
trainer = ORPOTrainer(
    model=model,
    args=ORPOConfig(output_dir="runs/orpo", learning_rate=1e-5, beta=0.1, report_to="none"),
    train_dataset=rows,
    peft_config=LoraConfig(target_modules="all-linear"),
)
trainer.train()
trainer.save_model()
