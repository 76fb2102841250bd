"""The options of every method as docs/options.md has them, made from the configs.

    python -m burnish.pipeline.options_catalog > docs/options.md

An option that all methods have stands once; under a method are those that it alone has, or has otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from burnish.engine.inherited import REFUSED_VALUES, WORKS
from burnish.pages.markdown import code, lines_of
from burnish.pipeline.chosen import default_of, spell
from burnish.pipeline.fields import Field
from burnish.pipeline.methods import METHODS, Method
from burnish.pipeline.values import describe

COMMAND = "python -m burnish.pipeline.options_catalog > docs/options.md"

IDLE = ("No effect", "Refused")
"""How the help begins of options that do nothing here, or may only have their default."""

SHARED = {
    "Data": ("ScriptArguments",),
    "Model and adapter": ("ModelConfig",),
    "Rows, memory, samples": ("EngineConfig",),
    "The training loop, as in transformers": ("TrainingArguments", "InheritedOptions", "TrlOptions"),
}
"""Sections of the options of all methods: the classes that declare them."""


def document() -> str:
    """All of docs/options.md."""
    shared = in_all()
    parts = [
        "# Options",
        f"Made from the configs by `{COMMAND}`.",
        "Each is a field of the method's config (`DPOConfig(beta=0.1)`), of `ModelConfig` or of "
        "`ScriptArguments`; a key of a YAML file; and a flag (`--beta 0.1`). `burnish explain beta` says "
        "what it goes with, and what other tools call it. First come options that a method alone has, or has "
        "otherwise than most, then those of all.",
    ]
    for method in METHODS.values():
        own = [field for field in method.fields().values() if shared.get(field.name) != field]
        parts += [f"## {method.prefix}", f"`burnish {method.name}`, `{method.prefix}Config`"]
        parts.append(table(field for field in own if not is_idle(field)))
    for title, owners in SHARED.items():
        parts += [f"## {title}", table(f for f in shared.values() if f.owner in owners and not is_idle(f))]
    parts += ["## Without effect, or refused", idle()]
    return "\n\n".join(parts) + "\n"


def in_all() -> Mapping[str, Field]:
    """The options that every method has, as most of them have it."""
    every = [method.fields() for method in METHODS.values()]
    names = [name for name in every[0] if all(name in fields for fields in every)]
    return {name: Counter(fields[name] for fields in every).most_common(1)[0][0] for name in names}


def is_idle(field: Field) -> bool:
    return field.help.startswith(IDLE)


def table(fields: Iterable[Field]) -> str:
    lines = [["option", "what it is", "value", "default"], ["---"] * 4]
    for field in sorted(fields, key=lambda field: field.name):
        kind = (
            f"one of {', '.join(map(code, field.choices))}" if field.choices else describe(field.annotation)
        )
        lines.append([code(field.name), sentence(field), kind, default(field)])
    return lines_of(lines)


def sentence(field: Field) -> str:
    """The help, what it means here, and the values that cannot be."""
    parts = [" ".join(field.help.split())]
    if meaning := WORKS.get(field.name):
        parts.append(f"Here: {meaning}.")
    for reason in dict.fromkeys(REFUSED_VALUES.get(field.name, {}).values()):
        values = [value for value, why in REFUSED_VALUES[field.name].items() if why == reason]
        parts.append(f"Refused: {', '.join(map(code, values))}, as {reason}.")
    return " ".join(parts)


def default(field: Field) -> str:
    value = default_of(field)
    return "" if value in (None, [], {}, "") else code(spell(value).replace("\n", "\\n"))


def idle() -> str:
    """One line for each option and what is said of it, with the methods that have it."""
    methods: dict[tuple[str, str], list[Method]] = {}
    for method in METHODS.values():
        for field in filter(is_idle, method.fields().values()):
            methods.setdefault((field.name, field.help), []).append(method)
    lines = [["option", "what becomes of it", "methods"], ["---"] * 3]
    for (name, help), having in sorted(methods.items()):
        names = "all" if len(having) == len(METHODS) else ", ".join(each.name for each in having)
        lines.append([code(name), " ".join(help.split()), names])
    return lines_of(lines)


if __name__ == "__main__":
    print(document(), end="")
