"""A configuration of another tool as settings here: every key is translated, not needed, or has a reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.errors import UserError, nearest, shorten
from burnish.pipeline.checks import check_settings
from burnish.pipeline.chosen import default_of, spell
from burnish.pipeline.foreign import axolotl, llama_factory, trl
from burnish.pipeline.foreign.names import Config, Foreign, NoCounterpart, Settings, Table
from burnish.pipeline.foreign.tables import written
from burnish.pipeline.methods import METHODS, Method
from burnish.pipeline.needs import NEEDS
from burnish.pipeline.settings import Setting, read_value
from burnish.pipeline.unknown import methods_with


@dataclass(frozen=True)
class Tool:
    """`marks` are keys that only its files have; `method_of` says the method and what it implies."""

    name: str
    table: Table
    marks: frozenset[str]
    method_of: Callable[[Config], tuple[str, Settings]] | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    adapter_defaults: Mapping[str, Any] = field(default_factory=dict)


AXOLOTL = Tool(
    "Axolotl",
    axolotl.AXOLOTL,
    frozenset({"base_model", "sequence_len", "micro_batch_size"}),
    axolotl.method_of,
    axolotl.DEFAULTS,
    axolotl.ADAPTER_DEFAULTS,
)
LLAMA_FACTORY = Tool(
    "LLaMA-Factory",
    llama_factory.LLAMA_FACTORY,
    frozenset({"stage", "finetuning_type", "cutoff_len", "lora_target", "pref_loss", "template"}),
    llama_factory.method_of,
    llama_factory.DEFAULTS,
    llama_factory.ADAPTER_DEFAULTS,
)
TRL = Tool("TRL", trl.TRL, frozenset())

OTHERS = {
    "ms-swift": {"rlhf_type", "tuner_type", "train_type", "quant_bits", "split_dataset_ratio"},
    "OpenRLHF": {"pretrain", "micro_train_batch_size", "zero_stage"},
}
"""Tools whose names are known in messages, and whose files are not read."""


@dataclass(frozen=True)
class Line:
    """A setting here: `origin` is what it was made of, `note` what is different."""

    value: Any
    origin: str
    note: str = ""


@dataclass
class Converted:
    """`top` has output_dir and env. `unneeded` and `missing` have a reason for every key that has no line."""

    tool: str
    method: Method
    lines: dict[str, Line] = field(default_factory=dict)
    top: dict[str, Line] = field(default_factory=dict)
    unneeded: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def recognise(config: Config, path: str) -> Tool:
    """Whose configuration it is. Raises `UserError`."""
    if "stages" in config:
        raise UserError("this is a pipeline of Burnish already", where=path, fix=f"burnish run {path}")
    for tool in (AXOLOTL, LLAMA_FACTORY):
        if tool.marks & set(config):
            return tool
    for name, marks in OTHERS.items():
        if marks & set(config):
            raise UserError(
                f"this is a configuration of {name}, and those of TRL, Axolotl and LLaMA-Factory are read",
                where=path,
                fix="`burnish explain KEY` knows its names; `burnish init DATA` writes a pipeline",
            )
    known = [key for key in config if key in TRL.table or methods_with(key)]
    if "model_name_or_path" in config or len(known) > len(config) / 2:
        return TRL
    raise UserError(
        "whose configuration is this? None of its keys is one that only TRL, Axolotl or LLaMA-Factory has",
        where=path,
        fix="a file of Axolotl has base_model, one of LLaMA-Factory stage, one of TRL model_name_or_path",
    )


def convert(config: Config, path: str, method: str = "") -> Converted:
    """The settings that a configuration stands for. Raises `UserError`: unknown tool or method."""
    tool = recognise(config, path)
    name, implied, because = method_and_implied(tool, config, path, method)
    found = Converted(tool.name, METHODS[name])
    for option, value in implied.items():
        found.lines[option] = Line(value, because)
    for key, value in config.items():
        translate(key, value, key, config, tool, found)
    use_defaults(tool, config, found)
    reconcile(tool, found)
    found.warnings += problems(found)
    return found


def method_and_implied(tool: Tool, config: Config, path: str, method: str) -> tuple[str, Settings, str]:
    """The method, the settings it implies, and what said so."""
    if method and method not in METHODS:
        raise UserError(f"there is no method '{method}'.{nearest(method, METHODS)}", where="--method")
    if tool.method_of is None:
        return (method or guessed(config, path)), {}, "the method"
    try:
        name, implied = tool.method_of(config)
    except NoCounterpart as reason:
        raise UserError(str(reason), where=path, fix="the methods are " + ", ".join(METHODS)) from None
    said = next((key for key in ("rl", "pref_loss", "stage", "reward_model") if key in config), "the method")
    return method or name, implied if method in ("", name) else {}, said


def guessed(config: Config, path: str) -> str:
    """The method of a file of TRL's, which its verb said: by options that only some have, or its name."""
    own = implied_options(config)
    candidates = [
        name
        for name, method in METHODS.items()
        if all(takes(method, option, value) for option, value in own.items())
        and (name != "gkd" or "teacher_model_name_or_path" in own)
    ]
    named = [name for name in candidates if name in Path(path).stem.lower()]
    if len(named or candidates) == 1:
        return (named or candidates)[0]
    raise UserError(
        "a configuration of TRL does not say its method, and "
        f"{written(candidates) if candidates else 'none'} would fit",
        where=path,
        fix=f"say it: --method {candidates[0] if candidates else 'sft'}",
    )


def implied_options(config: Config) -> Settings:
    """The options of a file of TRL's, those of former names as they are here."""
    found: Settings = {}
    for key, value in config.items():
        entry = TRL.table.get(key, Foreign(key))
        if key not in ("output_dir", "env") and value is not None and entry.ours:
            found |= entry.settings(value, config)
    return found


def takes(method: Method, key: str, value: Any) -> bool:
    """Whether an option of some method is one of this one, with such a value."""
    field = method.fields().get(key)
    if field is None:
        return not methods_with(key)
    return not field.choices or set(value if isinstance(value, list) else [value]) <= set(field.choices)


# One key


def translate(key: str, value: Any, origin: str, config: Config, tool: Tool, found: Converted) -> None:
    """A key becomes lines, or has its reason in `unneeded` or `missing`."""
    entry = tool.table.get(key)
    if value is None or value == "":
        found.unneeded[key] = "it is not set"
    elif entry is None and key not in ("output_dir", "env") and not methods_with(key):
        found.missing[key] = (
            f"no option of {tool.name} that is known, and none here.{nearest(key, tool.table)}"
        )
    elif entry is not None and entry.has_none and value in (False, 0, [], {}):
        found.unneeded[key] = "it is off"
    elif entry is not None and entry.has_none:
        found.missing[key] = entry.note
    elif value is False and entry is not None and entry.ours not in ("", *found.method.fields()):
        found.unneeded[key] = "it is off"
    elif entry is not None and not entry.ours:
        found.unneeded[key] = entry.note
    else:
        settle(key, value, origin, entry or Foreign(key), config, found)


def settle(key: str, value: Any, origin: str, entry: Foreign, config: Config, found: Converted) -> None:
    try:
        settings = entry.settings(value, config)
    except NoCounterpart as reason:
        found.missing[key] = str(reason)
        return
    except (TypeError, ValueError, AttributeError, KeyError, IndexError):
        found.missing[key] = f"its value {shorten(value)} is not understood"
        return
    found.missing |= settings.pop("missing", {})
    notes = [*settings.pop("notes", []), *([entry.note] if entry.note else [])]
    given = {option: each for option, each in settings.items() if each is not None}
    for option, each in given.items():
        note = "; ".join(notes) if option == list(given)[-1] else ""
        add(key, option, each, origin, note, found)
    origins = {line.origin for line in (*found.lines.values(), *found.top.values())}
    if key not in origins and origin == key and key not in {**found.missing, **found.unneeded}:
        found.unneeded[key] = "; ".join(notes) or "it says what is done here anyway"


def add(key: str, option: str, value: Any, origin: str, note: str, found: Converted) -> None:
    """A line for a setting, unless the method has no such option, or its value is refused or does nothing."""
    if option in ("output_dir", "env"):
        merged = {**found.top[option].value, **value} if option in found.top and option == "env" else value
        found.top[option] = Line(merged, origin, note)
        return
    fields = found.method.fields()
    if option not in fields:
        having = methods_with(option)
        found.missing[key] = f"{option} is an option of {written(having)}, not of {found.method.name}"
        return
    refused, nothing = (fields[option].help.startswith(word) for word in ("Refused: ", "No effect: "))
    if nothing or (refused and value == default_of(fields[option])):
        found.unneeded[key] = fields[option].help.partition(": ")[2].rstrip(".")
    elif refused:
        found.missing[key] = fields[option].help.partition(": ")[2].rstrip(".")
    elif option in found.lines and found.lines[option].value != value and origin.startswith("default"):
        return
    elif (fault := wrong(option, value, found)) is not None:
        found.missing[key] = fault
    else:
        before = found.lines.get(option)
        if before is not None and before.value == value:
            return
        found.lines[option] = Line(value, origin, note)
        if before is not None and before.origin not in {line.origin for line in found.lines.values()}:
            found.unneeded[before.origin] = f"{origin} says {option} too, and comes later"


def wrong(option: str, value: Any, found: Converted) -> str | None:
    """What is wrong with a value here."""
    given = (
        value
        if isinstance(value, list | dict)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
    try:
        read_value(Setting(given, ""), found.method.fields()[option])
    except UserError as error:
        return "; ".join(filter(None, [error.what.rstrip("."), error.fix]))
    return None


# All keys together


def use_defaults(tool: Tool, config: Config, found: Converted) -> None:
    """What the tool takes where the file says nothing, and that is another value here."""
    trained = tool.adapter_defaults if "use_peft" in found.lines or needs_adapter(tool, config) else {}
    for key, value in {**tool.defaults, **trained}.items():
        if config.get(key) is None:
            translate(key, value, f"default of {tool.name}", {**config, key: value}, tool, found)
            found.unneeded.pop(key, None)


def needs_adapter(tool: Tool, config: Config) -> bool:
    """Whether the tool trains an adapter where the file does not say so."""
    return tool.defaults.get("finetuning_type") == "lora" and "finetuning_type" not in config


def reconcile(tool: Tool, found: Converted) -> None:
    """Settings that their tool would not read with the others, as ours would refuse them."""
    lines = found.lines
    if lines.get("max_steps", Line(-1, "")).value != -1 and "num_train_epochs" in lines:
        drop("num_train_epochs", "max_steps comes first", found)
    rows = {"test_split_size", "eval_dataset_name", "dataset_test_split"} & set(lines)
    if not rows and tool is not TRL:
        for option in ("eval_strategy", "eval_steps", "eval_delay", "load_best_model_at_end"):
            drop(option, "there are no rows to evaluate on", found)
    for need in NEEDS:
        if need.option not in lines or not need.of(found.method.name):
            continue
        other = (
            lines[need.other].value if need.other in lines else default_of(found.method.fields()[need.other])
        )
        if not need.is_met(other):
            drop(need.option, f"it goes with {need.other}: {' or '.join(map(spell, need.values))}", found)


def drop(option: str, because: str, found: Converted) -> None:
    line = found.lines.pop(option, None)
    if line is not None and not line.origin.startswith("default"):
        found.unneeded[line.origin] = because


def problems(found: Converted) -> list[str]:
    """What checks say of the settings: what a run would refuse, and what it would warn of."""
    settings = {option: Setting(as_given(line.value), "") for option, line in found.lines.items()}
    fields = found.method.fields()
    said = [
        f"{option} is missing: {what}"
        for option, what in (("model_name_or_path", "which model?"), ("dataset_name", "which rows?"))
        if option not in settings and not (option == "dataset_name" and "datasets" in settings)
    ]
    try:
        values = {option: read_value(setting, fields[option]) for option, setting in settings.items()}
        notices = check_settings(found.method, settings, values)
        return said + [notice.text for notice in notices]
    except UserError as error:
        return [*said, f"{error.what}; {error.fix}"]


def as_given(value: Any) -> Any:
    """A value as it is read from YAML: scalars as text."""
    if isinstance(value, list | dict):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)
