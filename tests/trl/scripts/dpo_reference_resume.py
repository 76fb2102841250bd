import sys

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, create_reference_model, maybe_apply_chat_template

name, output_dir = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(name)
rows = Dataset.from_list(
    [
        {
            "prompt": [{"role": "user", "content": f"{n} plus 1?"}],
            "chosen": [{"role": "assistant", "content": f"{n + 1}"}],
            "rejected": [{"role": "assistant", "content": "No."}],
        }
        for n in range(8)
    ]
).map(maybe_apply_chat_template, fn_kwargs={"processing_class": tokenizer})


def trainer(steps):
    model = AutoModelForCausalLM.from_pretrained(name)
    return DPOTrainer(
        model=model,
        ref_model=create_reference_model(model),
        args=DPOConfig(
            output_dir=output_dir,
            max_steps=steps,
            save_strategy="steps",
            save_steps=1,
            per_device_train_batch_size=2,
            lr_scheduler_type="constant",
            logging_steps=1,
            report_to="none",
            use_cpu=True,
        ),
        processing_class=tokenizer,
        train_dataset=rows,
    )


trainer(1).train()
resumed = trainer(3)
resumed.train(resume_from_checkpoint=True)
assert resumed.state.global_step == 3
logged = resumed.state.log_history
