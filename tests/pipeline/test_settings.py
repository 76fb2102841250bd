"""Settings from YAML: lines in messages, keys given twice, numbers, the environment section."""

import os

import pytest

from burnish.errors import UserError
from burnish.pipeline.fields import Field
from burnish.pipeline.settings import apply_environment, read_document, resolve

FIELDS = {
    "learning_rate": Field("learning_rate", "float", "1e-6", "", "X"),
    "eval_strategy": Field("eval_strategy", "IntervalStrategy | str", "'no'", "", "X"),
    "model_name_or_path": Field("model_name_or_path", "str | None", "None", "", "X"),
    "model_init_kwargs": Field("model_init_kwargs", "dict[str, Any] | None", "None", "", "X"),
    "loss_type": Field("loss_type", "list[str]", "['sigmoid']", "", "X"),
    "tier": Field("tier", "str", "'auto'", "", "X", ("auto", "packed")),
}


def read(tmp_path, text):
    path = tmp_path / "dpo.yaml"
    path.write_text(text)
    return resolve(read_document(str(path)).settings(), FIELDS, "burnish dpo --help-all")


def test_reads_scalars_as_their_field_says(tmp_path):
    values = read(
        tmp_path,
        "learning-rate: 1e-5\neval_strategy: no\nmodel_name_or_path: 12\nloss_type: [sigmoid, ipo]\n"
        "model_init_kwargs: {scale: 1e-3, use_cache: no}\ntier: packed\n",
    )
    assert values == {
        "learning_rate": 1e-5,
        "eval_strategy": "no",
        "model_name_or_path": "12",
        "loss_type": ["sigmoid", "ipo"],
        "model_init_kwargs": {"scale": 1e-3, "use_cache": False},
        "tier": "packed",
    }


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            "tier: auto\nlerning_rate: 1e-5\n",
            2,
            ["no option 'lerning_rate'", "Did you mean 'learning_rate'?"],
        ),
        ("lr: 1e-5\n", 1, ["Did you mean 'learning_rate'?", "write learning_rate: 1e-5"]),
        ("# x\n\nlearning_rate: fast\n", 3, ["learning_rate is 'fast'", "expected a number"]),
        ("learning_rate: [1]\n", 1, ["learning_rate is [1]", "expected a number"]),
        ("tier: paked\n", 1, ["tier cannot be 'paked'", "Did you mean 'packed'?", "auto, packed"]),
        ("tier: auto\nlearning_rate: 1\ntier: packed\n", 3, ["'tier' is given twice", "line 1"]),
        ("tier: [auto\n", 2, ["not valid YAML"]),
        ("model_init_kwargs: !!python/object:os.system {}\n", 1, ["not valid YAML"]),
    ],
)
def test_errors_name_the_file_and_the_line(tmp_path, text, line, words):
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert f"dpo.yaml:{line}: " in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_errors_of_whole_files(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_document(str(tmp_path / "none.yaml"))
    with pytest.raises(UserError, match="mapping of keys"):
        read(tmp_path, "- a\n- b\n")
    assert read(tmp_path, "") == {}


def test_the_environment_section_sets_variables(tmp_path, monkeypatch):
    monkeypatch.delenv("BURNISH_TEST_SWITCH", raising=False)
    path = tmp_path / "a.yaml"
    path.write_text("env:\n  BURNISH_TEST_SWITCH: 1\ntier: auto\n")
    document = read_document(str(path))
    apply_environment(document)
    assert os.environ.pop("BURNISH_TEST_SWITCH") == "1"
    assert set(document.settings()) == {"tier"}
