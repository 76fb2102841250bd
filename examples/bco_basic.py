"""BCO with a LoRA adapter, on rows with `prompt`, `completion` and `label`, or on pairs.

python examples/bco_basic.py MODEL ROWS.jsonl
"""

import sys

from peft import LoraConfig

from burnish import BCOConfig, BCOTrainer

model, rows = sys.argv[1:3]
trainer = BCOTrainer(
    model=model,
    args=BCOConfig(output_dir="runs/bco", learning_rate=1e-5, beta=0.1, report_to="none"),
    train_dataset=rows,
    peft_config=LoraConfig(target_modules="all-linear"),
)
trainer.train()
trainer.save_model()
