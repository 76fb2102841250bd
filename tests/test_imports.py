"""What is imported when: the package and its help must not bring torch."""

import subprocess
import sys
from pathlib import Path

import pytest

import burnish

HEAVY = ("torch", "transformers", "datasets", "peft", "numpy")


def run(code: str, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120)


def heavy_after(code: str, *words: str) -> str:
    report = f"import sys; print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    result = run(f"{code}\n{report}", *words)
    assert result.returncode == 0, result.stderr
    return result.stdout.rpartition("HEAVY ")[2].strip()


def test_importing_the_package_is_light():
    assert heavy_after("import burnish; burnish.__version__; dir(burnish)") == "[]"


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["dpo", "--help"], ["reward", "--help-all"], ["run", "--help"]],
    ids=" ".join,
)
def test_help_is_light(words):
    assert (
        heavy_after("import sys; from burnish.cli import main; assert main(sys.argv[1:]) == 0", *words)
        == "[]"
    )


@pytest.mark.parametrize("name", burnish.EXPORTS)
def test_every_public_name_is_there(name):
    assert getattr(burnish, name).__name__ == name
    assert name in dir(burnish) and name in burnish.__all__


def test_types_are_shipped():
    assert (Path(burnish.__file__).parent / "py.typed").is_file()


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="NoTrainer"):
        burnish.NoTrainer  # noqa: B018


def test_a_submodule_that_is_not_loaded_yet_is_imported_by_name():
    done = run("from burnish import units; print(units.size(4.5e9))")
    assert done.stdout.strip() == "4.50 GB", done.stderr
