"""What options of other tools are here: another name, nothing to do, or no counterpart, with the reason.

A table per tool (`axolotl.py`, `llama_factory.py`, `trl.py`, `others.py`) has an entry for every name that
is no option here by the same name and meaning. Messages about unknown keys, `burnish explain` and
`burnish import` all read these tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Config = Mapping[str, Any]
"""A whole configuration of another tool, for values that depend on others."""

Settings = dict[str, Any]
"""Settings here: option to value. `output_dir` and `env` are those at the top of a pipeline.

Beside them may be `notes` (a list: what to know of these settings) and `missing` (parts of the value without
counterpart: name to reason).
"""


class NoCounterpart(ValueError):
    """A value that has none here; the message is the reason."""


@dataclass(frozen=True)
class Foreign:
    """`ours` is the option here, empty where there is none; `note` says what is different, or why not.

    `needed` is false where nothing has to be done. `translate` makes settings of a value; it raises
    `NoCounterpart` for values that have none.
    """

    ours: str = ""
    note: str = ""
    needed: bool = True
    translate: Callable[[Any, Config], Settings] | None = None

    def settings(self, value: Any, config: Config) -> Settings:
        if self.translate is not None:
            return self.translate(value, config)
        return {self.ours: value} if self.ours else {}

    @property
    def has_none(self) -> bool:
        return self.needed and not self.ours


Table = Mapping[str, Foreign]


def renamed(ours: str, note: str = "") -> Foreign:
    return Foreign(ours, note)


def becomes(ours: str, translate: Callable[[Any], Any], note: str = "") -> Foreign:
    """The same option with another kind of value."""
    return Foreign(ours, note, translate=lambda value, _: {ours: translate(value)})


def spread(ours: str, translate: Callable[[Any, Config], Settings], note: str = "") -> Foreign:
    """One option that is several here, or that depends on others; `ours` is the one that messages name."""
    return Foreign(ours, note, translate=translate)


def choice(ours: str, values: Mapping[Any, Any], otherwise: str, note: str = "") -> Foreign:
    """A value for each of theirs; `otherwise` is the reason for those that have none."""

    def translate(value: Any) -> Any:
        if value not in values:
            raise NoCounterpart(otherwise)
        return values[value]

    return becomes(ours, translate, note)


def unneeded(because: str) -> Foreign:
    return Foreign(note=because, needed=False)


def missing(because: str) -> Foreign:
    return Foreign(note=because)


def all_of(entry: Foreign, names: str) -> dict[str, Foreign]:
    return dict.fromkeys(names.split(), entry)


PACKED = "every batch is packed without padding"
OWN_ATTENTION = "the fastest exact attention of the model is found out before step 1"
TEMPLATE = "rows are rendered by the model's own chat template; `burnish inspect --show 2` shows them"
LAUNCHED = "processes are started with `accelerate launch -m burnish ...`"
SAMPLED = "nothing is sampled in training yet: GRPO, PPO and their kin are not here"
CHECKPOINTING = "activations are recomputed where they do not fit, as the plan says"
KEPT = "prepared rows are kept and found again by themselves"
LISTS = "it is a choice of parameters by name, and all of them or an adapter are trained here"
