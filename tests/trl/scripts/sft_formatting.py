import sys

from datasets import Dataset
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

model, output_dir = sys.argv[1:]


class Counter(TrainerCallback):
    steps = 0

    def on_step_end(self, args, state, control, model=None, processing_class=None, **kwargs):
        self.steps += 1


def formatting_func(row):
    return f"### Question: {row['question']}\n### Answer: {row['answer']}"


counter = Counter()
trainer = SFTTrainer(
    model,
    args=SFTConfig(output_dir=output_dir, max_steps=2, logging_steps=1, report_to="none", use_cpu=True),
    train_dataset=Dataset.from_list([{"question": f"{n} + 1?", "answer": f"{n + 1}"} for n in range(8)]),
    formatting_func=formatting_func,
    callbacks=[counter],
)
trainer.train()
assert counter.steps == 2
logged = trainer.state.log_history
