"""`burnish explain`: what an option is, for a terminal or as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator

from burnish.pipeline.chosen import spell
from burnish.pipeline.explain import Explanation, explain
from burnish.pipeline.methods import METHODS

WIDTH = 110
LABEL = 11


def show(key: str, method: str, as_json: bool) -> None:
    """Print the explanation. Raises `UserError`."""
    found = explain(key, method)
    print(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) if as_json else "\n".join(lines(found)))


def lines(found: Explanation) -> Iterator[str]:
    if found.called:
        yield from textwrap.wrap(found.called, WIDTH)
        yield ""
    kind = found.type + (f", {found.range}" if found.range else "")
    yield f"{found.name}: {kind}"
    yield from textwrap.wrap(found.help, WIDTH, initial_indent="  ", subsequent_indent="  ")
    yield ""
    yield from labelled("default", defaults(found))
    yield from labelled("unit", found.unit)
    yield from labelled("methods", "all" if len(found.methods) == len(METHODS) else ", ".join(found.methods))
    for index, sentence in enumerate(found.goes_with):
        yield from labelled("" if index else "goes with", sentence)
    yield from labelled("TRL", found.trl)
    yield from labelled("in a file", found.yaml)
    yield from labelled("as a flag", found.flag)
    if found.more:
        yield from labelled("choices", "; ".join(found.more))
    elif found.choices and not any(choice.formula for choice in found.choices):
        yield from labelled("choices", ", ".join(choice.value for choice in found.choices))
    else:
        yield from described_choices(found)


def described_choices(found: Explanation) -> Iterator[str]:
    """Each choice with its formula, source and use below it."""
    for choice in found.choices:
        yield ""
        yield f"  {choice.value}"
        for text in (choice.formula, choice.source, choice.use):
            yield from textwrap.wrap(text, WIDTH - 4, initial_indent="    ", subsequent_indent="    ")


def defaults(found: Explanation) -> str:
    """`2e-5 (sft, gkd); 1e-6 (dpo, kto)`, or the one value that all have."""
    groups: dict[str, list[str]] = {}
    for method, value in found.defaults.items():
        groups.setdefault(spell(value) if value != [] else "none", []).append(method)
    if len(groups) == 1:
        return next(iter(groups)).replace("null", "unset")
    return "; ".join(f"{value} ({', '.join(methods)})" for value, methods in groups.items())


def labelled(label: str, text: str) -> Iterator[str]:
    """Text beside its label, wrapped below itself; nothing, where there is no text."""
    indent = " " * (LABEL + 2)
    wrapped = textwrap.wrap(text, WIDTH - len(indent), break_long_words=False, break_on_hyphens=False)
    for index, line in enumerate(wrapped):
        yield (f"  {label:<{LABEL}}" if index == 0 else indent) + line
