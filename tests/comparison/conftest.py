"""Two tiny models that say different things, an adapter of one, and a reward model."""

import json
from pathlib import Path

import pytest

from tests.conftest import save_tiny_model, write_rows

TASK = '''
def grade(answer, **columns):
    """Row columns reach the function; so does the answer of the model."""
    return len(answer) > columns["least"]

def vowels(prompt, answer, reference, row):
    assert row["answer"] == "of the row"
    return sum(letter in "aeiou" for letter in answer) if row["least"] else None

def broken(answer):
    raise KeyError("nothing")
'''


def rows(count: int = 6) -> list[dict]:
    return [
        {
            "prompt": [{"role": "user", "content": f"Say {number}"}],
            "chosen": [{"role": "assistant", "content": f"{number}!"}],
            "rejected": [{"role": "assistant", "content": "No."}],
            "least": number,
            "answer": "of the row",
        }
        for number in range(count)
    ]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `one`, `two`, `adapter` (of one), `reward`, `rows.jsonl` and `task.py`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("compared")
    save_tiny_model(folder / "one", initializer_range=0.3)
    save_tiny_model(folder / "two", initializer_range=0.2)
    save_tiny_model(
        folder / "reward", model_class="LlamaForSequenceClassification", num_labels=1, initializer_range=0.3
    )
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(folder / "one")
    adapted = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, r=4))
    adapted.save_pretrained(folder / "adapter")
    settings = folder / "adapter" / "adapter_config.json"
    known = json.loads(settings.read_text())
    settings.write_text(json.dumps(known | {"base_model_name_or_path": str(folder / "one")}))
    AutoTokenizer.from_pretrained(folder / "one").save_pretrained(folder / "adapter")
    write_rows(folder / "rows.jsonl", rows())
    (folder / "task.py").write_text(TASK)
    return folder
