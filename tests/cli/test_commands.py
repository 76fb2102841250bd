"""The command as a person runs it: help, the environment, and wrong input, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

import burnish
from burnish.pipeline.methods import METHODS


def burnish_command(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "burnish", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd)


def test_version():
    result = burnish_command("--version")
    assert (result.returncode, result.stdout) == (0, f"burnish {burnish.__version__}\n")


def test_the_bare_command_shows_its_verbs():
    result = burnish_command()
    assert result.returncode == 0 and result.stderr == ""
    for verb in (*METHODS, "run", "inspect", "env", "demo"):
        assert f"  {verb} " in result.stdout


@pytest.mark.parametrize("method", METHODS)
def test_help_shows_the_common_options_and_help_all_every_one(method):
    short, full = burnish_command(method, "--help"), burnish_command(method, "--help-all")
    assert short.returncode == full.returncode == 0
    for option in ("--dataset_name", "--model_name_or_path", "--learning_rate", "--lora_r"):
        assert option in short.stdout
    fields = METHODS[method].fields()
    assert all(f"--{name}" in full.stdout for name in fields)
    shown = [name for name in fields if f"--{name} " in short.stdout]
    assert len(shown) < len(fields) / 2


def test_env_names_versions_and_machine():
    result = burnish_command("env")
    assert result.returncode == 0
    for word in ("burnish:", "torch:", "transformers:", "cores:", "memory:", "device:"):
        assert word in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dpo", "--lerning_rate", "1"], "--lerning_rate: there is no option 'lerning_rate'. Did you mean"),
        (["dpo", "--learning_rate", "fast"], "--learning_rate: learning_rate is 'fast', expected a number"),
        (["dpo", "--config", "none.yaml"], "none.yaml: there is no such file"),
        (["sft"], "sft has no model_name_or_path"),
        (["run", "none.yaml"], "none.yaml: there is no such file"),
        (["fly"], "fly"),
    ],
    ids=" ".join,
)
def test_wrong_words_end_with_one_message(words, message, tmp_path):
    result = burnish_command(*words, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback(tmp_path):
    result = burnish_command("sft", "--debug", cwd=tmp_path)
    assert result.returncode == 2
    assert "Traceback" in result.stderr and "UserError" in result.stderr
