import sys

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, ModelConfig, ScriptArguments, TrlParser, get_peft_config

name, output_dir = sys.argv[1:]
parser = TrlParser((ScriptArguments, DPOConfig, ModelConfig))
script_args, training_args, model_args = parser.parse_args_and_config(
    [
        "--dataset_name",
        "pairs",
        "--model_name_or_path",
        name,
        "--output_dir",
        output_dir,
        "--max_steps",
        "2",
        "--learning_rate",
        "5e-5",
        "--beta",
        "0.2",
        "--logging_steps",
        "1",
        "--report_to",
        "none",
        "--use_cpu",
        "--eval_strategy",
        "steps",
        "--eval_steps",
        "2",
    ]
)
rows = Dataset.from_list(
    [{"prompt": f"{n} plus 1 is", "chosen": f" {n + 1}.", "rejected": f" {n}, I think."} for n in range(12)]
)
dataset = rows.train_test_split(test_size=0.25, seed=0)
trainer = DPOTrainer(
    AutoModelForCausalLM.from_pretrained(model_args.model_name_or_path),
    ref_model=None,
    args=training_args,
    train_dataset=dataset[script_args.dataset_train_split],
    eval_dataset=dataset[script_args.dataset_test_split],
    processing_class=AutoTokenizer.from_pretrained(model_args.model_name_or_path),
    peft_config=get_peft_config(model_args),
)
trainer.train()
metrics = trainer.evaluate()
trainer.log_metrics("eval", metrics)
trainer.save_metrics("eval", metrics)
trainer.save_model(training_args.output_dir)
logged = [*trainer.state.log_history, metrics]
