"""The fields of config classes, read from their source without importing them.

Importing `transformers.TrainingArguments` costs seconds (it brings torch), and `burnish dpo --help`
only needs names, types, defaults and help. Those stand in the source of the dataclasses, so they are
parsed out of it, bases first. Nothing is written twice, and the installed version of transformers is
described as it is. `tests/pipeline/test_fields.py` compares the result with the real classes.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

ELSEWHERE = {("transformers", "TrainingArguments"): "transformers.training_args"}
"""Classes that are not defined in the module they are imported from."""


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
    """The fields of the dataclass `name` in a module, inherited ones included."""
    source = read_source(ELSEWHERE.get((module, name), module))
    body = source.classes[name]
    found: dict[str, Field] = {}
    for base in reversed(body.bases):
        if isinstance(base, ast.Name):
            found |= class_fields(source.homes.get(base.id, module), base.id)
    for declared in source.declared(body):
        known = found.get(declared.name)
        help = declared.help or (known.help if known else "")
        found[declared.name] = replace(declared, help=help, owner=known.owner if known else name)
    return found


@cache
def read_source(module: str) -> Source:
    """The parsed source of a module; no package is imported to find it."""
    package, _, rest = module.partition(".")
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None, package
    path = Path(spec.origin).parent / (rest.replace(".", "/") + ".py")
    return Source(ast.parse(path.read_text(encoding="utf-8")), module)


class Source:
    """A module's classes and functions, its assigned names, and the modules that others are imported from."""

    def __init__(self, tree: ast.Module, module: str) -> None:
        self.classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        self.values = assigned(tree.body)
        self.functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        self.homes = {
            alias.asname or alias.name: home_of(node, module) for node in imports for alias in node.names
        }

    def declared(self, body: ast.ClassDef) -> list[Field]:
        """The fields that a class body itself declares."""
        inside = assigned(list(ast.walk(body)))
        fields = []
        for node in body.body:
            if (
                isinstance(node, ast.AnnAssign)
                and isinstance(node.target, ast.Name)
                and node.value is not None
            ):
                default, help, choices = self._parts(node.value)
                if isinstance(default, ast.Name):
                    default = inside.get(default.id, default)
                annotation = ast.unparse(node.annotation)
                choices = choices or self._members(node.annotation)
                fields.append(
                    Field(node.target.id, annotation, ast.unparse(default), help, body.name, choices)
                )
        return fields

    def _parts(self, value: ast.expr) -> tuple[ast.expr, str, tuple[str, ...]]:
        """Default, help and choices, as `described`, a helper of `compat.py`, or `field` is given them."""
        if not isinstance(value, ast.Call):
            return value, "", ()
        given = {keyword.arg: keyword.value for keyword in value.keywords}
        if len(value.args) > 1:
            helper = ast.unparse(value.func)
            prefix = "" if helper == "described" else helper.replace("_", " ").capitalize() + ": "
            return value.args[0], prefix + self._sentence(value.args[1]), self._choices(given.get("choices"))
        default = given.get("default") or _made_by(given["default_factory"])
        return default, self._help_in(given.get("metadata")), ()

    def _choices(self, node: ast.expr | None) -> tuple[str, ...]:
        """Choices as a literal list, or as `list(NAMES)` of a dict, also one of another module."""
        if isinstance(node, ast.Call) and isinstance(node.args[0], ast.Name):
            return tuple(self._keys(node.args[0]))
        return tuple(ast.literal_eval(node)) if node is not None else ()

    def _members(self, annotation: ast.expr) -> tuple[str, ...]:
        """The values of an enumeration, where an annotation names one: `SchedulerType | str`."""
        if isinstance(annotation, ast.BinOp):
            return self._members(annotation.left) or self._members(annotation.right)
        if not isinstance(annotation, ast.Name):
            return ()
        here = annotation.id in self.classes
        if not here and not self.homes.get(annotation.id, "").startswith("transformers."):
            return ()
        source = self if here else read_source(self.homes[annotation.id])
        body = source.classes.get(annotation.id)
        if body is None or "ExplicitEnum" not in map(ast.unparse, body.bases):
            return ()
        values = [node.value for node in body.body if isinstance(node, ast.Assign)]
        return tuple(str(ast.literal_eval(value)) for value in values)

    def _keys(self, named: ast.Name) -> Iterator[str]:
        """The keys of a dict, those of dicts spread in it (`**NAMES`) in their place."""
        source = read_source(self.homes[named.id]) if named.id in self.homes else self
        literal = source.values[named.id]
        assert isinstance(literal, ast.Dict), named.id
        for key, value in zip(literal.keys, literal.values, strict=True):
            if key is not None:
                yield ast.literal_eval(key)
            elif isinstance(value, ast.Name):
                yield from source._keys(value)

    def _help_in(self, metadata: ast.expr | None) -> str:
        if isinstance(metadata, ast.Dict):
            for key, value in zip(metadata.keys, metadata.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "help":
                    return self._sentence(value)
        return ""

    def _sentence(self, node: ast.expr) -> str:
        """A string, or the name of one, on one line that ends in a full stop."""
        if isinstance(node, ast.Name):
            node = self.values[node.id]
        return " ".join(str(ast.literal_eval(node)).split()).rstrip(".").replace("%%", "%") + "."


def home_of(node: ast.ImportFrom, module: str) -> str:
    """The module that names are imported from; `from .trainer_utils` is one beside `module`."""
    beside = ".".join(module.split(".")[: -node.level]) + "." if node.level else ""
    return beside + (node.module or "")


def assigned(nodes: list[ast.stmt] | list[ast.AST]) -> dict[str, ast.expr]:
    """What the assignments among `nodes` give to names; the last one counts."""
    values: dict[str, ast.expr] = {}
    for node in nodes:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            values |= {target.id: node.value for target in targets if isinstance(target, ast.Name)}
    return values


def _made_by(factory: ast.expr) -> ast.expr:
    """What a default factory makes: the body of a lambda, or an empty list or dict."""
    return factory.body if isinstance(factory, ast.Lambda) else ast.Call(factory, [], [])
