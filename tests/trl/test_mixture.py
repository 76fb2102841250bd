"""`get_dataset`: several datasets as one."""

import pytest

from burnish import DatasetConfig, DatasetMixtureConfig, get_dataset
from burnish.data.sources.mixture import Entry, load_mixture
from burnish.errors import UserError
from tests.conftest import write_rows


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    for name, rows in (("a", 4), ("b", 20)):
        write_rows(folder / f"{name}.jsonl", [{"prompt": f"{name}{n}", "n": n} for n in range(rows)])
    return folder


def prompts(files, *entries: dict, **options) -> list[str]:
    named = [{**entry, "path": str(files / entry["path"])} for entry in entries]
    return get_dataset(DatasetMixtureConfig(datasets=named, **options))["train"]["prompt"][:]


def test_datasets_are_put_one_after_the_other(files):
    found = prompts(files, {"path": "a.jsonl"}, {"path": "b.jsonl"})
    assert found == [f"a{n}" for n in range(4)] + [f"b{n}" for n in range(20)]


@pytest.mark.parametrize(
    ("fractions", "counts"),
    [((0.5, 0.5), (4, 4)), ((1, 3), (4, 12)), ((1, 9), (2, 20)), ((0, 1), (0, 20))],
)
def test_fractions_are_shares_of_the_largest_mixture_without_repetition(files, fractions, counts):
    entries = [{"path": f"{name}.jsonl", "fraction": f} for name, f in zip("ab", fractions, strict=True)]
    found = prompts(files, *entries)
    wanted = [f"{name}{n}" for name, count in zip("ab", counts, strict=True) for n in range(count)]
    assert found == wanted
    sources = load_mixture([Entry.of({**each, "path": str(files / each["path"])}) for each in entries])
    assert [text for source in sources for text in source.dataset["prompt"]] == wanted


def test_a_part_is_held_out_the_same_every_time(files):
    config = DatasetMixtureConfig([DatasetConfig(str(files / "b.jsonl"))], test_split_size=0.25)
    first, second = get_dataset(config), get_dataset(config)
    assert {name: len(rows) for name, rows in first.items()} == {"train": 15, "test": 5}
    assert first["test"]["n"][:] == second["test"]["n"][:]


def test_columns_splits_and_builders(files):
    config = {"path": "json", "data_files": str(files / "a.jsonl"), "split": "train[:2]", "columns": ["n"]}
    assert get_dataset(DatasetMixtureConfig([config]))["train"][:] == {"n": [0, 1]}  # type: ignore[list-item]


def test_a_stream(files):
    config = DatasetMixtureConfig([DatasetConfig(str(files / "a.jsonl"))], streaming=True)
    assert [row["n"] for row in get_dataset(config)["train"]] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("entries", "options", "said"),
    [
        ([], {}, "datasets: there are none"),
        ([{"path": "a.jsonl", "fraction": 0.5}, {"path": "b.jsonl"}], {}, "found None among the fractions"),
        ([{"path": "a.jsonl", "fraction": 0}], {}, "all fractions are 0"),
        ([{"path": "a.jsonl", "colums": ["n"]}], {}, "has no key 'colums'. Did you mean 'columns'?"),
        ([{"path": "a.jsonl", "columns": ["m"]}], {}, "no column 'm'; there is prompt, n"),
        ([{"path": "json", "split": "nope"}], {}, "the dataset cannot be loaded"),
        (
            [{"path": "a.jsonl", "fraction": 1}],
            {"streaming": True},
            "how many rows a stream has is not known",
        ),
        ([{"path": "a.jsonl"}], {"streaming": True, "test_split_size": 2}, "test_split_size: how many rows"),
    ],
)
def test_what_cannot_be_mixed_is_said(files, entries, options, said, monkeypatch):
    monkeypatch.chdir(files)
    with pytest.raises(UserError) as error:
        get_dataset(DatasetMixtureConfig(datasets=entries, **options))
    assert said in str(error.value)


def test_a_weight_and_a_fraction_say_different_things():
    with pytest.raises(UserError, match="both weight and fraction are given"):
        Entry.of({"path": "a.jsonl", "weight": 0.5, "fraction": 0.5})
