"""The rules of the house, on all of it: dependencies point one way, files and functions stay small."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "burnish").rglob("*.py"))
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

BASE = {"errors", "options", "paths", "progress", "secrets", "terminal", "units"}
"""Modules at the top of the package that everyone may know."""

MAY_IMPORT = {
    "option": {"option"},
    "pages": {"pages"},
    "data": {"data", "pages"},
    "losses.output": set(),
    "losses": {"data", "losses", "losses.output"},
    "models": {"data", "models", "losses.output", "option"},
    "rollout": {"data", "models", "rollout"},
    "evaluation": {"pages", "data", "models", "losses.output", "evaluation"},
    "export": {"data", "models", "losses.output", "pages", "pipeline", "option", "export"},
    "comparison": {"pages", "data", "models", "losses.output", "evaluation", "export", "comparison"},
    "engine": {"data", "models", "losses.output", "engine", "option"},
    "planning": {"data", "models", "engine", "planning"},
    "methods": {"data", "models", "losses", "losses.output", "engine", "rollout"},
    "report": {"pages", "data", "pipeline", "option", "evaluation", "report"},
    "demo": {
        "data",
        "models",
        "losses",
        "losses.output",
        "engine",
        "rollout",
        "methods",
        "pipeline",
        "option",
        "report",
        "demo",
    },
    "pipeline": {
        "pages",
        "data",
        "models",
        "losses",
        "losses.output",
        "engine",
        "rollout",
        "methods",
        "pipeline",
        "option",
    },
    "trl": {"data", "models", "engine", "pipeline", "option", "trl"},
    "cli": {
        "pages",
        "data",
        "models",
        "losses",
        "losses.output",
        "engine",
        "rollout",
        "methods",
        "pipeline",
        "option",
        "demo",
        "evaluation",
        "comparison",
        "export",
        "report",
        "planning",
        "cli",
    },
}


OPTIONS = re.compile(
    r"burnish\.pipeline\.(fields|values|settings|needs|methods|chosen|unknown|yaml_secrets"
    r"|foreign|foreign\.(names|tables|trl|axolotl|axolotl_data|llama_factory|others))"
)
"""Modules of the pipeline that say what an option is, which configs ask too. They know nobody above them."""


def part_of(module: str) -> str:
    """`burnish.losses.output` gives `losses.output`, one of `OPTIONS` `option`, any other its folder."""
    if OPTIONS.fullmatch(module):
        return "option"
    inside = module.split(".")[1:]
    return "losses.output" if inside[:2] == ["losses", "output"] else (inside or [""])[0]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Every module a file imports from, anywhere in it; `from burnish.models import score` names both."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the whole name of the module"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_modules(path: Path) -> set[str]:
    modules = {module_of(file) for file in FILES}
    return {name for name in imports(path) if name in modules and name not in ("burnish", module_of(path))}


INSIDE = [path for path in FILES if path.parent != ROOT / "burnish"]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", INSIDE, ids=name)
def test_a_folder_knows_only_those_below_it(path):
    part = part_of(module_of(path))
    assert part in MAY_IMPORT, f"say in MAY_IMPORT what {part} may know"
    for module in own_modules(path):
        package_of_a_known_part = module == "burnish.losses" and "losses.output" in MAY_IMPORT[part]
        known = part_of(module) in MAY_IMPORT[part] | BASE or package_of_a_known_part
        assert known, f"{part} must not know {module}"


@pytest.mark.parametrize("path", INSIDE, ids=name)
def test_methods_never_know_each_other(path):
    if part_of(module_of(path)) == "methods":
        assert not {module for module in own_modules(path) if module.startswith("burnish.methods.")}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_only_the_engine_knows_the_trainer(path):
    if part_of(module_of(path)) != "engine":
        assert not {module for module in imports(path) if module in TRAINER_MODULES}


TRAINER_MODULES = {"transformers.Trainer", "transformers.trainer", "transformers.trainer.Trainer"}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_files_and_functions_are_small(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


def test_the_base_knows_nobody():
    for module in BASE:
        path = ROOT / "burnish" / f"{module}.py"
        assert not {name for name in own_modules(path) if part_of(name) not in BASE}


RUN = 3
"""Lines in a row that stand in two methods are repeated code."""

MOST_REPEATED = 0.1


def code_of(path: Path) -> list[str]:
    """The lines of code of a file: no imports, docstrings, comments or blank lines."""
    text = path.read_text()
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if docstring or isinstance(node, ast.Import | ast.ImportFrom):
            left_out |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(text.splitlines(), 1)
    kept = (line.strip() for number, line in lines if number not in left_out)
    return [line for line in kept if line and not line.startswith("#")]


def runs(lines: list[str]) -> list[tuple[str, ...]]:
    return [tuple(lines[start : start + RUN]) for start in range(len(lines) - RUN + 1)]


def test_methods_hardly_repeat_each_other():
    code = {path.name: code_of(path) for path in sorted((ROOT / "burnish" / "methods").glob("*.py"))}
    repeated = 0
    for name_, lines in code.items():
        elsewhere = {run for other, theirs in code.items() if other != name_ for run in runs(theirs)}
        starts = [start for start, run in enumerate(runs(lines)) if run in elsewhere]
        repeated += len({line for start in starts for line in range(start, start + RUN)})
    assert sum(map(len, code.values())) > 0
    assert repeated / sum(map(len, code.values())) < MOST_REPEATED


METHOD_LINES = 200


@pytest.mark.parametrize("path", [p for p in INSIDE if p.parent.name == "methods"], ids=name)
def test_a_method_is_a_page(path):
    assert len(path.read_text().splitlines()) <= METHOD_LINES
