"""SimPO with a LoRA adapter, on rows with `prompt`, `chosen` and `rejected`.

python examples/cpo_basic.py MODEL PAIRS.jsonl
"""

import sys

from peft import LoraConfig

from burnish import CPOConfig, CPOTrainer

model, rows = sys.argv[1:3]
trainer = CPOTrainer(
    model=model,
    args=CPOConfig(
        output_dir="runs/cpo",
        learning_rate=1e-5,
        loss_type="simpo",
        cpo_alpha=0.0,
        beta=2.0,
        simpo_gamma=1.0,
        report_to="none",
    ),
    train_dataset=rows,
    peft_config=LoraConfig(target_modules="all-linear"),
)
trainer.train()
trainer.save_model()
