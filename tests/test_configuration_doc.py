"""Every command of docs/configuration.md prints what stands below it; BURNISH_UPDATE_GOLDENS=1 writes it."""

import os
import re
from pathlib import Path

import pytest

from burnish.cli import main

DOC = Path(__file__).parent.parent / "docs" / "configuration.md"
TEXT = DOC.read_text(encoding="utf-8")
BLOCK = re.compile(r"```console\n(.*?)```", re.S)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The files that the page shows."""
    monkeypatch.chdir(tmp_path)
    for name, text in re.findall(r"```yaml\n# ([\w.]+\.yaml)\n(.*?)```", TEXT, re.S):
        (tmp_path / name).write_text(f"# {name}\n{text}")
    return tmp_path


def printed(command, capsys):
    assert command.startswith("burnish ")
    main(command.split()[1:])
    captured = capsys.readouterr()
    return captured.out + captured.err


def shown(block, capsys):
    """The block as it should be: every command with what it prints."""
    commands = [line for line in block.splitlines() if line.startswith("$ ")]
    return "".join(f"{command}\n{printed(command[2:], capsys)}" for command in commands)


def test_every_command_prints_what_the_page_shows(here, capsys):
    found = BLOCK.sub(lambda block: f"```console\n{shown(block[1], capsys)}```", TEXT)
    if "BURNISH_UPDATE_GOLDENS" in os.environ:
        DOC.write_text(found, encoding="utf-8")
    assert found == TEXT and len(BLOCK.findall(TEXT)) > 3


def test_a_schema_is_one_for_the_page_s_files(here, capsys):
    import json

    import jsonschema

    from burnish.pipeline.settings import read_document

    main("schema dpo".split())
    document = read_document("dpo.yaml")
    values = {key: document.loader.construct_object(node, deep=True) for key, node in document.nodes.items()}
    jsonschema.validate(values, json.loads(capsys.readouterr().out))
