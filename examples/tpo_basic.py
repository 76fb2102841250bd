"""TPO with a LoRA adapter, on rows with `prompt`, `chosen`, `rejected` and a gold `reference`.

python examples/tpo_basic.py MODEL TRIPLES.jsonl
"""

import sys

from peft import LoraConfig

from burnish import TPOConfig, TPOTrainer

model, rows = sys.argv[1:3]
trainer = TPOTrainer(
    model=model,
    args=TPOConfig(output_dir="runs/tpo", learning_rate=1e-5, tpo_alpha=1.0, report_to="none"),
    train_dataset=rows,
    peft_config=LoraConfig(target_modules="all-linear"),
)
trainer.train()
trainer.save_model()
