"""Answers to fixed prompts while training: when, to what, and that they change nothing."""

import pytest
from datasets import Dataset

from burnish import RewardConfig, SFTConfig, SFTTrainer
from burnish.engine.logs import read_lines
from burnish.errors import UserError
from tests.conftest import tiny_tokenizer, write_rows

ROWS = [{"text": f"text number {n} of them"} for n in range(24)]
CHATS = [
    {"messages": [{"role": "user", "content": f"Count to {n}."}, {"role": "assistant", "content": "1 " * n}]}
    for n in range(1, 9)
]


def sft(model, folder, rows=ROWS, **more):
    options = {"max_steps": 6, "logging_steps": 1, "per_device_train_batch_size": 2, "save_strategy": "no"}
    options |= {"bf16": False, "output_dir": str(folder), "learning_rate": 1e-2, "sample_max_new_tokens": 4}
    options |= {"disable_tqdm": True}
    return SFTTrainer(
        str(model),
        SFTConfig(**(options | more)),
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(rows[:4]),
        processing_class=tiny_tokenizer(),
    )


def steps_of(folder):
    return [line["step"] for line in read_lines(folder / "samples.jsonl") if line["index"] == 0]


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"max_steps": 20}, [0, *range(2, 21, 2)]),
        ({"eval_strategy": "steps", "eval_steps": 4}, [0, 4, 6]),
        ({"sample_steps": 4}, [0, 4, 6]),
        ({"sample_steps": 3, "eval_strategy": "steps", "eval_steps": 2}, [0, 3, 6]),
    ],
    ids=["every tenth", "each evaluation", "as asked", "as asked beside evaluations"],
)
def test_when_it_is_asked(options, steps, tiny_model_dir, tmp_path, capsys):
    sft(tiny_model_dir, tmp_path, sample_prompts=["text number", "of"], **options).train()
    assert steps_of(tmp_path) == steps
    lines = read_lines(tmp_path / "samples.jsonl")
    assert [line["prompt"] for line in lines] == ["text number", "of"] * len(steps)
    assert all(isinstance(line["answer"], str) for line in lines)
    shown = [text for text in capsys.readouterr().out.splitlines() if text.startswith("sample ")]
    assert len(shown) == 2 * len(steps) and shown[0].startswith('sample  step=0  index=0  "text number"  "')


def test_a_run_with_samples_has_the_losses_of_one_without(tiny_model_dir, tmp_path):
    def losses(folder, **more):
        trainer = sft(tiny_model_dir, folder, model_init_kwargs={"attention_dropout": 0.2}, **more)
        trainer.train()
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    asked = losses(tmp_path / "asked", sample_prompts=["text"], sample_steps=1)
    assert len(read_lines(tmp_path / "asked" / "samples.jsonl")) == 7
    assert asked == losses(tmp_path / "alone")


def test_a_text_is_asked_as_a_chat_where_chats_are_trained(tiny_model_dir, tmp_path):
    trainer = sft(tiny_model_dir, tmp_path, CHATS, sample_prompts=["Count to 3."], max_steps=1)
    trainer.train()
    assert read_lines(tmp_path / "samples.jsonl")[0]["prompt"] == [{"role": "user", "content": "Count to 3."}]


def test_prompts_come_from_lines_and_rows(tiny_model_dir, tmp_path):
    (tmp_path / "prompts.txt").write_text("one\n\ntwo\n")
    write_rows(tmp_path / "chats.jsonl", CHATS[:2])
    pairs = [{"prompt": "a", "chosen": "b", "rejected": "c"}]
    write_rows(tmp_path / "pairs.jsonl", pairs)
    first = [{"role": "user", "content": "Count to 1."}]
    for name, prompts in (("prompts.txt", ["one", "two"]), ("pairs.jsonl", ["a"])):
        sft(tiny_model_dir, tmp_path, sample_prompts=[str(tmp_path / name)], max_steps=1).train()
        found = read_lines(tmp_path / "samples.jsonl")
        assert [line["prompt"] for line in found if line["step"] == 0] == prompts
    sft(tiny_model_dir, tmp_path, CHATS, sample_prompts=str(tmp_path / "chats.jsonl"), max_steps=1).train()
    assert read_lines(tmp_path / "samples.jsonl")[0]["prompt"] == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_steps": 4}, "sample_steps: there is nothing to ask"),
        ({"sample_prompts": "nowhere.txt"}, "sample_prompts: there is no file 'nowhere.txt'"),
        ({"sample_prompts": []}, "sample_prompts: found 0 prompts"),
        ({"sample_prompts": ["a"] * 65}, "sample_prompts: found 65 prompts, and 1 to 64"),
        ({"sample_prompts": ["a"], "sample_steps": 0}, "sample_steps: must be at least 1"),
        ({"sample_prompts": [[{"role": "assistant", "content": "a"}]]}, "ask nothing"),
        ({"sample_prompts": [3]}, "expected a text, messages or a row, found 3"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_training(options, message, tiny_model_dir, tmp_path):
    with pytest.raises(UserError, match=message):
        sft(tiny_model_dir, tmp_path, **options)


def test_a_reward_model_has_no_answers(tmp_path):
    with pytest.raises(UserError, match="a reward model gives scores, no answers"):
        RewardConfig(output_dir=str(tmp_path), sample_prompts=["a"])
