"""Comparisons of tiny models: what is asked, measured, kept and refused."""

import json
import math

import pytest
import torch

from burnish.comparison import compare as module
from burnish.comparison.answering import Asking
from burnish.comparison.candidate import find
from burnish.comparison.compare import compare
from burnish.comparison.measures import Reward, Score
from burnish.comparison.result import SHARE
from burnish.errors import UserError
from burnish.evaluation.reward_model import RewardModel
from burnish.models.asking import Sampling
from burnish.models.generate import answers
from tests.comparison.conftest import rows

SHORT = Asking(Sampling(max_new_tokens=8), batch_size=4)


@pytest.fixture(scope="module")
def found(place):
    measures = [
        Score(f"{place}/task.py:grade"),
        Score(f"{place}/task.py:vowels"),
        Reward(str(place / "reward")),
    ]
    return compare([place / "one", place / "two"], place / "rows.jsonl", measures, how=SHORT)


def test_the_answers_are_those_of_each_model(found, place):
    for number, name in enumerate(("one", "two")):
        candidate = find(name, str(place / name))
        with candidate.loaded() as model:
            said = answers(model, candidate.tokenizer, [row["prompt"] for row in rows()], max_new_tokens=8)
        assert [row["answers"][number] for row in found.to_dict()["answers"]] == said
    assert found.names == ["one", "two"]


def test_the_json_has_what_others_read(found, place):
    told = json.loads(found.to_json())
    assert list(told) == ["format", "prompts", "models", "sampling", "notes", "measures", "answers"]
    assert told["prompts"]["rows"] == 6 and told["models"][0] == {"name": "one", "path": str(place / "one")}
    names = [each["name"] for each in told["measures"]]
    task = f"score:{place}/task.py"
    assert names == [f"{task}:grade", f"{task}:vowels", "reward", "loss", "length", "finished"]
    first = told["answers"][1]
    assert first["prompt"] == rows()[1]["prompt"] and first["reference"] == rows()[1]["chosen"]
    assert first["scores"] == first["values"][names[0]] == [float(len(text) > 1) for text in first["answers"]]
    assert first["rewards"] == first["values"]["reward"]
    (pair,) = told["measures"][0]["pairs"]
    assert (pair["a"], pair["b"]) == ("two", "one")  # the later one is asked about


def test_means_differences_and_win_rates_are_of_the_values(found):
    told = found.to_dict()
    for measure in told["measures"]:
        if measure["name"] == "loss":
            continue
        values = [row["values"][measure["name"]] for row in told["answers"]]
        known = [row for row in values if None not in row]
        for number, model in enumerate(measure["models"]):
            column = [row[number] for row in values if row[number] is not None]
            assert model["mean"] == pytest.approx(sum(column) / len(column)) and model["n"] == len(column)
            assert model["low"] <= model["mean"] <= model["high"]
        (pair,) = measure["pairs"]
        gaps = [later - earlier for earlier, later in known]
        assert pair["difference"]["mean"] == pytest.approx(sum(gaps) / len(gaps))
        assert pair["n"] == len(gaps)
        if measure["higher_is_better"] is not None:
            won = [(math.copysign(1, gap) + 1) / 2 if gap else 0.5 for gap in gaps]
            assert pair["win_rate"] == pytest.approx(sum(won) / len(won))


def test_rewards_are_those_of_the_reward_model(found, place):
    model = RewardModel.load(str(place / "reward"))
    told = found.to_dict()
    for row in told["answers"]:
        wanted = [model(prompts=[row["prompt"]], completions=[text])[0] for text in row["answers"]]
        assert row["rewards"] == pytest.approx(wanted, abs=1e-5)


def test_a_function_may_leave_rows_out(found):
    told = found.to_dict()
    vowels = next(each for each in told["measures"] if each["name"].endswith("vowels"))
    assert vowels["unit"] == "score" and vowels["models"][0]["n"] == 5  # least is 0 in the first row
    assert vowels["notes"] == ["2 answers got no score (None)"]


@torch.no_grad()
def test_the_loss_is_that_of_a_plain_forward(found, place):
    """Of what the template writes for the reference answer, to its end."""
    candidate = find("one", str(place / "one"))
    with candidate.loaded() as model:
        nats = tokens = 0.0
        for row in rows():
            chat = candidate.tokenizer.apply_chat_template([*row["prompt"], *row["chosen"]], tokenize=False)
            asked = candidate.tokenizer.apply_chat_template(
                row["prompt"], tokenize=False, add_generation_prompt=True
            )
            ids = candidate.tokenizer(chat)["input_ids"]
            start = len(candidate.tokenizer(asked)["input_ids"])
            logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
            nats -= sum(float(logprobs[i - 1, ids[i]]) for i in range(start, len(ids)))
            tokens += len(ids) - start
    assert found.measure("loss").models[0].value == pytest.approx(nats / tokens, rel=1e-5)


def test_a_second_comparison_asks_no_model_again(place, found, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("loaded")

    monkeypatch.setattr("burnish.comparison.candidate.load_model", fail)
    again = compare([place / "one", place / "two"], place / "rows.jsonl", how=SHORT)
    assert all(each.from_cache for each in again.answered.said)
    assert [r["answers"] for r in again.to_dict()["answers"]] == [
        r["answers"] for r in found.to_dict()["answers"]
    ]
    assert again.measure("loss").models == found.measure("loss").models
    for other in (Sampling(max_new_tokens=9), Sampling(max_new_tokens=8, temperature=0.5)):
        with pytest.raises(AssertionError, match="loaded"):
            compare([place / "one"], place / "rows.jsonl", how=Asking(other))


def test_identical_models_never_differ(place):
    told = compare({"a": place / "one", "b": place / "one"}, rows(), how=SHORT).to_dict()
    for measure in told["measures"]:
        (pair,) = measure["pairs"]
        assert pair["difference"]["mean"] == 0
        assert pair["win_rate"] in (None, 0.5) and pair["wins"] in (None, 0)


def test_three_models_have_three_pairs(place):
    told = compare([place / name for name in ("one", "two", "adapter")], rows(3), how=SHORT).to_dict()
    pairs = [(pair["a"], pair["b"]) for pair in told["measures"][0]["pairs"]]
    assert pairs == [("two", "one"), ("adapter", "one"), ("adapter", "two")]


def test_prompts_without_room_are_left_out_and_counted(place):
    long = [{"prompt": "x" * 508}, {"prompt": "short"}]
    told = compare([place / "one"], long, how=SHORT).to_dict()
    assert [row["index"] for row in told["answers"]] == [1]
    assert told["notes"] == ["1 of 2 prompts are left out: too long for an answer of 8 tokens"]
    with pytest.raises(UserError, match="no prompt leaves room for an answer: one has 512 positions"):
        compare([place / "one"], long[:1], how=SHORT)


def test_a_model_without_template_is_asked_in_plain_text_and_that_is_said(place, tmp_path):
    from tests.conftest import save_tiny_model

    plain = save_tiny_model(tmp_path / "plain", chat_template=None, initializer_range=0.3)
    told = compare([place / "one", plain], rows(2), how=SHORT).to_dict()
    assert told["notes"] == ["plain has no chat template: it was asked with the plain text of the prompts"]
    assert told["answers"][0]["values"]["loss"][1] is not None


def test_faults_of_a_function_name_it_and_the_row(place):
    with pytest.raises(UserError, match=r"task.py:broken, .*rows.jsonl, row 0: it raised KeyError"):
        compare([place / "one"], place / "rows.jsonl", [Score(f"{place}/task.py:broken")], how=SHORT)
    with pytest.raises(UserError, match="it returned 'good'"):
        compare([place / "one"], rows(1), [Score(lambda answer: "good")], how=SHORT)
    with pytest.raises(UserError, match="it returned None for every answer"):
        compare([place / "one"], rows(1), [Score(lambda answer: None)], how=SHORT)


def test_what_is_wrong_with_a_measure_is_said_before_a_model_is_loaded(place, monkeypatch):
    monkeypatch.setattr(module, "ask", lambda *_: pytest.fail("asked"))
    with pytest.raises(UserError, match="cannot be loaded"):
        compare([place / "one"], rows(1), [Score("nothing.py:grade")])
    with pytest.raises(UserError, match="no reward head"):
        compare([place / "one"], rows(1), [Reward(str(place / "two"))])


def test_floats_of_0_and_1_are_a_share_with_an_honest_interval(place):
    """0 of 3 right is 0 to 56 %, whether the function says False or 0.0."""
    for wrong in (False, 0.0):
        measures = [Score(lambda answer, wrong=wrong: wrong)]
        (score, *_) = compare([place / "one"], rows(3), measures, how=SHORT).measures
        (found,) = score.models
        assert score.unit == SHARE and found.low == 0 and found.high == pytest.approx(0.5615, abs=1e-4)
