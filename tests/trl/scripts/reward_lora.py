import sys

from datasets import Dataset
from peft import LoraConfig
from trl import RewardConfig, RewardTrainer

model, output_dir = sys.argv[1:]
question = [{"role": "user", "content": "Which is larger, 2 or 3?"}]
rows = [
    {
        "prompt": question,
        "chosen": [{"role": "assistant", "content": "3"}],
        "rejected": [{"role": "assistant", "content": "2"}],
    }
] * 8
trainer = RewardTrainer(
    model=model,
    args=RewardConfig(output_dir=output_dir, max_steps=2, logging_steps=1, report_to="none", use_cpu=True),
    train_dataset=Dataset.from_list(rows),
    peft_config=LoraConfig(r=4, target_modules="all-linear", task_type="SEQ_CLS", modules_to_save=["score"]),
)
trainer.train()
trainer.save_model()
logged = trainer.state.log_history
