"""The README's tree lists every file, and its commands and names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def listed() -> set[str]:
    """The files of the tree under `burnish/` and `benchmarks/`, from its indentation."""
    block = next(b for b in README.split("```") if b.strip().startswith("burnish/\n"))
    path, files = [], set()
    for line in block.strip().splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        path = [*path[:depth], name.rstrip("/")]
        if name.endswith(".py"):
            files.add("/".join(path))
    return files


def test_the_tree_lists_every_file_and_no_other():
    found = {
        str(path.relative_to(ROOT))
        for folder in ("burnish", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if not path.name.startswith("_")
    }
    assert listed() == found


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^make (\w+)", README, re.M)
    assert targets and all(re.search(rf"^{target}:", makefile, re.M) for target in targets)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:burnish|tests|examples)/[\w/.]+)`", README))))
def test_every_file_that_is_named_exists(path):
    assert (ROOT / path).exists()


def test_the_flags_of_the_commands_exist():
    from burnish.pipeline.methods import METHODS

    for verb, flags in re.findall(r"^burnish (sft|reward|dpo) (.+)$", README, re.M):
        known = METHODS[verb].fields()
        assert all(flag in known for flag in re.findall(r"--(\w+)", flags))


def test_the_example_pipeline_is_a_pipeline():
    from burnish.pipeline.run import read_pipeline
    from burnish.pipeline.settings import read_document

    pipeline = read_pipeline(read_document(ROOT / "examples" / "pipeline.yaml"))
    assert [stage.name for stage in pipeline.stages] == ["sft", "dpo"]
