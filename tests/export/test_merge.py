"""A merged model says what base and adapters said together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from burnish.errors import UserError
from burnish.export.merge import merge_adapter
from burnish.export.stack import Stack
from tests.conftest import save_tiny_model

IDS = torch.arange(3, 43).reshape(2, 20)


def add_adapter(base: Path, folder: Path, task: str = "CAUSAL_LM", *, loader=AutoModelForCausalLM, **lora):
    """Put a random adapter on what is in `base`, save it to `folder`, and give the model."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    labels = {"num_labels": 1} if task == "SEQ_CLS" else {}
    model = loader.from_pretrained(base, **labels)
    lora = {"target_modules": ["q_proj", "v_proj", "down_proj"], **lora}
    model = get_peft_model(model, LoraConfig(task_type=task, r=4, init_lora_weights=False, **lora))
    for name, parameter in model.named_parameters():
        if "modules_to_save" in name:
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return model.eval()


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


@pytest.mark.parametrize(
    ("task", "loader"),
    [
        ("CAUSAL_LM", AutoModelForCausalLM),
        ("SEQ_CLS", AutoModelForSequenceClassification),
        ("TOKEN_CLS", AutoModelForTokenClassification),
    ],
)
def test_merged_is_base_with_adapter(tiny_model_dir, tmp_path, task, loader):
    trained = add_adapter(tiny_model_dir, tmp_path / "adapter", task, loader=loader)
    base = loader.from_pretrained(tiny_model_dir)
    output = merge_adapter(tmp_path / "adapter", tmp_path / "whole")
    whole = loader.from_pretrained(output)
    assert not (output / "adapter_config.json").exists()
    assert (output / "chat_template.jinja").is_file()
    torch.testing.assert_close(logits(whole), logits(trained), atol=1e-5, rtol=0)
    if task == "CAUSAL_LM":
        assert (logits(base) - logits(trained)).abs().max() > 1e-2
        prompt = IDS[:1, :5]
        greedy = [m.generate(prompt, max_new_tokens=24, do_sample=False).tolist() for m in (whole, trained)]
        assert greedy[0] == greedy[1]


def test_an_adapter_on_an_adapter(tiny_model_dir, tmp_path):
    add_adapter(tiny_model_dir, tmp_path / "first")
    first = merge_adapter(tmp_path / "first", tmp_path / "first-whole")
    second = add_adapter(first, tmp_path / "second")
    config = tmp_path / "second" / "adapter_config.json"
    config.write_text(config.read_text().replace(str(first), str(tmp_path / "first")))
    assert [folder.name for folder in Stack.of(tmp_path / "second").adapters] == ["first", "second"]
    whole = AutoModelForCausalLM.from_pretrained(merge_adapter(tmp_path / "second", tmp_path / "whole"))
    torch.testing.assert_close(logits(whole), logits(second), atol=1e-5, rtol=0)


@pytest.mark.parametrize("targets", [["lm_head"], ["embed_tokens"], ["q_proj"]])
def test_a_tied_head(tmp_path, targets):
    base = save_tiny_model(tmp_path / "base", tie_word_embeddings=True)
    trained = add_adapter(base, tmp_path / "adapter", target_modules=targets)
    whole = AutoModelForCausalLM.from_pretrained(merge_adapter(tmp_path / "adapter", tmp_path / "whole"))
    torch.testing.assert_close(logits(whole), logits(trained), atol=1e-5, rtol=0)
    assert whole.config.tie_word_embeddings is (targets == ["q_proj"])


def test_dtype_of_the_base_or_as_told(tiny_model_dir, tmp_path):
    base = tmp_path / "base"
    AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype=torch.bfloat16).save_pretrained(base)
    AutoTokenizer.from_pretrained(tiny_model_dir).save_pretrained(base)
    add_adapter(base, tmp_path / "adapter")
    for dtype, stored in ((None, torch.bfloat16), ("float32", torch.float32)):
        output = merge_adapter(tmp_path / "adapter", tmp_path / f"whole-{dtype}", dtype)
        assert AutoModelForCausalLM.from_pretrained(output, dtype="auto").dtype == stored
    with pytest.raises(UserError, match="Did you mean 'float16'"):
        merge_adapter(tmp_path / "adapter", tmp_path / "other", "float61")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter",
        "base",
        "whole-None",
        "whole-float32",
    ]  # no half of one


def test_generation_stops_where_training_taught_it_to(tmp_path):
    base = save_tiny_model(tmp_path / "base")
    (base / "generation_config.json").write_text('{"eos_token_id": 0}')
    add_adapter(base, tmp_path / "adapter")
    whole = AutoModelForCausalLM.from_pretrained(merge_adapter(tmp_path / "adapter", tmp_path / "whole"))
    assert whole.generation_config.eos_token_id == [0, 2]
    assert whole.generation_config.pad_token_id == 0


def test_refusals(tiny_model_dir, tmp_path):
    with pytest.raises(UserError, match="no adapter to merge"):
        merge_adapter(tiny_model_dir, tmp_path / "whole")
    with pytest.raises(UserError, match="no such model folder"):
        merge_adapter("./nothing", tmp_path / "whole")
    add_adapter(tiny_model_dir, tmp_path / "adapter")
    with pytest.raises(UserError, match="not overwritten"):
        merge_adapter(tmp_path / "adapter", tiny_model_dir)
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match="weights are missing"):
        merge_adapter(tmp_path / "adapter", tmp_path / "whole")
    assert not (tmp_path / "whole").exists()
