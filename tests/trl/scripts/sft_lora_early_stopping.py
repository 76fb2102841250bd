import sys

from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, EarlyStoppingCallback
from trl import SFTConfig, SFTTrainer

name, output_dir = sys.argv[1:]
dataset = Dataset.from_list([{"prompt": f"{n} plus 1 is", "completion": f" {n + 1}."} for n in range(12)])
dataset = dataset.train_test_split(test_size=0.25, seed=0)
trainer = SFTTrainer(
    model=AutoModelForCausalLM.from_pretrained(name),
    processing_class=AutoTokenizer.from_pretrained(name),
    args=SFTConfig(
        output_dir=output_dir,
        max_steps=4,
        completion_only_loss=True,
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        logging_steps=1,
        report_to="none",
        use_cpu=True,
    ),
    train_dataset=dataset["train"],
    eval_dataset=dataset["test"],
    peft_config=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
    callbacks=[EarlyStoppingCallback(early_stopping_patience=2)],
)
trainer.train()
trainer.save_model()
logged = trainer.state.log_history
