"""Real data of every layout: each file is recognised by itself, read to its last row, and trained on.

The files lie beside the checkout, and the tests are skipped where they do not.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import datasets
import pytest

from burnish import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer
from burnish.data.preparation.options import PreparationOptions
from burnish.data.preparation.prepare import prepare
from burnish.data.reading.formats import family_of
from burnish.data.sources.source import load_rows
from tests.conftest import save_tiny_model, tiny_tokenizer

DATA = Path(__file__).parents[2] / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the shared data are not here")

TOOLS = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}<call>{{ call.function | tojson }}</call>{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

PAIRS = "preference, from columns prompt, chosen, rejected"
FORMATS = {
    "eval_llmbar_419": ("preference", f"{PAIRS}; not used: subset"),
    "gsm8k_test": ("language", "question and answer, from columns question, answer; not used: answer_value"),
    "gsm8k_train": ("language", "question and answer, from columns question, answer; not used: answer_value"),
    "messy_user_prefs": (
        "preference",
        "preference, from columns question, good_answer, bad_answer; not used: id, app, votes, Notes",
    ),
    "pref_hh_harmless_test": ("preference", PAIRS),
    "pref_hh_harmless_train": ("preference", PAIRS),
    "pref_oasst_test": ("preference", f"{PAIRS}; not used: rank_gap, tree_id"),
    "pref_oasst_train": ("preference", f"{PAIRS}; not used: rank_gap, tree_id"),
    "pref_politeness_test": ("preference", PAIRS),
    "pref_politeness_train": ("preference", PAIRS),
    "raw_alpaca_en_999": ("language", "Alpaca, from columns instruction, output, input"),
    "raw_glaive_tools_300": ("language", "ShareGPT conversations, from columns conversations, tools"),
    "raw_hh_strings_200": ("preference", "transcripts (hh-rlhf), from columns chosen, rejected"),
    "raw_kto_300": ("unpaired", "unpaired preference, chats, from columns messages, label"),
    "raw_sharegpt_dpo_300": ("preference", "ShareGPT pairs, from columns conversations, chosen, rejected"),
    "rlvr_reasoning_gym_test": (
        "language",
        "question and answer, from columns prompt, answer; not used: task, config, metadata",
    ),
    "rlvr_reasoning_gym_train": (
        "language",
        "question and answer, from columns prompt, answer; not used: task, config, metadata",
    ),
    "sft_permissive_test": ("language", "messages, from columns messages; not used: source"),
    "sft_permissive_train": ("language", "messages, from columns messages; not used: source"),
}
COLUMNS = {
    "messy_user_prefs": {"prompt": "question", "chosen": "good_answer", "rejected": "bad_answer"},
}
MESSY = "messy_user_prefs"
DROPPED = {"raw_hh_strings_200": {"empty completion": [168]}}  # the chosen answer is empty
CLEAN = [name for name in FORMATS if name != MESSY]


@pytest.fixture(autouse=True)
def quiet(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def source(name: str):
    return load_rows(DATA / f"{name}.jsonl", columns=COLUMNS.get(name))


def prepared(name: str, options: PreparationOptions | None = None):
    found = source(name)
    family = family_of(found.dataset[0], found.columns)
    return prepare(found, family, tiny_tokenizer(TOOLS), options or PreparationOptions(max_length=None))


def test_every_file_is_known():
    assert {path.stem for path in DATA.glob("*.jsonl")} == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_is_recognised_by_itself(name):
    found = source(name)
    family = family_of(found.dataset[0], found.columns)
    assert (family.name, str(family.recognise(found.dataset[0], found.columns))) == FORMATS[name]


@pytest.mark.parametrize("name", CLEAN)
def test_every_row_of_a_clean_file_can_be_read(name):
    report = prepared(name).report
    assert report.read == sum(1 for _ in (DATA / f"{name}.jsonl").open(encoding="utf-8"))
    assert report.faults == {}
    assert {reason: tally.rows for reason, tally in report.dropped.items()} == DROPPED.get(name, {})


def test_the_planted_faults_are_found_exactly():
    found = source(MESSY)
    ids = found.dataset["id"][:]
    planted = json.loads((DATA / f"{MESSY}.defects.json").read_text(encoding="utf-8"))
    of_type = ("bad_answer_null", "missing_bad_answer_key", "numeric_answer", "list_instead_of_string")
    faults = {row for kind in (*of_type, "already_non_string_in_source") for row in planted[kind]} & {*ids}
    options = PreparationOptions(max_length=None, on_bad_row="skip", bad_row_budget=1000)
    made = prepared(MESSY, options)
    assert sum(tally.count for tally in made.report.faults.values()) == len(faults)
    assert made.report.read == len(ids) == made.report.kept + made.report.dropped_rows
    gone = {ids[row] for row in range(len(ids))} - {ids[row] for row in made.dataset["row"][:]}
    empty_or_equal = {
        row
        for kind in ("good_answer_empty", "good_equals_bad", "already_empty_or_identical_in_source")
        for row in planted[kind]
    }
    assert faults <= gone <= faults | empty_or_equal
    assert (
        set(planted["good_answer_empty"]) & {*ids} <= gone and {*planted["good_equals_bad"]} & {*ids} <= gone
    )


# A step of training


def shortest(name: str, count: int = 8) -> datasets.Dataset:
    rows = source(name).dataset
    if name == MESSY:
        rows = rows.filter(
            lambda row: all(isinstance(row[c], str) and row[c].strip() for c in COLUMNS[name].values())
        )
    order = sorted(range(len(rows)), key=lambda index: len(json.dumps(rows[index])))
    return rows.select(order[len(order) // 10 :][:count])


def losses(name: str, method: str, model: Path, folder: Path) -> list[float]:
    trainer_class, config_class = {
        "sft": (SFTTrainer, SFTConfig),
        "reward": (RewardTrainer, RewardConfig),
        "dpo": (DPOTrainer, DPOConfig),
    }[method]
    args = config_class(
        output_dir=str(folder / "out"),
        max_steps=1,
        logging_steps=1,
        per_device_train_batch_size=8,
        max_length=None,
        columns=COLUMNS.get(name),
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        bf16=False,
    )
    trainer = trainer_class(str(model), args=args, train_dataset=shortest(name))
    trainer.train()
    return [log["loss"] for log in trainer.state.log_history if "loss" in log]


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("chat"), chat_template=TOOLS)


@pytest.fixture(scope="module")
def plain_model(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("plain"), chat_template=None)


METHODS = {"preference": ("reward", "dpo"), "language": ("sft",), "unpaired": ("sft",)}


@pytest.mark.parametrize(
    ("name", "method"),
    [(name, method) for name, (family, _) in FORMATS.items() for method in METHODS[family]],
)
def test_a_step(name, method, chat_model, tmp_path):
    (loss,) = losses(name, method, chat_model, tmp_path)
    assert math.isfinite(loss)
    if method == "dpo":
        assert loss == pytest.approx(math.log(2), abs=1e-5)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("raw_alpaca_en_999", "sft"),
        ("gsm8k_train", "sft"),
        ("raw_hh_strings_200", "dpo"),
        ("raw_hh_strings_200", "reward"),
        ("messy_user_prefs", "dpo"),
    ],
)
def test_a_step_without_a_chat_template(name, method, plain_model, tmp_path):
    (loss,) = losses(name, method, plain_model, tmp_path)
    assert math.isfinite(loss)
