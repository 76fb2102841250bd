"""Every command of the README and the documents runs, and prints what they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.console import DOCUMENTS, agrees, commands_in, run
from tests.docs.sandbox import furnish

NOT_RUN: dict[str, str] = {
    "burnish demo": "ten minutes; tests/demo runs it with --quick",
}
"""Commands that no test can run here, and why."""


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_do_what_the_document_says(document: Path, tmp_path):
    furnish(tmp_path)
    wrong = []
    for command in commands_in(document):
        if command.text in NOT_RUN:
            continue
        done = run(command.text, tmp_path)
        place = f"{command.document}:{command.line}: {command.text}"
        if done.returncode:
            wrong.append(f"{place}\nexit code {done.returncode}\n{done.stdout}{done.stderr}")
        elif command.printed is not None and not agrees(command.printed, done.stdout.splitlines()):
            wrong.append(f"{place}\nprints something else:\n{done.stdout}")
    assert not wrong, "\n\n".join(wrong)
