"""What `benchmarks.learning` writes, that its numbers come again, and the arithmetic under them."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from benchmarks import learning
from benchmarks.learning import Learned, Run, accuracy, read_rows, with_section
from tests.conftest import save_tiny_model, write_rows

METHODS = ["reward", "dpo", "kto", "orpo", "simpo"]


@pytest.fixture
def files(tmp_path):
    """Chats in which the chosen answer is the right sum; the test file has other sums."""
    rows = [
        {
            "prompt": [{"role": "user", "content": f"{n} plus 1 is"}],
            "chosen": [{"role": "assistant", "content": f"{n + 1}."}],
            "rejected": [{"role": "assistant", "content": f"{n}, I think."}],
            "note": n,
        }
        for n in range(22)
    ]
    return [
        str(write_rows(tmp_path / "train.jsonl", rows[:16])),
        str(write_rows(tmp_path / "test.jsonl", rows[16:])),
    ]


def run(files, model, *words):
    learning.main(
        ["--data", *files, "--model", str(model), "--steps", "2", "--batch", "4", "--seeds", "1", *words]
    )


def cells(text: str) -> dict[str, list[str]]:
    """The table's lines by method."""
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {line[0]: line[1:] for line in table if line[0] in METHODS}


def without_times(text: str) -> dict[str, list[str]]:
    return {name: line[:-1] for name, line in cells(text).items()}


@pytest.mark.slow
def test_every_method_has_a_line_and_a_seed_gives_the_same_numbers_again(files, tmp_path):
    model, file = save_tiny_model(tmp_path / "plain", chat_template=None), tmp_path / "docs" / "results.md"
    found = []
    for _ in range(2):
        run(files, model, "--rates", "1e-2", "--write", str(file))
        found.append(file.read_text(encoding="utf-8"))
    assert (
        found[0].startswith("# Results\n")
        and found[0].count("\n## plain\n") == found[1].count("\n## plain\n") == 1
    )
    assert list(cells(found[0])) == METHODS
    assert without_times(found[0]) == without_times(found[1])
    told = r"2 steps of 4 pairs, all weights, (float32|bfloat16), AdamW"  # as the machine computes
    assert re.search(told, found[0]) and "--rates 1e-2" in found[0]
    for method, (compared, before, after, interval, by_seed, rate, _) in cells(found[0]).items():
        low, high = (float(end.removesuffix(" %")) for end in interval.split(" to "))
        assert low <= float(after.removesuffix(" %")) <= high
        assert (compared, by_seed, rate) == (learning.RECIPES[method].compared, after, "0.01")
        assert before.endswith(" %")


def test_the_rate_is_chosen_on_the_validation_rows_alone(files, tiny_model_dir, tmp_path, monkeypatch):
    asked = []

    def train(method, setting, rows, held_out, rate, seed):
        asked.append((rate, seed, len(rows), len(held_out)))
        return Run(0.5, {1e-4: 0.6, 1e-3: 0.9, 1e-2: 0.9}[rate], 2, 1.0, "float32")

    monkeypatch.setattr(learning, "train", train)
    rows = read_rows(*files, 0.25)
    setting = learning.Setting(str(tiny_model_dir), False, 1, 2, 4)
    found = learning.learn("dpo", setting, rows, [1e-2, 1e-3, 1e-4], seeds=2)
    assert found.rate == 1e-3  # the lowest of the best
    assert asked == [(1e-4, 0, 12, 4), (1e-3, 0, 12, 4), (1e-2, 0, 12, 4), (1e-3, 0, 12, 6), (1e-3, 1, 12, 6)]
    assert found.validation == {1e-4: 0.6, 1e-3: 0.9, 1e-2: 0.9}


def test_rows_are_split_by_prompt_and_the_test_file_stays_whole(files):
    rows = read_rows(*files, 0.25)
    train, validation, test = (
        [str(p) for p in each["prompt"]] for each in (rows.train, rows.validation, rows.test)
    )
    assert (len(train), len(validation), len(test)) == (12, 4, 6)
    assert not set(train) & set(validation) and not set(test) & {*train, *validation}
    assert rows.train.column_names == ["prompt", "chosen", "rejected"]
    assert len(read_rows(*files, 0.25, most=8).train) == 6


def test_accuracy_counts_ties_half_and_takes_kto_s_rows_in_twos():
    pairs = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 1.0], [5.0, -5.0]])
    assert accuracy(pairs, 4) == accuracy(pairs.reshape(-1), 4) == 2.5 / 4
    with pytest.raises(RuntimeError, match="1 of 5 held-out pairs"):
        accuracy(pairs, 5)


def test_standard_error_and_interval():
    runs = [Run(0.5, after, 1, 1.0, "float32") for after in (0.8, 0.9, 1.0)]
    found = Learned("dpo", 1e-3, {}, runs, pairs=100)
    assert math.isclose(found.standard_error, 0.1 / math.sqrt(3))
    assert math.isclose(found.accuracy.value, 0.9)
    assert math.isclose(found.accuracy.low, 0.8256, abs_tol=1e-4)  # Wilson, 90 of 100
    assert math.isclose(found.accuracy.high, 0.9448, abs_tol=1e-4)
    assert math.isnan(Learned("dpo", 1e-3, {}, runs[:1], pairs=100).standard_error)


def test_a_section_takes_the_place_of_the_one_with_its_heading():
    document = "# Results\n\nWords.\n\n## a\n\nold\n\n## b\n\nkept\n"
    assert with_section(document, "## a\n\nnew\n") == "# Results\n\nWords.\n\n## a\n\nnew\n\n## b\n\nkept\n"
    longer = document + "\n## b, LoRA\n\nnew\n"
    assert with_section(document, "## b, LoRA\n\nnew\n") == longer
    assert with_section(longer, "## b\n\nkept\n") == longer


def test_what_was_measured_is_written_though_a_later_method_fails(
    files, tiny_model_dir, tmp_path, monkeypatch
):
    def learn(method, *_):
        if method == "dpo":
            raise KeyboardInterrupt
        return Learned(method, 1e-3, {}, [Run(0.5, 0.75, 2, 1.0, "float32")], pairs=6)

    monkeypatch.setattr(learning, "learn", learn)
    file = tmp_path / "results.md"
    with pytest.raises(KeyboardInterrupt):
        run(files, tiny_model_dir, "--write", str(file))
    assert list(cells(file.read_text(encoding="utf-8"))) == ["reward"]
