import sys

from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.experimental.cpo import CPOConfig, CPOTrainer

name, output_dir = sys.argv[1:]
rows = [{"prompt": f"{n} plus 1 is", "chosen": f" {n + 1}.", "rejected": f" {n}, I think."} for n in range(8)]
trainer = CPOTrainer(
    model=AutoModelForCausalLM.from_pretrained(name),
    args=CPOConfig(
        output_dir=output_dir,
        max_steps=2,
        loss_type="simpo",
        cpo_alpha=0.0,
        simpo_gamma=0.5,
        max_length=256,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
    ),
    processing_class=AutoTokenizer.from_pretrained(name),
    train_dataset=Dataset.from_list(rows),
    peft_config=LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
)
trainer.train()
logged = trainer.state.log_history
