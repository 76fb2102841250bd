"""What burnish imports is what pyproject.toml declares, and the other way round."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from burnish.errors import UserError, require_package

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "burnish").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NAMES = {"yaml": "pyyaml"}
"""Modules whose package has another name."""

FOR_OTHERS = {
    "accelerate": "transformers' Trainer needs it",
    "bitsandbytes": "transformers quantizes with it",
    "wandb": "transformers reports to it",
    "trackio": "transformers reports to it",
    "tensorboard": "transformers reports to it",
    "mlflow": "transformers reports to it",
}
"""Packages that are declared for what burnish imports, with the reason."""

WHERE_PRESENT = {"llama_cpp": "a second opinion on a GGUF file, beside that of transformers"}
"""Modules that are used where they are there; nothing is missing without them."""


def package(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None
    return normal(name[0])


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """The modules of other packages that a file imports, and whether it does so at once."""

    def inside(node: ast.AST, at_once: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            names = []
            if isinstance(child, ast.Import):
                names = [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom) and not child.level:
                names = [child.module or ""]
            yield from ((name.partition(".")[0], at_once) for name in names)
            later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from inside(child, at_once and not later)

    for module, at_once in inside(tree, True):
        if module not in sys.stdlib_module_names and module != "burnish":
            yield module, at_once


def packages_imported() -> dict[str, set[str]]:
    """Every package that is imported, with the files that do so as soon as they are loaded."""
    found: dict[str, set[str]] = {}
    for file in FILES:
        for module, at_once in imported(ast.parse(file.read_text())):
            name = NAMES.get(module, normal(module))
            found.setdefault(name, set())
            if at_once:
                found[name].add(str(file.relative_to(ROOT)))
    return found


IMPORTED = packages_imported()
REQUIRED = {package(each) for each in PROJECT["dependencies"]}
DEVELOPMENT = ("bench", "dev", "docs")
EXTRAS = {
    name: {package(each) for each in packages}
    for name, packages in PROJECT["optional-dependencies"].items()
    if name not in DEVELOPMENT
}
OPTIONAL = set().union(*EXTRAS.values())


def test_every_import_is_declared():
    known = REQUIRED | OPTIONAL | {normal(name) for name in WHERE_PRESENT}
    assert sorted(IMPORTED.keys() - known) == []


def test_every_dependency_is_imported():
    assert sorted((REQUIRED | OPTIONAL) - IMPORTED.keys() - FOR_OTHERS.keys()) == []
    assert not REQUIRED & OPTIONAL


def test_what_is_optional_is_imported_late():
    optional = OPTIONAL | {normal(name) for name in WHERE_PRESENT}
    assert {name: files for name, files in IMPORTED.items() if name in optional and files} == {}


def test_every_constraint_is_within_the_declared_bounds():
    from packaging.requirements import Requirement

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    versions = {normal(name): version for name, version in pinned.items()}
    for line in PROJECT["dependencies"]:
        needed = Requirement(line)
        assert needed.specifier.contains(versions[normal(needed.name)]), line


@pytest.mark.parametrize(
    ("module", "extra", "words"),
    [
        ("gguf", "gguf", "burnish.demo.model:default_model"),
        ("bitsandbytes", "quantization", "burnish.models.load:get_quantization_config"),
    ],
)
def test_a_missing_extra_is_named(monkeypatch, tmp_path, module, extra, words):
    from burnish.models.load import ModelConfig

    monkeypatch.setattr("burnish.errors.find_spec", lambda name: None if name == module else find_spec(name))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path))
    assert extra in EXTRAS
    place, _, name = words.partition(":")
    arguments = [ModelConfig("MODEL", load_in_4bit=True, use_peft=True)] if "load" in place else []
    with pytest.raises(
        UserError, match=rf'needs the package {module}(.|\n)*pip install "burnish\[{extra}\]"'
    ):
        getattr(importlib.import_module(place), name)(*arguments)


def test_a_package_that_is_there_is_no_error():
    require_package("json", "none", "nothing")
