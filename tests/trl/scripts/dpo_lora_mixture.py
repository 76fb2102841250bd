import sys

from datasets import Dataset
from peft import LoraConfig
from trl import DPOConfig, DPOTrainer, extract_prompt

model, output_dir = sys.argv[1:]
rows = [{"chosen": f"{n} plus 1 is {n + 1}.", "rejected": f"{n} plus 1 is what?"} for n in range(8)]
trainer = DPOTrainer(
    model=model,
    args=DPOConfig(
        output_dir=output_dir,
        max_steps=2,
        loss_type=["sigmoid", "bco_pair", "sft"],
        loss_weights=[0.8, 0.2, 1.0],
        logging_steps=1,
        report_to="none",
        use_cpu=True,
    ),
    train_dataset=Dataset.from_list(rows).map(extract_prompt),
    peft_config=LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
)
trainer.train()
trainer.save_model()
logged = trainer.state.log_history
