"""A script written for TRL runs after changing nothing but the import."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import json, sys
from datasets import Dataset, load_dataset
from peft import LoraConfig
from LIBRARY import (
    DPOConfig, DPOTrainer, ModelConfig, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer, get_peft_config,
)
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

model_name, chats, votes, out = sys.argv[1:]
shared = dict(
    max_steps=2, logging_steps=1, per_device_train_batch_size=4, gradient_accumulation_steps=1,
    gradient_checkpointing=True, report_to="none", save_strategy="no", use_cpu=True, max_length=256,
)

# Supervised fine-tuning on chats, of a model by name.
sft = SFTTrainer(
    model=model_name,
    args=SFTConfig(output_dir=f"{out}/sft", packing=True, assistant_only_loss=ASSISTANT_ONLY, **shared),
    train_dataset=load_dataset("json", data_files=chats, split="train"),
    peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"),
)
sft.train()
sft.save_model()

# A person's own columns, renamed with Dataset.map.
def rename(row):
    return {"prompt": row["question"], "chosen": row["good_answer"], "rejected": row["bad_answer"]}

pairs = load_dataset("json", data_files=votes, split="train")
pairs = pairs.map(rename, remove_columns=pairs.column_names).train_test_split(test_size=0.25, seed=0)

tokenizer = AutoTokenizer.from_pretrained(model_name)
reward = RewardTrainer(
    model=AutoModelForSequenceClassification.from_pretrained(model_name, num_labels=1),
    args=RewardConfig(output_dir=f"{out}/reward", center_rewards_coefficient=0.01, **shared),
    processing_class=tokenizer,
    train_dataset=pairs["train"],
    eval_dataset=pairs["test"],
)
reward.train()
print(json.dumps(reward.evaluate()))

peft_config = get_peft_config(ModelConfig(model_name_or_path=model_name, use_peft=True, lora_r=4))
dpo = DPOTrainer(
    model=AutoModelForCausalLM.from_pretrained(model_name),
    ref_model=None,
    args=DPOConfig(output_dir=f"{out}/dpo", beta=0.1, loss_type="sigmoid", learning_rate=5e-5, **shared),
    processing_class=tokenizer,
    train_dataset=pairs["train"],
    eval_dataset=pairs["test"],
    peft_config=peft_config,
)
dpo.train()
dpo.save_model(f"{out}/dpo")
print(json.dumps(dpo.evaluate()))
"""


def test_a_script_written_for_trl(tiny_model_dir, chats_file, tmp_path):
    votes = tmp_path / "votes.jsonl"
    rows = [
        {"question": f"{n} plus 1?", "good_answer": f"{n + 1}", "bad_answer": "No.", "votes": n}
        for n in range(16)
    ]
    votes.write_text("".join(json.dumps(row) + "\n" for row in rows))
    # The one difference: TRL derives the assistant's turns from markers that this template has not.
    script = SCRIPT.replace("LIBRARY", "burnish").replace("ASSISTANT_ONLY", "True")
    command = [sys.executable, "-c", script, str(tiny_model_dir), str(chats_file), str(votes), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    printed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"')]
    assert {"eval_loss", "eval_accuracy", "eval_margin", "eval_mean_reward"} <= printed[0].keys()
    assert {"eval_loss", "eval_rewards/chosen", "eval_rewards/margins", "eval_logps/rejected"} <= printed[
        1
    ].keys()
    assert (tmp_path / "sft" / "adapter_model.safetensors").is_file()
    assert (tmp_path / "dpo" / "adapter_config.json").is_file()
