import sys

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl.experimental.gkd import GKDConfig, GKDTrainer

name, output_dir = sys.argv[1:]
chats = [
    [{"role": "user", "content": f"Count to {n}."}, {"role": "assistant", "content": "1 " * n}]
    for n in range(1, 9)
]
trainer = GKDTrainer(
    model=AutoModelForCausalLM.from_pretrained(name),
    teacher_model=AutoModelForCausalLM.from_pretrained(name),
    args=GKDConfig(
        output_dir=output_dir,
        max_steps=2,
        lmbda=0.0,
        beta=0.5,
        max_length=256,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
    ),
    processing_class=AutoTokenizer.from_pretrained(name),
    train_dataset=Dataset.from_dict({"messages": chats}),
)
trainer.train()
logged = trainer.state.log_history
