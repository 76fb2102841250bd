"""A prediction for a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from burnish import units

PARTS = {
    "weights": "stored weights, and their working copies",
    "gradients": "float32, of trained weights",
    "optimizer": "what it keeps of every trained weight",
    "activations": "what the backward needs, and what lives for a moment",
    "reference": "weights beside the policy's",
    "base": "Python, its imports, the tokenizer",
}
"""What each part of the memory is."""


def show(plan: dict[str, Any], console: Console) -> None:
    """One stage: memory with its parts, time with its parts, and what fits."""
    console.rule(f"{plan['name']} ({plan['method']})", align="left")
    table = Table.grid(padding=(0, 2))
    for name, choice, reason in rows(plan):
        table.add_row(Text(name, "bold"), Text(choice), Text(reason, "dim"))
    console.print(table)


def rows(plan: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(name, value, reason) for each line."""
    found = plan["predicted"]
    trained = f"{units.count(found['trained'])} of {units.count(found['parameters'])} parameters trained"
    lines = [
        ("model", model_name(plan), f"{trained}, computed in {found['computes_in']}"),
        ("device", found["device"], found["device_source"]),
        ("memory", f"{units.size(found['peak_bytes'])} peak", f"in {found['when']}"),
    ]
    parts = {name: bytes_ for name, bytes_ in found["parts"].items() if bytes_}
    lines += [("", f"{units.size(bytes_):>9}  {name}", PARTS[name]) for name, bytes_ in parts.items()]
    lines.append(("time", f"about {units.duration(found['seconds'])}", work(found)))
    spent = {name: seconds for name, seconds in found["seconds_parts"].items() if seconds >= 0.5}
    if len(spent) > 1:
        lines += [("", f"{units.duration(seconds):>9}  {name}", "") for name, seconds in spent.items()]
    return lines + fitting_rows(plan.get("fits"), found)


def model_name(plan: dict[str, Any]) -> str:
    name = Path(plan["model"]).name
    return f"{name}, after {plan['follows']}" if plan.get("follows") else name


def work(found: dict[str, Any]) -> str:
    steps = f"{found['steps']:,} step{'s' if found['steps'] > 1 else ''}"
    cut = f"micro-batches of up to {found['largest_micro_batch']:,}"
    checkpointing = ", checkpointed" if found["checkpointing"] else ""
    return f"{steps}, {found['tokens']:,} tokens in {cut}{checkpointing}"


def fitting_rows(fits: dict[str, Any] | None, found: dict[str, Any]) -> list[tuple[str, str, str]]:
    if fits is None:
        return []
    verdict = "it fits" if fits["fits"] else "it does not fit"
    needed = f"{units.size(found['peak_bytes'])} of {units.size(fits['limit_bytes'])} to plan with"
    lines = [("fits", verdict, needed)]
    if not fits["tokens_per_forward"]:
        return [*lines, ("", "not even one token", "weights, gradients and optimizer take all of it")]
    bounds = f"{fits['rows_per_forward']:,} rows of mean length; a batch may have any number"
    longest = "all that the model has" if fits["max_length"] == fits["model_limit"] else ""
    return [
        *lines,
        ("", f"tokens_per_forward up to {fits['tokens_per_forward']:,}", bounds),
        ("", f"max_length up to {fits['max_length']:,}", longest),
    ]


def one_line(found: dict[str, Any]) -> tuple[str, str]:
    """A prediction as (value, reason), for the plan that is printed before step 1."""
    parts = ", ".join(f"{name} {units.size(bytes_)}" for name, bytes_ in found["parts"].items() if bytes_)
    return f"{units.size(found['peak_bytes'])} peak, about {units.duration(found['seconds'])}", parts
