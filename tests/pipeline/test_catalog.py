"""docs/methods.md is what the docstrings say, and they say all of it."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from burnish.pipeline import options_catalog
from burnish.pipeline.catalog import COMMAND, TABLES, Said, columns, document, documentation, lines_of, title
from burnish.pipeline.methods import METHODS

FILE = Path(__file__).parents[2] / "docs" / "methods.md"
LOSSES = [
    pytest.param(function, id=f"{method}-{name or function.__name__}")
    for method, tables in TABLES.items()
    for losses in tables
    for name, function in losses.functions.items()
]


def test_the_file_is_up_to_date():
    assert FILE.read_text(encoding="utf-8") == document(), f"stale: {COMMAND}"


def test_the_options_are_up_to_date():
    written = FILE.with_name("options.md").read_text(encoding="utf-8")
    assert written == options_catalog.document(), f"stale: {options_catalog.COMMAND}"


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_every_option_is_in_a_table_that_holds_for_the_method(method):
    """Under its method where that has it in a way of its own, else among those of all, or of no effect."""
    text = options_catalog.document()
    own = text.partition(f"## {method.prefix}\n")[2].partition("\n## ")[0]
    common, _, idle = text.partition("## Data\n")[2].partition("## Without effect, or refused")
    for field in method.fields().values():
        if options_catalog.is_idle(field):
            assert f"| `{field.name}` | {' '.join(field.help.split())} |" in idle
        else:
            line = options_catalog.table([field]).splitlines()[-1]
            assert line in own or (line in common and f"| `{field.name}` |" not in own)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_has_a_formula_a_source_and_a_use(loss):
    said = Said.of(loss)
    assert re.search(r"[-+²(=]|\blog\b", said.formula), "the first paragraph is the formula"
    assert re.search(r"arXiv:\d{4}\.\d{5}|\b(19|20)\d\d\b", said.source), "then comes the source"
    assert said.use.endswith("."), "then a sentence that begins with Use"


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_a_method_says_when_to_use_it(method):
    assert Said.of(SimpleNamespace(__doc__=documentation(method))).use
    assert 1 < len(title(method)) < 60
    assert f"## {title(method)}\n" in document()


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_every_choice_of_a_config_is_in_its_table(method):
    """A loss that is added and left out here fails, as does one that is here alone."""
    fields = method.config_class().__dataclass_fields__
    for option in ("loss_type", "f_divergence_type"):
        choices = fields[option].metadata.get("choices", ()) if option in fields else ()
        shown = [
            name for losses in TABLES[method.name] if losses.option == option for name in losses.functions
        ]
        assert sorted(shown) == sorted(choices)
    for losses in TABLES[method.name]:
        if losses.option == "option":
            assert {name for names in losses.functions for name in names.split(", ")} <= set(fields)


def test_every_method_has_its_losses():
    assert list(TABLES) and set(TABLES) == set(METHODS)
    assert all(tables for tables in TABLES.values())


@pytest.mark.parametrize("loss_type", [name for losses in TABLES["reward"][:3] for name in losses.functions])
def test_the_rows_shown_of_a_reward_loss_are_those_it_reads(loss_type):
    method = METHODS["reward"]
    losses = next(losses for losses in TABLES["reward"] if loss_type in losses.functions)
    args = SimpleNamespace(loss_type=loss_type, scored=["score"], ordinal_levels=None)
    read = method.trainer_class().reads(args)
    shown = (losses.rows or method.trainer_class().read_row).of_text
    for one, other in zip(read.of_text, shown, strict=True):
        assert one.name.startswith(other.name)
        for column in set(one.columns) - set(other.columns):
            assert f"`{column}`" in Said.of(losses.functions[loss_type]).use


def test_columns_are_those_of_the_formats():
    from burnish.data.reading.formats import PREFERENCE, TRIPLE

    named = "`chosen` + `rejected` + `reference`"
    assert columns(TRIPLE) == f"`prompt` + {named}; or {named}"
    assert columns(PREFERENCE).split("; or ")[0] == (
        "`prompt` + `chosen` + `rejected` (and `margin`, if there)"
    )


def test_a_docstring_in_its_parts():
    def loss() -> None:
        """a - b.

        Somebody, arXiv:2401.00001: why
        it works.

        Use here.

        And a note.
        """

    assert Said.of(loss) == Said(
        "a - b", "Somebody, arXiv:2401.00001: why it works. And a note.", "Use here."
    )


def test_a_bar_in_a_cell_does_not_end_it():
    assert lines_of([["KL(p | q)", "b"]]) == "| KL(p \\| q) | b |"
