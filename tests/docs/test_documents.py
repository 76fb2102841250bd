"""Every command of the README and the documents runs, and prints what they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.console import DOCUMENTS, ROOT, agrees, commands_in, run
from tests.docs.sandbox import furnish

NOT_RUN = {
    "burnish push runs/dpo me/tickets": "the hub; tests/export runs it against one on this machine",
}
"""Commands that no test can run here, and why."""

OF_THEIR_OWN = {
    "configuration.md": "tests/test_configuration_doc.py",
    "methods.md": "tests/pipeline/test_catalog.py",
}
"""Documents that another test compares with what is printed, to the letter."""


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a dozen processes, each of which imports torch
@pytest.mark.parametrize(
    "document", [path for path in DOCUMENTS if path.name not in OF_THEIR_OWN], ids=lambda path: path.name
)
def test_commands_do_what_the_document_says(document: Path, tmp_path):
    furnish(tmp_path, document)
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


def test_what_is_not_run_is_in_a_document():
    told = {command.text for document in DOCUMENTS for command in commands_in(document)}
    assert set(NOT_RUN) <= told
    assert all((ROOT / test).is_file() for test in OF_THEIR_OWN.values())
