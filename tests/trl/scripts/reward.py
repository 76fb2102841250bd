import sys

import numpy as np
from datasets import Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl import RewardConfig, RewardTrainer

name, output_dir = sys.argv[1:]
pairs = [{"chosen": f"{n} plus 1 is {n + 1}.", "rejected": f"{n} plus 1 is {n}."} for n in range(12)]
dataset = Dataset.from_list(pairs).train_test_split(test_size=0.25, seed=0)


def compute_metrics(prediction):
    rewards = prediction.predictions
    return {"mean_of_two": float(np.mean(rewards))}


trainer = RewardTrainer(
    model=AutoModelForSequenceClassification.from_pretrained(name, num_labels=1),
    args=RewardConfig(
        output_dir=output_dir,
        max_steps=2,
        center_rewards_coefficient=0.01,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
    ),
    processing_class=AutoTokenizer.from_pretrained(name),
    train_dataset=dataset["train"],
    eval_dataset=dataset["test"],
    compute_metrics=compute_metrics,
)
trainer.train()
logged = [*trainer.state.log_history, trainer.evaluate()]
