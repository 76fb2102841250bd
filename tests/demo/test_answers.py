import torch

from burnish.demo import answers
from burnish.demo.task import make_rows
from burnish.demo.tiny import tiny_model


def test_scores_are_shares_of_the_answers():
    rows = make_rows(0, 0, 0, 4).held_out
    right = rows[0]["expected"]
    half = rows[2]["expected"].replace('"name": "', '"name": "x').replace('"item": "', '"item": "x')
    found = answers.score_answers([right, "no", half, right + "!"], rows)
    assert found == answers.Score(right=0.25, fields=0.375, valid=0.5)


def test_batched_answers_equal_single_ones(tmp_path, monkeypatch):
    """Prompts of different length are padded on the left; that must not change what is generated."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = make_rows(0, 40, 0, 6)
    folder = tiny_model(tmp_path, rows, seed=0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).double().eval()
    monkeypatch.setattr(answers, "BATCH", 4)  # a full batch and a rest
    together = answers.answer(model, tokenizer, rows.held_out, "")
    monkeypatch.setattr(answers, "BATCH", 1)
    assert together == answers.answer(model, tokenizer, rows.held_out, "")
    assert len(set(together)) > 1


def test_the_bar_ends_at_its_total(tmp_path, monkeypatch):
    """One tick per step of a batch; a batch that ends early still counts in full."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    bars = []

    class Bar:
        n = total = 0

        def __init__(self, **_):
            bars.append(self)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, by):
            assert by >= 0
            self.n += by

    monkeypatch.setattr(answers, "tqdm", Bar)
    monkeypatch.setattr(answers, "BATCH", 4)
    rows = make_rows(0, 40, 0, 6)
    folder = tiny_model(tmp_path, rows, seed=0)
    model = AutoModelForCausalLM.from_pretrained(folder)
    answers.answer(model, AutoTokenizer.from_pretrained(folder), rows.held_out, "")
    assert bars[0].n == bars[0].total == 2 * answers.NEW_TOKENS


def test_mean_reward_does_not_depend_on_padding(tmp_path, monkeypatch):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    rows = make_rows(0, 40, 0, 5)
    folder = tiny_model(tmp_path, rows, seed=0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    judge = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1).double().eval()
    said = ["short", "a much longer answer than the others", "{}", "", "x y z"]
    monkeypatch.setattr(answers, "BATCH", 1)
    alone = answers.mean_reward(judge, tokenizer, rows.held_out, said, "")
    monkeypatch.setattr(answers, "BATCH", 5)
    assert (
        abs(answers.mean_reward(judge, tokenizer, rows.held_out, said, "") - alone) < 1e-6
    )  # summed in float32
    assert alone != 0.0
