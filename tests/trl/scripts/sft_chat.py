import sys

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

model, output_dir = sys.argv[1:]
chats = [
    [{"role": "user", "content": f"Count to {n}."}, {"role": "assistant", "content": "1 " * n}]
    for n in range(1, 9)
]
trainer = SFTTrainer(
    model=model,
    args=SFTConfig(
        output_dir=output_dir,
        max_steps=2,
        max_length=256,
        packing=True,
        gradient_checkpointing=True,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
        push_to_hub=False,
    ),
    train_dataset=Dataset.from_dict({"messages": chats}),
)
trainer.train()
trainer.save_model(output_dir)
logged = trainer.state.log_history
