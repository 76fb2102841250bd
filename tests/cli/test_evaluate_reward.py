"""`burnish evaluate-reward` as a person runs it, in a process of its own, and its page in a browser."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from burnish.cli.evaluate_reward import Request
from burnish.errors import UserError
from tests.browser import accessibility_faults, contrast_faults, heading_levels, too_wide
from tests.conftest import save_tiny_model, write_rows
from tests.evaluation.models import save_reward_model

LLMBAR = Path(__file__).parents[3] / "shared" / "data" / "eval_llmbar_419.jsonl"
WORDS = "the cat sat on a mat and then ran home".split()


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "burnish", "evaluate-reward", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, cwd=cwd, stdin=subprocess.DEVNULL
    )


def sentence(drawn: random.Random) -> str:
    return " " + " ".join(drawn.choices(WORDS, k=drawn.randrange(1, 16)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model, 24 pairs in two subsets of which one is too long, and 12 rows of six scored completions."""
    path, drawn = tmp_path_factory.mktemp("evaluate"), random.Random(0)
    save_reward_model(path / "model")
    pairs = [
        {
            "prompt": f"Story {n}:",
            "chosen": sentence(drawn),
            "rejected": sentence(drawn),
            "subset": "ab"[n % 2],
        }
        for n in range(23)
    ]
    long = {"prompt": "Story:", "chosen": "far " * 200, "rejected": "no", "subset": "a"}
    write_rows(path / "pairs.jsonl", [*pairs, long])
    several = [
        {
            "prompt": f"Story {n}:",
            "completions": [sentence(drawn) for _ in range(6)],
            "scores": [drawn.random() for _ in range(6)],
        }
        for n in range(12)
    ]
    write_rows(path / "several.jsonl", several)
    return path


def test_text_says_what_was_measured_and_what_was_left_out(folder):
    result = run("model", "pairs.jsonl", cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    for part in (
        "24 read, 23 scored, 23 pairs",
        "1 row longer than max_length",
        "mean of the subsets",
        "expected calibration error",
        "correlation of reward and length",
    ):
        assert part in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "best of" not in result.stdout


def test_json_is_all_that_is_printed(folder):
    result = run("model", "several.jsonl", "--json", cwd=folder)
    assert (result.returncode, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert (found["kept"], found["pairs"], found["accuracy"]["rows"]) == (12, 12 * 15, pytest.approx(12))
    assert [each["n"] for each in found["best_of"]] == [1, 2, 3, 4, 6]
    rows = [json.loads(line) for line in (folder / "several.jsonl").read_text().splitlines()]
    mean = sum(sum(row["scores"]) for row in rows) / (12 * 6)
    assert found["best_of"][0]["picked"]["value"] == pytest.approx(mean)
    assert found["best_of"][-1]["best"] == pytest.approx(sum(max(row["scores"]) for row in rows) / 12)


def test_a_threshold_sets_the_exit_code(folder):
    assert run("model", "pairs.jsonl", "--fail_under", "0", cwd=folder).returncode == 0
    result = run("model", "pairs.jsonl", "--fail-under", "1.0", cwd=folder)
    assert result.returncode == 1
    assert result.stderr.startswith("failed accuracy ") and "less than 100 %" in result.stderr


def test_the_budget_changes_nothing_and_chats_do(folder):
    flags = (("--tokens_per_forward", 64), ("--tokens_per_forward", 4096), ("--as_chats",))
    one, other, chats = (
        json.loads(run("model", "pairs.jsonl", "--json", *each, cwd=folder).stdout) for each in flags
    )
    assert one["log_loss"] == pytest.approx(other["log_loss"], abs=1e-5)
    assert abs(one["log_loss"] - chats["log_loss"]) > 1e-3


def test_wrong_input_is_told_without_a_traceback(folder, tmp_path):
    save_tiny_model(tmp_path / "causal")
    result = run(tmp_path / "causal", "pairs.jsonl", cwd=folder)
    assert result.returncode == 2
    assert "no reward head" in result.stderr and "Traceback" not in result.stderr
    result = run("model", "pairs.jsonl", "--truncation_mode", "error", cwd=folder)
    assert result.returncode == 2
    assert "row 23" in result.stderr and "max_length is 512" in result.stderr


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"truncation_mode": "keep_start"}, "--truncation_mode"),
        ({"fail_under": 70.0}, "--fail_under"),
    ],
)
def test_values_that_cannot_be(given, where):
    with pytest.raises(UserError, match=where):
        Request("model", "data", **given).check()


# The page


@pytest.fixture(scope="module")
def page_file(folder) -> Path:
    result = run("model", "several.jsonl", "--html", "several.html", cwd=folder)
    assert result.returncode == 0 and "wrote  several.html" in result.stderr, result.stderr
    return folder / "several.html"


def check_page(open_page, file: Path, width: int, scheme: str) -> None:
    page = open_page(file, width, scheme)
    page.evaluate("() => document.querySelectorAll('details').forEach(each => each.open = true)")
    assert too_wide(page) == []
    assert contrast_faults(page) == []
    assert accessibility_faults(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_and_can_be_read(open_page, page_file, width, scheme):
    check_page(open_page, page_file, width, scheme)


def test_the_page_says_what_the_json_says(open_page, page_file, folder):
    found = json.loads(run("model", "several.jsonl", "--json", cwd=folder).stdout)
    page = open_page(page_file)
    assert page.title() == "model · how good its rewards are"
    assert page.locator("main > section > h2").all_inner_texts() == ["Confidence", "Length", "Best of n"]
    links = page.locator("nav a").all_inner_texts()
    assert links == page.locator("main > section > h2").all_inner_texts()
    assert (
        page.locator(".figures dd").first.inner_text().startswith(f"{100 * found['accuracy']['value']:.1f} %")
    )
    rows = page.locator("#best-of-n tbody tr").all_inner_texts()
    assert [row.split("\t")[:2] for row in rows] == [
        [str(each["n"]), f"{each['picked']['value']:.3f}"] for each in found["best_of"]
    ]
    levels = heading_levels(page)
    assert levels[0] == 1 and all(after <= before + 1 for before, after in pairwise(levels))


def test_charts_have_a_point_for_every_number_and_a_name(open_page, page_file, folder):
    found = json.loads(run("model", "several.jsonl", "--json", cwd=folder).stdout)
    page = open_page(page_file)
    names = [each.get_attribute("aria-label") for each in page.get_by_role("img").all()]
    assert len(names) == 2 and names[0].startswith("Reliability: ") and names[1].startswith("Best of n: ")
    drawn = page.locator("#confidence circle[data-shape='this model']")
    assert drawn.count() == len(found["reliability"])
    picks = page.locator("#best-of-n circle.kept").all()
    heights = [float(each.get_attribute("cy")) for each in picks]
    values = [each["picked"]["value"] for each in found["best_of"]]
    assert sorted(range(5), key=lambda i: -heights[i]) == sorted(range(5), key=lambda i: values[i])


@pytest.mark.skipif(not LLMBAR.is_file(), reason="the shared data are not here")
def test_llmbar(folder, tmp_path, open_page):
    result = run("model", LLMBAR, "--max_length", 512, "--json", "--html", tmp_path / "p.html", cwd=folder)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["read"] == 419 == found["kept"] + sum(found["dropped"].values())
    assert found["kept"] > 50 and set(found["subsets"]) > {"Natural", "Adversarial/Neighbor"}
    assert sum(each["rows"] for each in found["subsets"].values()) == found["kept"]
    check_page(open_page, tmp_path / "p.html", 390, "light")
    page = open_page(tmp_path / "p.html")
    assert page.locator("#subsets tbody tr").count() == len(found["subsets"])
