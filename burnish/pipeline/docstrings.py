"""Docstrings of losses in their parts, and those of a table of functions read from source, without torch."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from burnish.pipeline.fields import Source, read_source


@dataclass(frozen=True)
class Said:
    """A docstring in its parts: the first paragraph, what else there is, and that which begins with "Use"."""

    formula: str
    source: str
    use: str

    @staticmethod
    def of(documented: object) -> Said:
        return Said.of_text(inspect.getdoc(documented) or "")

    @staticmethod
    def of_text(text: str) -> Said:
        """Of a docstring whose indentation is taken away."""
        first, *others = (" ".join(part.split()) for part in text.split("\n\n"))
        use = next((part for part in others if part.startswith("Use ")), "")
        return Said(first.removesuffix("."), " ".join(part for part in others if part != use), use)


def table_said(module: str, name: str) -> dict[str, Said]:
    """What the functions of a dict say of themselves, by their keys; dicts spread in it in their place."""
    return {key: Said.of_text(text) for key, text in _entries(read_source(module), name)}


def _entries(source: Source, name: str) -> Iterator[tuple[str, str]]:
    if name in source.homes:
        source = read_source(source.homes[name])
    literal = source.values[name]
    assert isinstance(literal, ast.Dict), name
    for key, value in zip(literal.keys, literal.values, strict=True):
        assert isinstance(value, ast.Name), ast.unparse(value)
        if key is None:
            yield from _entries(source, value.id)
        else:
            yield ast.literal_eval(key), _docstring(source, value.id)


def _docstring(source: Source, name: str) -> str:
    """Of a function of the module, or of the one it is imported from."""
    if name not in source.functions:
        return _docstring(read_source(source.homes[name]), name)
    return ast.get_docstring(source.functions[name]) or ""
