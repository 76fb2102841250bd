import sys

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

name, output_dir = sys.argv[1:]
rows = [{"prompt": f"{n} plus 1 is", "chosen": f" {n + 1}.", "rejected": f" {n}, I think."} for n in range(8)]
trainer = ORPOTrainer(
    model=AutoModelForCausalLM.from_pretrained(name),
    args=ORPOConfig(
        output_dir=output_dir,
        max_steps=2,
        beta=0.2,
        max_length=256,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
    ),
    processing_class=AutoTokenizer.from_pretrained(name),
    train_dataset=Dataset.from_list(rows),
)
trainer.train()
logged = trainer.state.log_history
