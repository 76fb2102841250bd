"""The fields of config classes, read from their source without importing them.

Importing `transformers.TrainingArguments` costs seconds (it brings torch), and `burnish dpo --help`
only needs names, types, defaults and help. Those stand in the source of the dataclasses, so they are
parsed out of it, bases first. Nothing is written twice, and the installed version of transformers is
described as it is. `tests/pipeline/test_fields.py` compares the result with the real classes.
"""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

SOURCES = {"TrainingArguments": ("transformers", "training_args.py")}
"""Classes that are not defined in the module they are imported from: package, file."""


@dataclass(frozen=True)
class Field:
    """A config field: `annotation` and `default` as written, `owner` the class that declared it first."""

    name: str
    annotation: str
    default: str
    help: str
    owner: str
    choices: tuple[str, ...] = ()


@cache
def class_fields(module: str, name: str) -> dict[str, Field]:
    """The fields of the dataclass `name` in a module, inherited ones included, in dataclass order."""
    tree = ast.parse(source_of(module, name).read_text(encoding="utf-8"))
    homes = {
        alias.asname or alias.name: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    found: dict[str, Field] = {}
    for base in reversed(body.bases):
        if isinstance(base, ast.Name) and base.id != "object":
            found |= class_fields(homes.get(base.id) or module, base.id)
    for declared in _declared(body):
        known = found.get(declared.name)
        help = declared.help or (known.help if known else "")
        found[declared.name] = replace(declared, help=help, owner=known.owner if known else name)
    return found


def source_of(module: str, name: str) -> Path:
    """The file that defines the class `name` of a module; no package is imported to find it."""
    package, _, rest = module.partition(".")
    inside = SOURCES[name][1] if name in SOURCES else rest.replace(".", "/") + ".py"
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None, package
    return Path(spec.origin).parent / inside


def _declared(body: ast.ClassDef) -> list[Field]:
    """The fields that a class body itself declares."""
    constants = {
        target.id: node.value
        for node in ast.walk(body)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    fields = []
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            default, help, choices = _parts(node.value)
            if isinstance(default, ast.Name):
                default = constants.get(default.id, default)
            annotation = ast.unparse(node.annotation)
            fields.append(Field(node.target.id, annotation, ast.unparse(default), help, body.name, choices))
    return fields


def _parts(value: ast.expr) -> tuple[ast.expr, str, tuple[str, ...]]:
    """Default, help and choices, as `described`, the helpers of `compat.py`, or `field` are given them."""
    if not isinstance(value, ast.Call):
        return value, "", ()
    given = {keyword.arg: keyword.value for keyword in value.keywords}
    if len(value.args) > 1:
        helper = ast.unparse(value.func)
        prefix = "" if helper == "described" else helper.replace("_", " ").capitalize() + ": "
        choices = ast.literal_eval(given["choices"]) if "choices" in given else ()
        return value.args[0], prefix + _sentence(value.args[1]), tuple(choices)
    default = given.get("default") or _made_by(given["default_factory"])
    return default, _help_in(given.get("metadata")), ()


def _help_in(metadata: ast.expr | None) -> str:
    if isinstance(metadata, ast.Dict):
        for key, value in zip(metadata.keys, metadata.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "help":
                return _sentence(value)
    return ""


def _sentence(node: ast.expr) -> str:
    """A string on one line, ending in a full stop; anything but a literal is shown as it is written."""
    try:
        written = str(ast.literal_eval(node))
    except ValueError:
        written = ast.unparse(node)
    return " ".join(written.split()).rstrip(".").replace("%%", "%") + "."


def _made_by(factory: ast.expr) -> ast.expr:
    """What a default factory makes: the body of a lambda, or an empty list or dict."""
    return factory.body if isinstance(factory, ast.Lambda) else ast.Call(factory, [], [])
