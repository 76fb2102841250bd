"""A reward model as a function and as a judge: what it says is what transformers says of each text alone."""

from __future__ import annotations

import json
import math

import pytest
import torch

from burnish import RewardModel, UserError
from tests.conftest import save_tiny_model, tiny_tokenizer
from tests.evaluation.models import save_adapter, save_reward_model

PROMPTS = ["Say hello.", "Count:", "Say hello.", "Say hello.", "Count:"]
COMPLETIONS = [" Hello!", " 1 2 3", " No.", " Hello there, how are you?", " one"]


def alone(model, tokenizer, texts: list[str]) -> list[float]:
    """Each text through the model's own forward, one at a time."""
    rows = [tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids for text in texts]
    with torch.no_grad():
        return [model.eval()(row).logits.item() for row in rows]


def chat(prompt: str, completion: str) -> tuple[list[dict], list[dict]]:
    return [{"role": "user", "content": prompt}], [{"role": "assistant", "content": completion}]


@pytest.fixture(scope="module")
def model(reward_dir) -> RewardModel:
    return RewardModel.load(str(reward_dir), dtype="float64", device="cpu")


@pytest.fixture(scope="module")
def plain(reward_dir):
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(reward_dir, dtype=torch.float64)


@pytest.mark.parametrize("budget", [1, 60, 10_000])
def test_plain_texts_have_the_rewards_of_separate_runs(model, plain, budget, monkeypatch):
    monkeypatch.setattr(model, "tokens_per_forward", budget)
    eos = model.tokenizer.eos_token
    texts = [prompt + text + eos for prompt, text in zip(PROMPTS, COMPLETIONS, strict=True)]
    found = model(prompts=PROMPTS, completions=COMPLETIONS, other=[1] * 5)
    assert found == pytest.approx(alone(plain, model.tokenizer, texts), abs=1e-6)
    assert max(found) - min(found) > 0.1


def test_chats_have_the_rewards_of_separate_runs(model, plain):
    prompts, completions = zip(*map(chat, PROMPTS, COMPLETIONS), strict=True)
    texts = [
        model.tokenizer.apply_chat_template(p + c, tokenize=False)
        for p, c in zip(prompts, completions, strict=True)
    ]
    expected = pytest.approx(alone(plain, model.tokenizer, texts), abs=1e-6)
    assert model(prompts=prompts, completions=completions) == expected
    assert model(prompts=prompts, completions=COMPLETIONS) == expected  # a string is the assistant's turn


def test_plain_texts_as_chats(reward_dir, model):
    as_chats = RewardModel.load(str(reward_dir), dtype="float64", device="cpu", as_chats=True)
    prompts, completions = zip(*map(chat, PROMPTS, COMPLETIONS), strict=True)
    assert as_chats(PROMPTS, COMPLETIONS) == pytest.approx(model(prompts, completions))
    assert as_chats(PROMPTS, COMPLETIONS) != pytest.approx(model(PROMPTS, COMPLETIONS), abs=1e-3)


def test_a_shared_prompt_is_computed_once(model, monkeypatch):
    sizes = []
    forward = model._forward
    monkeypatch.setattr(
        model, "_forward", lambda batch: (sizes.extend(e.length for e in batch), forward(batch))[1]
    )
    model(PROMPTS, COMPLETIONS)
    assert sum(sizes) == sum(map(len, {*PROMPTS})) + sum(map(len, COMPLETIONS)) + len(COMPLETIONS)  # bytes


def test_tools_reach_the_template(reward_dir):
    template = "{% if tools %}{{ tools[0]['function']['name'] }}: {% endif %}" + str(
        tiny_tokenizer().chat_template
    )
    tools = [{"type": "function", "function": {"name": "clock", "parameters": {}}}]
    model = RewardModel.load(str(reward_dir), tokenizer=tiny_tokenizer(template), dtype="float64")
    prompts, completions = zip(*map(chat, PROMPTS[:1] * 2, COMPLETIONS[:1] * 2), strict=True)
    with_tools, without = model(prompts, completions, tools=[tools, None])
    assert abs(with_tools - without) > 1e-3


def test_it_judges_pairs(model):
    first, second = model(["Say hello."] * 2, [" Hello!", " No."])
    pairs = [(" Hello!", " No."), (" No.", " Hello!"), (" No.", " No.")]
    better = int(second > first)
    assert model.prefer(["Say hello."] * 3, pairs) == [better, 1 - better, -1]
    chance = 1 / (1 + math.exp(second - first))
    assert model.probabilities(["Say hello."] * 3, pairs) == pytest.approx([chance, 1 - chance, 0.5])


def test_it_is_named_for_metrics(model, reward_dir):
    assert model.__name__ == str(reward_dir)


@pytest.mark.parametrize("base_dtype", ["float32", "bfloat16"])
def test_an_adapter_has_its_own_rewards(reward_dir, adapter_dir, base_dtype):
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    model = RewardModel.load(str(adapter_dir), dtype=base_dtype, device="cpu")
    base = PeftModel.from_pretrained(
        AutoModelForSequenceClassification.from_pretrained(reward_dir), adapter_dir
    )
    eos = model.tokenizer.eos_token
    texts = [prompt + text + eos for prompt, text in zip(PROMPTS, COMPLETIONS, strict=True)]
    expected = alone(base, model.tokenizer, texts)
    spread = max(expected) - min(expected)
    tolerance = 1e-5 if base_dtype == "float32" else 0.1 * spread
    assert model(PROMPTS, COMPLETIONS) == pytest.approx(expected, abs=tolerance)


# What is refused


def refusal(function) -> str:
    with pytest.raises(UserError) as caught:
        function()
    return str(caught.value)


def test_a_language_model_is_no_reward_model(tmp_path):
    folder = save_tiny_model(tmp_path / "causal")
    message = refusal(lambda: RewardModel.load(str(folder)))
    assert str(folder) in message and "LlamaForCausalLM" in message and "burnish reward" in message


def test_two_labels_without_weights_are_no_reward(tmp_path):
    folder = save_reward_model(tmp_path / "two", labels=2)
    assert "gives 2 numbers" in refusal(lambda: RewardModel.load(str(folder)))
    message = refusal(lambda: RewardModel.load(str(folder), attribute_weights=[1.0, 2.0, 3.0]))
    assert "weights for 3" in message


def test_attributes_are_added_up_by_the_weights_of_training(tmp_path):
    folder = save_reward_model(tmp_path / "two", labels=2)
    single = [RewardModel.load(str(folder), attribute_weights=w)(["a"], [" b"])[0] for w in ([1, 0], [0, 1])]
    assert single[0] != pytest.approx(single[1])
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attribute_weights": [0.25, -2.0]}))
    (found,) = RewardModel.load(str(folder))(["a"], [" b"])
    assert found == pytest.approx(0.25 * single[0] - 2.0 * single[1], rel=1e-5)


@pytest.mark.parametrize("task", [None, "FEATURE_EXTRACTION"])
def test_an_adapter_without_a_head_is_refused(reward_dir, tmp_path, task):
    folder = save_adapter(reward_dir, tmp_path / "adapter", task=task)
    assert f"task {task or 'unknown'}" in refusal(lambda: RewardModel.load(str(folder)))


def test_a_folder_that_is_not_there(tmp_path):
    assert "no such model" in refusal(lambda: RewardModel.load(str(tmp_path / "nowhere")))


def test_what_is_too_long_or_empty_or_does_not_match_is_named(model):
    long = refusal(lambda: model(["a", "b"], [" c", " d" * 300]))
    assert "prompt 1" in long and "602 tokens" in long and "512" in long
    assert "2 prompts, but 1 completions" in refusal(lambda: model(["a", "b"], ["c"]))
    assert "rows.jsonl, row 3: a completion without a token" in refusal(
        lambda: model.score([_without_tokens()])
    )


def _without_tokens():
    from burnish.data.example import TokenizedExample

    return TokenizedExample([5], [[6], []], [[True], []], origin="rows.jsonl, row 3")


def test_rewards_that_are_not_finite_are_refused(reward_dir):
    model = RewardModel.load(str(reward_dir), device="cpu")
    with torch.no_grad():
        model.model.score.weight.fill_(float("nan"))
    message = refusal(lambda: model(["a"], ["b"]))
    assert "nan" in message and "prompt 0" in message
