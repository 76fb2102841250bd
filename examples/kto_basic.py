"""KTO with a LoRA adapter, on rows with `prompt`, `completion` and `label`, or on pairs.

python examples/kto_basic.py MODEL ROWS.jsonl
"""

import sys

from peft import LoraConfig

from burnish import KTOConfig, KTOTrainer

model, rows = sys.argv[1:3]
trainer = KTOTrainer(
    model=model,
    args=KTOConfig(
        output_dir="runs/kto",
        learning_rate=1e-5,
        desirable_weight=1.0,
        undesirable_weight=1.0,
        report_to="none",
    ),
    train_dataset=rows,
    peft_config=LoraConfig(target_modules="all-linear"),
)
trainer.train()
trainer.save_model()
