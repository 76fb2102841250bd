import sys
from pathlib import Path

from datasets import Dataset, load_dataset
from trl import (
    DatasetMixtureConfig,
    ModelConfig,
    ScriptArguments,
    SFTConfig,
    SFTTrainer,
    TrlParser,
    get_dataset,
    get_peft_config,
    get_quantization_config,
)

model, output_dir = sys.argv[1:]
folder = Path(output_dir)
folder.mkdir(parents=True, exist_ok=True)
for name in ("one", "two"):
    Dataset.from_list([{"text": f"{name} {n}"} for n in range(8)]).to_json(folder / f"{name}.jsonl")
(folder / "config.yaml").write_text(f"""
model_name_or_path: {model}
datasets:
  - {{path: json, data_files: {folder}/one.jsonl, fraction: 0.5}}
  - {{path: json, data_files: {folder}/two.jsonl, fraction: 0.5}}
output_dir: {folder}/trained
learning_rate: 1e-4
max_steps: 2
logging_steps: 1
report_to: none
use_cpu: true
use_peft: true
lora_target_modules: [q_proj, v_proj]
""")

parser = TrlParser((ScriptArguments, SFTConfig, ModelConfig, DatasetMixtureConfig))
script_args, training_args, model_args, dataset_args = parser.parse_args_and_config(
    ["--config", str(folder / "config.yaml"), "--per_device_train_batch_size", "2", "--lora_r", "4"]
)
training_args.model_init_kwargs = {
    "revision": model_args.model_revision,
    "attn_implementation": model_args.attn_implementation,
    "dtype": model_args.dtype,
}
if dataset_args.datasets and not script_args.dataset_name:
    dataset = get_dataset(dataset_args)
else:
    dataset = load_dataset(script_args.dataset_name, name=script_args.dataset_config)
trainer = SFTTrainer(
    model=model_args.model_name_or_path,
    args=training_args,
    train_dataset=dataset[script_args.dataset_train_split],
    eval_dataset=dataset[script_args.dataset_test_split] if training_args.eval_strategy != "no" else None,
    peft_config=get_peft_config(model_args),
    quantization_config=get_quantization_config(model_args),
)
trainer.train()
trainer.save_model(training_args.output_dir)
logged = trainer.state.log_history
