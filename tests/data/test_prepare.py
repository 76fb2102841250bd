"""One pass from rows to token ids: truncation, what is dropped and counted, caching."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import datasets
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish import units
from burnish.data.example import PREPARED_COLUMNS, TokenizedExample
from burnish.data.forest import Forest
from burnish.data.preparation.fingerprint import fingerprint
from burnish.data.preparation.options import PreparationOptions
from burnish.data.preparation.prepare import prepare
from burnish.data.preparation.truncate import fit
from burnish.data.reading.formats import LANGUAGE, PREFERENCE
from burnish.data.sources.rows import Origins, Source
from burnish.data.text.preview import preview
from burnish.errors import UserError
from tests.data import chats
from tests.data.chats import assistant, byte_tokenizer, user


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


# Truncation


def example(prompt: int, *completions: int, trained_from: int = 0) -> TokenizedExample:
    """Tokens numbered by position, so that a cut shows."""
    return TokenizedExample(
        list(range(prompt)),
        [list(range(prompt, prompt + length)) for length in completions],
        [[i >= trained_from for i in range(length)] for length in completions],
    )


def fitted(tree: TokenizedExample, options: PreparationOptions) -> tuple[TokenizedExample | None, str]:
    pieces, dropped = fit(tree, options)
    return (pieces[0] if pieces else None), dropped


def test_keep_start_cuts_completions():
    cut, dropped = fitted(example(3, 4, 1), PreparationOptions(max_length=5))
    assert (cut.prompt, cut.completions, dropped) == ([0, 1, 2], [[3, 4], [3]], "")


def test_what_fits_exactly_is_left_alone():
    tree = example(3, 4, 2)
    assert fitted(tree, PreparationOptions(max_length=7))[0] is tree


def test_keep_end_cuts_the_prompt_for_all_that_lose_as_much():
    cut, dropped = fitted(example(3, 4, 4), PreparationOptions(max_length=6, truncation_mode="keep_end"))
    assert dropped == "chosen equals rejected after truncation"
    pair = replace(example(3, 4, 4), completions=[[3, 4, 5, 6], [3, 4, 5, 7]])
    cut, dropped = fitted(pair, PreparationOptions(max_length=6, truncation_mode="keep_end"))
    assert (cut.prompt, cut.completions, dropped) == ([1, 2], [[3, 4, 5, 6], [3, 4, 5, 7]], "")


def test_keep_end_takes_no_prompt_from_a_short_completion():
    cut, dropped = fitted(example(3, 4, 2), PreparationOptions(max_length=5, truncation_mode="keep_end"))
    assert (cut.prompt, cut.completions, dropped) == ([], [[2, 3, 4, 5, 6], [0, 1, 2, 3, 4]], "")
    assert cut.trained == [[False, True, True, True, True], [False, False, False, True, True]]


def test_keep_end_of_one_long_completion():
    cut, dropped = fitted(example(2, 6), PreparationOptions(max_length=4, truncation_mode="keep_end"))
    assert (cut.prompt, cut.completions, dropped) == ([], [[4, 5, 6, 7]], "")


@pytest.mark.parametrize(
    ("tree", "options", "reason"),
    [
        (example(5, 2, 2), {"max_length": 5}, "the prompt alone fills max_length"),
        (example(0, 9, trained_from=6), {"max_length": 5}, "no trained token after truncation"),
        (example(3, 4, 2), {"max_length": 6, "truncation_mode": "drop"}, "longer than max_length"),
        (example(3, 2, trained_from=2), {}, "no trained token"),
        (example(0, 1), {}, "no trained token"),  # the first token of all is predicted from nothing
        (example(0, 0), {}, "no trained token"),
        (example(2, 3, 0), {}, "no trained token"),
        (example(3, 4, 2), {"max_length": 7}, ""),
        (example(3, 4, 2), {"max_length": None}, ""),
    ],
)
def test_reasons_to_drop(tree, options, reason):
    assert fit(tree, PreparationOptions(**options))[1] == reason


@given(
    prompt=st.integers(0, 8),
    completions=st.lists(st.integers(0, 8), min_size=1, max_size=3),
    limit=st.integers(2, 12),
    mode=st.sampled_from(["keep_start", "keep_end"]),
)
def test_what_is_kept_fits_and_is_a_run_of_what_was(prompt, completions, limit, mode):
    before = example(prompt, *completions)
    after, dropped = fitted(before, PreparationOptions(max_length=limit, truncation_mode=mode))
    assert (after is None) == bool(dropped)
    if after is None:
        return
    for tokens, mask, whole in zip(after.completions, after.trained, before.completions, strict=True):
        path = after.prompt + tokens
        assert len(path) <= limit and len(mask) == len(tokens)
        everything = before.prompt + whole
        assert path == (everything[:limit] if mode == "keep_start" else everything[-limit:])


# The pass


ROWS = [
    {"prompt": [user("one")], "completion": [assistant("two")], "id": 7},
    {"prompt": [user("three " * 60)], "completion": [assistant("four")], "id": 8},
    {"prompt": [user("five")], "completion": [assistant("six " * 60)], "id": 9},
]


def test_report_counts_every_row():
    tokenizer = byte_tokenizer(chats.CHATML)
    prepared = prepare(
        Dataset.from_list(ROWS), LANGUAGE, tokenizer, PreparationOptions(max_length=40), "train"
    )
    report = prepared.report
    assert (report.read, report.kept, report.truncated) == (3, 2, 1)
    assert report.dropped["the prompt alone fills max_length"].rows == [1]
    assert prepared.dataset["row"][:] == [0, 2]
    assert set(prepared.dataset.column_names) == PREPARED_COLUMNS
    assert prepared.dataset["origin"][:] == ["train, row 0 (id 7)", "train, row 2 (id 9)"]
    kept = [TokenizedExample.from_row(row) for row in prepared.dataset]
    assert report.tokens == sum(e.length for e in kept) and report.longest == 40
    assert report.trained_tokens == sum(e.trained_tokens for e in kept) == Forest.pack(kept).target.numel()
    assert report.to_dict()["dropped"]["the prompt alone fills max_length"]["count"] == 1
    assert str(report).splitlines() == [
        f"train: 2 of 3 rows kept, 1 truncated; {report.tokens} tokens, {report.trained_tokens} of them "
        f"trained ({units.share(report.trained_tokens / report.tokens)}); largest row 40 tokens",
        "  dropped, the prompt alone fills max_length: 1 (row 1)",
    ]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=12), st.integers(4, 40)
)
def test_kept_and_dropped_add_up(sizes, limit):
    rows = [{"input_ids": list(range(a + b)), "completion_mask": [0] * a + [1] * b} for a, b in sizes]
    dataset = Dataset.from_list(rows)
    try:
        dataset, report = prepare(dataset, LANGUAGE, byte_tokenizer(), PreparationOptions(max_length=limit))
    except UserError as error:
        assert str(error).startswith(f"dataset: none of the {len(rows)} rows can be trained: ")
        return
    assert report.kept + report.dropped_rows == report.read == len(rows)
    assert len(dataset) == report.kept
    assert all(TokenizedExample.from_row(row).trained_tokens for row in dataset)


def test_margin_is_carried_and_other_columns_are_not():
    rows = [{"prompt": "a", "chosen": " b", "rejected": " c", "margin": 1, "votes": 3}]
    dataset, _ = prepare(Dataset.from_list(rows), PREFERENCE, byte_tokenizer(), PreparationOptions())
    tree = TokenizedExample.from_row(dataset[0])
    assert tree.columns == {"margin": 1.0} and tree.row == 0


def test_equal_answers_are_dropped_and_counted():
    rows = [
        {"prompt": "a", "chosen": " b", "rejected": " b"},
        {"prompt": "a", "chosen": " b", "rejected": " c"},
    ]
    _, report = prepare(Dataset.from_list(rows), PREFERENCE, byte_tokenizer(), PreparationOptions())
    assert report.kept == 1 and report.dropped["chosen equals rejected"].rows == [0]


def test_text_column_of_another_name():
    options = PreparationOptions(dataset_text_field="story")
    dataset, _ = prepare(Dataset.from_list([{"story": "hello"}]), LANGUAGE, byte_tokenizer(), options)
    assert byte_tokenizer().decode(dataset[0]["completion_ids"][0]) == "hello</s>"


def test_end_of_text_of_choice():
    options = PreparationOptions(eos_token="<|end|>")
    dataset, _ = prepare(Dataset.from_list([{"text": "hello"}]), LANGUAGE, byte_tokenizer(), options)
    assert byte_tokenizer().decode(dataset[0]["completion_ids"][0]) == "hello<|end|>"


def test_template_arguments_of_the_row_come_over_the_options():
    template = "{{ greeting }}{{ name }}|" + chats.CHATML
    options = PreparationOptions(chat_template_kwargs={"greeting": "hello ", "name": "you"})
    rows = [{"messages": [user("a"), assistant("b")], "chat_template_kwargs": {"name": "there"}}]
    dataset, _ = prepare(Dataset.from_list(rows), LANGUAGE, byte_tokenizer(template), options)
    assert byte_tokenizer().decode(dataset[0]["completion_ids"][0]).startswith("hello there|")


def test_tools_reach_the_template():
    template = "{% for t in tools or [] %}{{ t.function.name }}|{% endfor %}" + chats.CHATML
    rows = [{"messages": [user("a"), assistant("b")], "tools": '[{"name": "search"}]'}]
    dataset, _ = prepare(Dataset.from_list(rows), LANGUAGE, byte_tokenizer(template), PreparationOptions())
    assert byte_tokenizer().decode(dataset[0]["completion_ids"][0]).startswith("search|")


def test_two_processes_prepare_the_same():
    dataset = Dataset.from_list(ROWS * 4)
    tokenizer = byte_tokenizer(chats.CHATML)
    alone = prepare(dataset, LANGUAGE, tokenizer, PreparationOptions(max_length=40))
    shared = prepare(dataset, LANGUAGE, tokenizer, PreparationOptions(max_length=40, num_proc=2))
    assert shared.dataset.to_list() == alone.dataset.to_list() and shared.report == alone.report


def test_rows_are_named_in_errors():
    rows = [{"text": "a"}, {"text": None}]
    with pytest.raises(UserError) as error:
        prepare(Dataset.from_list(rows), LANGUAGE, byte_tokenizer(), PreparationOptions(), "train")
    assert str(error.value).startswith("train, row 1, column 'text': expected a string, found nothing")
    with pytest.raises(UserError, match="row 1, column 'text': expected a string, found nothing"):
        options = PreparationOptions(num_proc=2)
        prepare(Dataset.from_list(rows), LANGUAGE, byte_tokenizer(), options)
    with pytest.raises(UserError) as error:
        prepare(
            Dataset.from_list([{"messages": [user("a")]}]),
            LANGUAGE,
            byte_tokenizer(),
            PreparationOptions(),
            "eval",
        )
    assert str(error.value).startswith("eval, row 0: the tokenizer has no chat template")


def test_no_row_left():
    with pytest.raises(UserError) as error:
        prepare(
            Dataset.from_list([{"prompt": "one two three", "completion": " four"}]),
            LANGUAGE,
            byte_tokenizer(),
            PreparationOptions(max_length=2),
        )
    assert str(error.value) == (
        "dataset: none of the 1 rows can be trained: the prompt alone fills max_length: 1 (row 0)\n"
        "  fix: raise max_length"
    )


def test_unknown_option_values():
    with pytest.raises(UserError, match=r"truncation_mode: expected keep_start or .*, found 'middle'"):
        PreparationOptions(truncation_mode="middle")
    with pytest.raises(UserError, match="max_length: expected at least 2 tokens, found 0"):
        PreparationOptions(max_length=0)


def test_cache_goes_by_data_template_and_options(tmp_path, monkeypatch):
    Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "rows"))

    def run(template=chats.CHATML, **options) -> str:
        dataset = Dataset.load_from_disk(str(tmp_path / "rows"))
        tokenizer = byte_tokenizer(template)
        return prepare(dataset, LANGUAGE, tokenizer, PreparationOptions(**options)).dataset._fingerprint

    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    first = run()
    assert run() == first
    assert [path.name for path in (tmp_path / "cache" / "rows").iterdir()] == [first]
    others = {
        run(template=chats.DEFAULT_SYSTEM),
        run(completion_only_loss=False),
        run(assistant_only_loss=True),
    }
    assert len(others - {first}) == 3


# The preview


def test_preview_marks_what_is_trained():
    tokenizer = byte_tokenizer(chats.CHATML)
    rows = [{"messages": [user("one"), assistant("two")]}]
    options = PreparationOptions(assistant_only_loss=True)
    dataset, _ = prepare(Dataset.from_list(rows), LANGUAGE, tokenizer, options)
    assert preview(TokenizedExample.from_row(dataset[0]), tokenizer) == (
        "<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\n⟦two<|im_end|>\n⟧"
    )


def test_preview_of_two_completions_and_of_long_text():
    tree = TokenizedExample([1], [[2, 3], [4]], [[True, True], [True]])

    class Letters:
        def decode(self, ids: list[int]) -> str:
            return "".join("_abcd"[i] for i in ids)

    assert preview(tree, Letters()) == "a\n--- completion 0\n⟦bc⟧\n--- completion 1\n⟦d⟧"
    assert preview(TokenizedExample([1] * 9, [[2]], [[True]]), Letters(), limit=4) == "aa … aa⟦b⟧"


# Splitting, faults, processes, caches


WORDS = " ".join(f"word{n}" for n in range(40))


def test_split_loses_no_token_and_counts_the_row_once():
    tokenizer = byte_tokenizer()
    rows = Dataset.from_list([{"text": WORDS}, {"text": "short"}])
    whole, _ = prepare(rows, LANGUAGE, tokenizer, PreparationOptions(max_length=None))
    options = PreparationOptions(max_length=32, truncation_mode="split")
    pieces, report = prepare(rows, LANGUAGE, tokenizer, options)
    ids = [row["completion_ids"][0] for row in pieces]
    assert max(map(len, ids)) == 32
    long, short = (row["completion_ids"][0] for row in whole)
    assert [token for piece in ids[:-1] for token in piece] == long and ids[-1] == short
    assert all(all(row["completion_mask"][0]) for row in pieces)
    assert (report.read, report.kept, report.examples) == (2, 2, len(ids)) and len(ids) > 3
    assert report.truncated == len(ids) - 1
    assert pieces["row"][:] == [0] * (len(ids) - 1) + [1]


def test_a_long_row_stops_the_run_where_asked():
    rows = Dataset.from_list([{"text": "short"}, {"text": WORDS}])
    with pytest.raises(UserError) as error:
        prepare(
            rows,
            LANGUAGE,
            byte_tokenizer(),
            PreparationOptions(max_length=32, truncation_mode="error"),
            "train",
        )
    assert str(error.value).startswith("train, row 1: ") and "max_length is 32" in str(error.value)


def test_answers_that_a_cut_makes_equal_are_dropped():
    same = "the same beginning, long enough, "
    rows = [
        {"prompt": "a", "chosen": same + "b", "rejected": same + "c"},
        {"prompt": "a", "chosen": " b", "rejected": " c"},
    ]
    options = PreparationOptions(max_length=16)
    kept, report = prepare(Dataset.from_list(rows), PREFERENCE, byte_tokenizer(), options)
    assert report.dropped["chosen equals rejected after truncation"].rows == [0]
    assert kept["row"][:] == [1]


FAULTY = [
    {"text": None},
    {"text": "one two"},
    {"text": None},
    *({"text": f"row {n}"} for n in range(97)),
]


def test_all_faults_are_in_the_error():
    with pytest.raises(UserError) as error:
        prepare(Dataset.from_list(FAULTY), LANGUAGE, byte_tokenizer(), PreparationOptions(), "train")
    text = str(error.value)
    assert text.startswith("train, row 0, column 'text'")
    assert "2 of 100 rows cannot be read:" in text and "text is null or missing: 2 (rows 0, 2)" in text


def test_faulty_rows_are_skipped_up_to_the_budget():
    def run(budget: float):
        options = PreparationOptions(on_bad_row="skip", bad_row_budget=budget, batch_size=1)
        return prepare(Dataset.from_list(FAULTY), LANGUAGE, byte_tokenizer(), options, "train")

    for budget in (0.02, 2):
        kept, report = run(budget)
        assert report.kept == len(kept) == 98 and report.dropped_rows == 2 and report.read == 100
        assert report.faults["text is null or missing"].rows == [0, 2]
    with pytest.raises(UserError, match=r"more than bad_row_budget=0\.01 allows"):
        run(0.01)


@pytest.mark.parametrize("num_proc", [None, 2])
def test_columns_are_the_same_where_a_whole_batch_is_faulty(num_proc):
    faulty = [{"prompt": "a", "chosen": None, "rejected": " c", "margin": 1.0}] * 2
    fine = [{"prompt": "a", "chosen": " b", "rejected": " c", "margin": 2.0}] * 3
    options = PreparationOptions(on_bad_row="skip", bad_row_budget=2, batch_size=2, num_proc=num_proc)
    kept, report = prepare(Dataset.from_list(faulty + fine), PREFERENCE, byte_tokenizer(), options)
    assert kept["margin"][:] == [2.0] * 3 and kept["row"][:] == [2, 3, 4]
    assert report.faults["chosen is null or missing"].rows == [0, 1]


def test_batches_and_processes_do_not_change_what_is_made(tmp_path, monkeypatch):
    dataset = Dataset.from_list(ROWS * 4)
    tokenizer = byte_tokenizer(chats.CHATML)
    found = []
    for number, (size, processes) in enumerate([(1000, None), (1, None), (5, None), (5, 2)]):
        monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / str(number)))  # nothing is shared by chance
        options = PreparationOptions(max_length=40, batch_size=size, num_proc=processes)
        found.append(prepare(dataset, LANGUAGE, tokenizer, options))
    assert all(each.dataset.to_list() == found[0].dataset.to_list() for each in found)
    assert all(each.report == found[0].report for each in found)
    assert all(list((tmp_path / str(number)).rglob("rows.arrow")) for number in range(4))


def key_of(read_row=LANGUAGE, **options) -> str:
    source = Source(Dataset.from_list(ROWS), Origins("rows"))
    return fingerprint(source, read_row, byte_tokenizer(chats.CHATML), PreparationOptions(**options))


def test_another_process_finds_the_cache():
    words = "from tests.data.test_prepare import key_of; print(key_of())"
    command = [sys.executable, "-c", words]
    other = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    assert other.stdout.strip() == key_of()


@pytest.mark.parametrize("place", ["{folder}/mine.py", "mine"])
def test_a_function_of_ones_own_counts_by_its_file(place, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    name = place.format(folder=tmp_path) + ":row"
    keys = []
    for word in ("one", "three"):
        (tmp_path / "mine.py").write_text(
            f"def helper():\n    return '{word}'\ndef row(row):\n    return {{'text': helper()}}\n"
        )
        sys.modules.pop("mine", None)
        keys.append(key_of(row_function=name))
        assert key_of(row_function=name) == keys[-1]
    sys.modules.pop("mine", None)
    assert len({*keys, key_of()}) == 3


def test_how_rows_are_made_is_no_part_of_the_key():
    assert key_of(num_proc=2, batch_size=7) == key_of() != key_of(max_length=9)
