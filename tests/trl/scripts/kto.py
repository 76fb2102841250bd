import sys

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import KTOConfig, KTOTrainer, maybe_unpair_preference_dataset

name, output_dir = sys.argv[1:]
rows = [{"prompt": f"{n} plus 1 is", "chosen": f" {n + 1}.", "rejected": f" {n}, I think."} for n in range(8)]
model = AutoModelForCausalLM.from_pretrained(name)
trainer = KTOTrainer(
    model=model,
    ref_model=AutoModelForCausalLM.from_pretrained(name),
    args=KTOConfig(
        output_dir=output_dir,
        max_steps=2,
        per_device_train_batch_size=4,
        desirable_weight=1.0,
        undesirable_weight=1.0,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
    ),
    processing_class=AutoTokenizer.from_pretrained(name),
    train_dataset=maybe_unpair_preference_dataset(Dataset.from_list(rows), num_proc=None),
)
trainer.train()
logged = trainer.state.log_history
