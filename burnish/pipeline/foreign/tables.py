"""All tables of other tools' names, and what to say to a person who wrote one of them."""

from __future__ import annotations

from collections.abc import Mapping

from burnish.pipeline.foreign.axolotl import AXOLOTL
from burnish.pipeline.foreign.llama_factory import LLAMA_FACTORY
from burnish.pipeline.foreign.names import Foreign, Table
from burnish.pipeline.foreign.others import HABITS, OPENRLHF, SWIFT, UNSLOTH
from burnish.pipeline.foreign.trl import TRL

TOOLS: Mapping[str, Table] = {
    "TRL": TRL,
    "Axolotl": AXOLOTL,
    "LLaMA-Factory": LLAMA_FACTORY,
    "ms-swift": SWIFT,
    "Unsloth": UNSLOTH,
    "OpenRLHF": OPENRLHF,
}


def lookup(name: str) -> tuple[list[str], Foreign] | None:
    """The tools that have an option `name`, and what it is here; no tool, where it is only a habit.

    Where tools differ, those that say the same as the first are named.
    """
    having = {tool: table[name] for tool, table in TOOLS.items() if name in table}
    if not having:
        return ([], HABITS[name]) if name in HABITS else None
    first = next((entry for entry in having.values() if entry.ours), next(iter(having.values())))
    return [tool for tool, entry in having.items() if entry.ours == first.ours], first


def written(tools: list[str]) -> str:
    """`Axolotl`, `LLaMA-Factory and ms-swift`."""
    *others, last = tools
    return f"{', '.join(others)} and {last}" if others else last
