"""Text to values: what a flag or a YAML scalar says, as the type that a config field declares.

Flags and YAML scalars both arrive as text, so `1e-5` is a number and `no` a word wherever the field
says so, whatever YAML would have made of them. Lists and mappings of a file arrive as they are.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from functools import cache
from typing import Any

from burnish.errors import nearest

WORDS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


class NotThat(ValueError):
    """The value is not of the type; the message says which type was expected."""


@cache
def alternatives(annotation: str) -> tuple[str, ...]:
    """The types an annotation allows: `float | None` gives `("float", "None")`. Unknown names are kept."""
    return tuple(_alternatives(ast.parse(annotation, mode="eval").body))


def _alternatives(node: ast.expr) -> list[str]:
    if isinstance(node, ast.BinOp):
        return _alternatives(node.left) + _alternatives(node.right)
    if isinstance(node, ast.Subscript):
        head = ast.unparse(node.value).rpartition(".")[2]
        inner = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
        if head in ("Optional", "Union"):
            return [kind for part in inner for kind in _alternatives(part)] + ["None"] * (head == "Optional")
        return ["dict"] if head == "dict" else [f"{head}[{', '.join(map(ast.unparse, inner))}]"]
    return [ast.unparse(node)]


def is_flag(annotation: str) -> bool:
    return "bool" in alternatives(annotation)


def is_list(annotation: str) -> bool:
    return any(kind == "list" or kind.startswith("list[") for kind in alternatives(annotation))


def convert(given: Any, annotation: str) -> Any:
    """`given` (text, list, mapping or None) as a value of the annotated type. Raises `NotThat`."""
    kinds = alternatives(annotation)
    if given is None or given in ("None", "null"):
        if "None" in kinds:
            return None
        raise NotThat(f"a value is needed: {describe(annotation)}")
    if isinstance(given, list):
        return _list(given, annotation, kinds)
    if isinstance(given, dict):
        if "dict" in kinds:
            return given
        raise NotThat(describe(annotation))
    return _scalar(str(given), annotation, kinds)


def _list(given: list[Any], annotation: str, kinds: tuple[str, ...]) -> list[Any]:
    for kind in kinds:
        if kind == "list":
            return given
        if kind.startswith("list["):
            return [convert(item, kind[5:-1]) for item in given]
    raise NotThat(describe(annotation))


def _scalar(text: str, annotation: str, kinds: tuple[str, ...]) -> Any:
    for kind in kinds:
        if kind.startswith("Literal["):
            choices = ast.literal_eval(kind[7:])
            for choice in choices:
                if text == str(choice):
                    return choice
    if (
        "bool" in kinds
        and text.lower() in WORDS
        and ("str" not in kinds or text.lower() in ("true", "false"))
    ):
        return WORDS[text.lower()]
    for kind, read in NUMBERS.items():
        if kind in kinds:
            try:
                return read(text)
            except ValueError:
                pass
    if is_list(annotation) and (text.startswith("[") or "str" not in kinds):
        return _list(_json(text) if text.startswith("[") else _split(text), annotation, kinds)
    if "dict" in kinds and text.startswith("{"):
        return _json(text)
    if any(kind not in SPECIFIC and not kind.startswith(("list", "Literal[")) for kind in kinds):
        return text
    raise NotThat(describe(annotation) + nearest(text, _choices(kinds)))


def _whole(text: str) -> int:
    if text.lstrip("+-").isdigit():
        return int(text)
    number = float(text)
    if not number.is_integer():
        raise ValueError(text)
    return int(number)


NUMBERS: dict[str, Callable[[str], Any]] = {"int": _whole, "float": float}
SPECIFIC = {"bool", "int", "float", "dict", "list", "None"}


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise NotThat(f"JSON ({error})") from None


def _choices(kinds: tuple[str, ...]) -> list[str]:
    return [str(c) for kind in kinds if kind.startswith("Literal[") for c in ast.literal_eval(kind[7:])]


def describe(annotation: str) -> str:
    """The type in words, for messages: `a number, or nothing`."""
    kinds = alternatives(annotation)
    words = [NAMES[kind] for kind in ("bool", "int", "float", "dict") if kind in kinds]
    if any(kind not in SPECIFIC and not kind.startswith(("list", "Literal[")) for kind in kinds):
        words.append("text")
    if is_list(annotation):
        words.append("a list")
    words += [f"one of {', '.join(_choices(kinds))}"] if _choices(kinds) else []
    return " or ".join(words + ["null"] * ("None" in kinds))


NAMES = {"bool": "true or false", "int": "a whole number", "float": "a number", "dict": "a mapping (JSON)"}
