"""The page of a report as a browser shows it, and the verb that writes it."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise

import pytest

from burnish.report import write_report
from burnish.report.page import NAME
from tests.browser import accessibility_faults, contrast_faults, heading_levels, too_wide
from tests.report.folders import (
    NOTICES,
    comparison,
    metrics,
    record,
    samples,
    write_json,
    write_lines,
    write_pipeline,
    write_run,
)

WIDTHS = (390, 1280)
HOSTILE = "</script></style></details><script>window.hit = 1</script><img src=x onerror='hit = 1'>\"'{{ 7 }}"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    folder = write_pipeline(tmp_path_factory.mktemp("runs") / "bakery")
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = write_run(tmp_path_factory.mktemp("runs") / "dpo", "dpo", "dpo", 400)
    write_lines(folder / "notices.jsonl", NOTICES)
    write_lines(folder / "samples.jsonl", samples(400))
    write_report(folder)
    return folder


def unfold(page) -> None:
    page.evaluate("() => document.querySelectorAll('details').forEach(each => each.open = true)")


@pytest.mark.parametrize(
    ("kind", "width", "scheme"),
    [
        ("pipeline", 390, "dark"),
        ("pipeline", 1280, "light"),
        ("run", 390, "light"),
        ("run", 1280, "dark"),
    ],
)
def test_it_fits_and_can_be_read(open_page, request, kind, width, scheme):
    page = open_page(request.getfixturevalue(kind) / NAME, width, scheme)
    assert too_wide(page) == []
    unfold(page)
    assert too_wide(page) == []
    assert contrast_faults(page) == []
    assert accessibility_faults(page) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_a_screenshot_shows_the_outcome_and_is_not_blank(open_page, pipeline, tmp_path, width):
    page = open_page(pipeline / NAME, width)
    shot = page.screenshot(path=tmp_path / "top.png")
    assert len(shot) > 20_000
    box = page.locator(".outcome").bounding_box()
    assert box["y"] + box["height"] < 900
    for section in page.locator("main > section").all():
        found = section.bounding_box()
        assert found["height"] > 60 and found["width"] > 0.8 * width * (width < 500)
    drawn = [each.is_visible() for each in page.locator("svg.diagram").all()]
    assert drawn == ([True, False] if width > 500 else [False, True])


def test_sections_and_headline_of_a_pipeline(open_page, pipeline):
    page = open_page(pipeline / NAME)
    assert page.title() == "bakery · it worked"
    heads = ["The pipeline", "Before and after", "sft ✓ finished", "reward ✓ finished", "dpo ✓ finished"]
    assert page.locator("main > section > h2").all_inner_texts() == [*heads, "Reproduce"]
    rows = page.locator("table.headline tbody tr").all()
    assert [row.locator("th").inner_text().split()[0] for row in rows] == ["base", "sft", "reward", "dpo"]
    evaluated = [row["eval_loss"] for row in metrics("sft", 240) if "eval_loss" in row]
    cells = [cell.inner_text().split()[0] for cell in rows[1].locator("td.number").all()]
    assert cells == [f"{evaluated[0]:.3f}", f"{evaluated[-1]:.4f}", "58.3", "2"]
    assert page.locator(".outcome").inner_text() == (
        "It worked Score by right_ticket rose from 0 % (base) to 84.4 % (dpo) on 96 prompts."
    )


def test_every_link_leads_to_a_section(open_page, pipeline, run):
    for folder in (pipeline, run):
        page = open_page(folder / NAME)
        targets = [link.get_attribute("href") for link in page.locator("a").all()]
        assert len(targets) > 6
        assert all(page.locator(f"[id='{target[1:]}']").count() == 1 for target in targets)
        ids = page.evaluate("() => [...document.querySelectorAll('[id]')].map(each => each.id)")
        assert len(ids) == len(set(ids))


def test_levels_of_headings_have_no_gaps(open_page, pipeline, run):
    for folder in (pipeline, run):
        levels = heading_levels(open_page(folder / NAME))
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_page_of_one_run(open_page, run):
    page = open_page(run / NAME)
    assert page.locator("main > section > h2").all_inner_texts() == [
        *("Curves", "Training diagnostics", "Samples over time", "Data", "Cost", "Config", "Decisions"),
        *("Lineage", "Reproduce"),
    ]
    figures = page.locator(".figures dd").all_inner_texts()
    assert figures == ["400", "2 min 27 s", "2,312", "1.47 GB"]
    assert page.locator("#again pre").inner_text() == record("dpo", "dpo", 400)["command"]
    assert page.locator("table.headline").count() == 0


def test_charts_have_names_and_their_numbers_stand_in_tables(open_page, run):
    page = open_page(run / NAME)
    charts = page.locator("figure:visible svg[role=img]").all()
    names = [chart.get_attribute("aria-label") for chart in charts]
    assert [name.split(":")[0] for name in names[:4]] == [
        *("Loss over 400 steps", "Accuracy over 400 steps", "Margin over 400 steps"),
        "Rewards over 400 steps",
    ]
    unfold(page)
    figures = page.locator("figure.chart:has(svg.series)").all()
    assert len(figures) == 9 and all(each.locator("table").count() == 1 for each in figures)
    logged = metrics("dpo", 400)
    last = next(row for row in reversed(logged) if "eval_rewards/chosen" in row)
    rewards = figures[3].locator("tbody tr").last.locator("td").all_inner_texts()
    keys = ("rewards/chosen", "eval_rewards/chosen", "rewards/rejected", "eval_rewards/rejected")
    assert [float(text.replace("−", "-")) for text in rewards] == pytest.approx(
        [last.get(key, logged[-2].get(key)) for key in keys], rel=0.01
    )


def test_rules_of_thumb_and_samples_are_those_of_the_files(open_page, pipeline):
    page = open_page(pipeline / NAME)
    said = page.locator("#stage-sft-notices li").all_inner_texts()
    assert [NOTICES[i]["text"] in text for i, text in enumerate(said)] == [True, True]
    assert "train_sft.jsonl:88" in said[0]
    answers = page.locator("#stage-sft-samples article").first.locator(".said").all_inner_texts()
    assert answers[0].startswith("I'm sorry") and '"Wednesday"' in answers[-1]
    assert page.locator("#stage-reward-samples").count() == 0


def test_answers_stand_side_by_side(open_page, pipeline):
    page = open_page(pipeline / NAME)
    first = page.locator("#before-and-after article").first
    assert first.locator("h4").all_inner_texts() == [
        "base score 0, reward −3.40",
        "sft score 0, reward 1.90",
        "dpo score 1, reward 4.20",
    ]
    assert first.locator(".tokens").all_inner_texts() == comparison()["answers"][0]["answers"]
    tops = {round(each.bounding_box()["y"]) for each in first.locator(".text").all()}
    assert len(tops) == 1
    unfold(page)
    assert page.locator("#before-and-after article").count() == 28


def test_the_drawing_says_in_words_what_leads_where(open_page, pipeline):
    name = open_page(pipeline / NAME).locator("svg.wide").get_attribute("aria-label")
    assert name.startswith("The pipeline: SmolLM2-135M-Instruct. sft (Supervised fine-tuning, finished); on ")
    assert "it starts from SmolLM2-135M-Instruct" in name
    assert "it starts from sft; its reference is sft; 48.7" in name


def test_arrows_end_at_the_boxes_they_point_to(open_page, pipeline):
    page = open_page(pipeline / NAME)
    ends = page.evaluate(
        """() => [...document.querySelectorAll('svg.wide path.head')].map(
            each => each.getAttribute('d').match(/[-\\d.]+/g).slice(0, 2).map(Number))"""
    )
    boxes = page.evaluate(
        """() => [...document.querySelectorAll('svg.wide rect')].map(
            each => ['x', 'y', 'width', 'height'].map(name => +each.getAttribute(name)))"""
    )
    assert len(boxes) == 10 and len(ends) == 10
    for x, y in ends:
        assert any(
            (x == left and top <= y <= top + height) or (y == top and left <= x <= left + width)
            for left, top, width, height in boxes
        )


def test_printed_everything_is_there(open_page, pipeline):
    page = open_page(pipeline / NAME, media="print")
    assert not page.locator("nav").is_visible()
    assert page.evaluate("() => getComputedStyle(document.body).colorScheme") != "dark"


def test_hostile_text_stays_text(open_page, tmp_path):
    folder = write_pipeline(tmp_path / "x")
    found = comparison()
    found["models"][2]["name"] = HOSTILE
    found["answers"][0] |= {"prompt": HOSTILE, "reference": HOSTILE, "answers": [HOSTILE] * 3}
    write_json(folder / "comparison.json", found)
    odd = record("sft", "sft", 240, learning_rate=HOSTILE) | {"command": HOSTILE}
    odd["decisions"] = [{"what": HOSTILE, "choice": HOSTILE, "why": HOSTILE}]
    odd["machine"]["cpu"] = HOSTILE
    write_json(folder / "sft" / "run.json", odd)
    write_lines(folder / "sft" / "samples.jsonl", [{"step": 1, "prompt": HOSTILE, "answer": HOSTILE}])
    write_lines(folder / "sft" / "notices.jsonl", [{"step": 1, "rule": HOSTILE, "text": HOSTILE}])
    write_lines(folder / "dpo" / "metrics.jsonl", [{"step": 1, HOSTILE: 1.0}, {"step": 2, HOSTILE: 2.0}])
    listing = json.loads((folder / "pipeline.json").read_text())
    listing["stages"][1] |= {"why": HOSTILE, "status": HOSTILE}
    write_json(folder / "pipeline.json", listing | {"text": HOSTILE, "file": HOSTILE})
    page = open_page(write_report(folder), width=390)
    unfold(page)
    assert page.evaluate("() => window.hit") is None
    assert page.locator("script, img").count() == 0
    assert too_wide(page) == []
    assert page.locator("#stage-sft-samples .said").inner_text() == HOSTILE


def test_a_run_that_is_still_going(open_page, tmp_path):
    folder = tmp_path / "going"
    write_lines(folder / "metrics.jsonl", metrics("sft", 60)[:20])
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "lo')
    write_json(folder / "run.json", {"name": "going", "method": "sft", "status": "running"})
    page = open_page(write_report(folder))
    assert page.locator(".outcome").inner_text() == (
        "Running going was still running at step 19 when this was written."
    )
    assert page.locator("main > section > h2").all_inner_texts() == ["Curves", "Lineage", "Reproduce"]
    assert "metrics.jsonl has 1 broken line" in page.locator("#again").inner_text()


def test_rows_that_are_still_there_are_inspected(tmp_path, pairs_file, tiny_model_dir):
    folder = write_run(tmp_path / "dpo", "dpo", "dpo", 4, dataset_name=str(pairs_file))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tiny_model_dir / name).read_bytes())
    found = record("dpo", "dpo", 4, dataset_name=str(pairs_file)) | {"started": "2999-01-01T00:00:00+00:00"}
    write_json(folder / "run.json", found)
    page = write_report(folder).read_text()
    assert "Found in 16 rows of pairs.jsonl" in page and page.count("in tokens; the highest column") == 4
    write_json(folder / "run.json", found | {"started": "2001-01-01T00:00:00+00:00"})
    assert "pairs.jsonl was changed after the run" in write_report(folder).read_text()
    assert "Found in" not in write_report(folder, look_at_rows=False).read_text()


# The verb


def burnish(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "burnish", *words], capture_output=True, text=True, timeout=120
    )


def test_the_verb_writes_the_page_and_prints_the_summary(pipeline, tmp_path):
    result = burnish("report", str(pipeline), "--html", str(tmp_path / "deep" / "page.html"))
    assert (result.returncode, result.stderr) == (0, f"wrote  {tmp_path / 'deep' / 'page.html'}\n")
    assert result.stdout.startswith("bakery: 3 stages") and "It worked." in result.stdout
    assert max(map(len, result.stdout.splitlines()[3:])) <= 80
    assert (tmp_path / "deep" / "page.html").read_text().startswith("<!doctype html>")


def test_json_is_one_object_and_nothing_else(pipeline):
    result = burnish("report", str(pipeline), "--json")
    found = json.loads(result.stdout)
    assert result.stderr == "" and found["report"] == str(pipeline / NAME)
    assert [stage["name"] for stage in found["stages"]] == ["sft", "reward", "dpo"]


def test_a_folder_without_a_run_is_an_error_a_person_can_act_on(tmp_path):
    result = burnish("report", str(tmp_path))
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr == (
        f"error: {tmp_path}: there is no run here: neither pipeline.json nor run.json, metrics.jsonl, "
        "preparation.json\n  fix: give the output_dir of a run, or of a pipeline\n"
    )
