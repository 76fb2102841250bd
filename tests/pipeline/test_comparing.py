"""The key `compare` of a pipeline: what is read of it, what is refused, and that it is made once."""

import json

import pytest

from burnish.cli import main
from burnish.errors import UserError
from burnish.pipeline.overlay import read_layers
from burnish.pipeline.run import TOP_KEYS, read_pipeline
from tests.conftest import write_rows

STAGES = (
    "output_dir: out\nstages:\n- {name: sft, model: m, dataset: a.jsonl}\n"
    "- {name: judge, method: reward, model: sft, dataset: b.jsonl}\n"
    "- {name: dpo, model: sft, dataset: b.jsonl}\n"
)


def read(tmp_path, text, *assignments):
    (tmp_path / "chat.yaml").write_text(STAGES + text)
    return read_pipeline(read_layers(str(tmp_path / "chat.yaml"), assignments, TOP_KEYS)).comparing


def test_stages_are_named_and_the_base_is_what_the_first_starts_from(tmp_path):
    found = read(tmp_path, "compare: {prompts: c.jsonl#9, reward: judge, max_new_tokens: 8}\n")
    assert found.models == {"base": "m", "sft": "out/sft", "dpo": "out/dpo"}
    assert (found.reward, found.options) == ("out/judge", {"max_new_tokens": 8})
    found = read(tmp_path, "compare: {prompts: c.jsonl, score: a.py:f}\n", "compare.models=[sft, ./other]")
    assert found.models == {"sft": "out/sft", "./other": "./other"} and found.scores == ["a.py:f"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{prompt: c.jsonl}", "compare has no key 'prompt'. Did you mean 'prompts'?"),
        ("{models: [sft, dpo]}", "compare needs prompts"),
        (
            "{prompts: c.jsonl, models: [sft, dop]}",
            "there is no stage 'dop' and no folder. Did you mean 'dpo'?",
        ),
        ("{prompts: c.jsonl, models: [sft, judge]}", "'judge' is a reward model, which gives no answers"),
        ("{prompts: c.jsonl, models: [sft]}", "a comparison needs two models"),
        ("{prompts: c.jsonl, reward: dpo}", "'dpo' is no reward model: it is trained by dpo"),
        ("{prompts: c.jsonl, max_new_tokens: few}", "max_new_tokens is 'few', expected a whole number"),
    ],
)
def test_mistakes_name_the_line(text, message, tmp_path):
    with pytest.raises(UserError) as caught:
        read(tmp_path, f"compare: {text}\n")
    assert str(caught.value).startswith(f"{tmp_path}/chat.yaml:6: {message}")


def test_a_comparison_is_made_after_the_stages_and_once(tmp_path, tiny_model_dir, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    turns = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "1 2"}]
    write_rows(tmp_path / "a.jsonl", [{"messages": turns}] * 8)
    write_rows(tmp_path / "c.jsonl", [{"prompt": [turns[0]], "word": str(n)} for n in range(3)])
    (tmp_path / "task.py").write_text("def grade(answer, word):\n    return len(answer)\n")
    (tmp_path / "chat.yaml").write_text(
        f"output_dir: out\nstages:\n- {{name: sft, model: {tiny_model_dir}, dataset: a.jsonl, max_steps: 1, "
        "save_strategy: no, report_to: none}\n"
        "compare: {prompts: c.jsonl, score: 'task.py:grade', max_new_tokens: 4}\n"
    )
    assert main(["run", "chat.yaml"]) == 0
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [model["name"] for model in found["models"]] == ["base", "sft"] and len(found["answers"]) == 3
    made = (tmp_path / "out" / "comparison.json").stat().st_mtime_ns
    capsys.readouterr()
    assert main(["run", "chat.yaml"]) == 0
    assert "skip: made of the same prompts, models and measures" in capsys.readouterr().out
    assert (tmp_path / "out" / "comparison.json").stat().st_mtime_ns == made
    (tmp_path / "task.py").write_text("def grade(answer, word):\n    return -len(answer)\n")
    assert main(["run", "chat.yaml"]) == 0
    assert (tmp_path / "out" / "comparison.json").stat().st_mtime_ns != made
    assert main(["run", "chat.yaml", "--dry-run", "--set", "compare.prompts=none.jsonl"]) == 2
    assert "none.jsonl" in capsys.readouterr().err
