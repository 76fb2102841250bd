"""The methods and their losses as docs/methods.md has them, made from docstrings.

    python -m burnish.pipeline.catalog > docs/methods.md

The first paragraph of a loss's docstring is its formula, the next one its source, and the one that begins
with "Use" says when; a method's module says the same of the method. Columns of rows are those of its formats,
options those that are in the loss's signature and in the method's config.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from burnish.data.reading.family import Family
from burnish.data.reading.formats import RANKED, SCORED
from burnish.losses.distillation import generalized_jsd
from burnish.losses.divergence import DIVERGENCES
from burnish.losses.likelihood import LIKELIHOOD_LOSSES
from burnish.losses.margin import dynamic_beta_scale, reward_margin
from burnish.losses.mixture import PREFERENCE_LOSSES
from burnish.losses.pointwise import POINTWISE_LOSSES
from burnish.losses.ranking import RANKING_LOSSES
from burnish.losses.reference_free import CPO_LOSSES, TPO_LOSSES, alpha_reward, odds_ratio
from burnish.losses.reward import REWARD_PAIR_LOSSES, centering
from burnish.losses.steps import step_cross_entropy
from burnish.losses.unpaired import UNPAIRED_LOSSES, bco
from burnish.losses.weighting import length_desensitized, on_policy_weight
from burnish.pages.markdown import code, lines_of, linked
from burnish.pipeline.docstrings import Said
from burnish.pipeline.methods import METHODS, Method

COMMAND = "python -m burnish.pipeline.catalog > docs/methods.md"


@dataclass(frozen=True)
class Losses:
    """A table: functions by the value of `option` that asks for them."""

    functions: Mapping[str, Callable]
    option: str = "loss_type"
    rows: Family | None = None  # what they read, if not what the method reads
    title: str = ""


TABLES: dict[str, tuple[Losses, ...]] = {
    "sft": (Losses(LIKELIHOOD_LOSSES),),
    "reward": (
        Losses(REWARD_PAIR_LOSSES, title="Pairs"),
        Losses(RANKING_LOSSES, rows=RANKED, title="Ranked lists"),
        Losses(POINTWISE_LOSSES, rows=SCORED, title="Scores"),
        Losses({"center_rewards_coefficient": centering}, option="option", title="Added to a loss of pairs"),
    ),
    "prm": (Losses({"": step_cross_entropy}, option=""),),
    "dpo": (
        Losses(PREFERENCE_LOSSES),
        Losses(DIVERGENCES, option="f_divergence_type", title="What holds the policy to the reference"),
        Losses(
            {
                "margin_offset, length_penalty": reward_margin,
                "dynamic_beta": dynamic_beta_scale,
                "ld_alpha": length_desensitized,
                "use_weighting": on_policy_weight,
            },
            option="option",
            title="What changes the margin, the log-probabilities or the weight of pairs",
        ),
    ),
    "kto": (Losses(UNPAIRED_LOSSES),),
    "bco": (Losses({"": bco}, option=""),),
    "orpo": (Losses({"": odds_ratio}, option=""),),
    "cpo": (Losses({**CPO_LOSSES, "alphapo": alpha_reward}),),
    "gkd": (Losses({"": generalized_jsd}, option=""),),
    "tpo": (Losses(TPO_LOSSES),),
}


def document() -> str:
    """All of docs/methods.md."""
    overview = [["method", "verb", "when to use it"], ["---"] * 3]
    for method in METHODS.values():
        link = f"[{title(method)}](#{title(method).lower().replace(' ', '-')})"
        overview.append([link, code(method.name), method_said(method).use.removeprefix("Use ")])
    parts = [
        "# Methods",
        f"Made from the docstrings by `{COMMAND}`.",
        "Options of a formula are fields of the method's config by the same name. p is a probability of the "
        "policy, logarithms are in nats, and h is the margin of rewards: that of the chosen completion less "
        "that of the rejected one. What columns hold, and the other layouts that are read, is in "
        "[data.md](data.md).",
        lines_of(overview),
        *(part for method in METHODS.values() for part in section(method)),
    ]
    return "\n\n".join(parts) + "\n"


def section(method: Method) -> Iterable[str]:
    yield f"## {title(method)}"
    yield f"`burnish {method.name}`, `{method.prefix}Trainer`, `{method.prefix}Config`"
    yield linked(documentation(method))
    for losses in TABLES[method.name]:
        if losses.title:
            yield f"### {losses.title}"
        if losses.rows or losses is TABLES[method.name][0]:
            yield f"Rows: {columns(losses.rows or method.trainer_class().read_row)}."
        yield table(losses, method)


def table(losses: Losses, method: Method) -> str:
    fields = method.config_class().__dataclass_fields__
    lines = [
        [
            losses.option if losses.option == "option" else code(losses.option),
            "formula",
            "source",
            "when to use it",
            "options",
        ],
        ["---"] * 5,
    ]
    for name, function in losses.functions.items():
        found = Said.of(function)
        options = [code(each) for each in inspect.signature(function).parameters if each in fields]
        lines.append([code(name), code(found.formula), linked(found.source), found.use, " ".join(options)])
    return lines_of(lines if losses.option else [cells[1:] for cells in lines])


def documentation(method: Method) -> str:
    return inspect.getdoc(importlib.import_module(method.module)) or ""


def method_said(method: Method) -> Said:
    return Said.of(importlib.import_module(method.module))


def title(method: Method) -> str:
    """What the docstring begins with: `Direct preference optimization`."""
    return re.split(r"[:(;,]", documentation(method), maxsplit=1)[0].strip()


def columns(family: Family) -> str:
    """The columns of each of its formats under the names that are everyone's, and those read if there."""
    found: dict[str, None] = {}
    for each in family.formats:
        if not each.aliases:
            extra = [code(name) for name in (*each.optional, *each.carries) if name not in each.columns]
            text = " + ".join(map(code, each.columns or ("chosen", "rejected")))
            found[text + (f" (and {', '.join(extra)}, if there)" if extra else "")] = None
    return "; or ".join(found)


if __name__ == "__main__":
    print(document(), end="")
