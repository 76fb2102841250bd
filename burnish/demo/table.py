"""What the demo shows at its end: one table, and a few answers side by side."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from burnish.demo.comparison import Outcome
from burnish.demo.task import grade

SHOWN = 4
"""Notes whose answers are shown."""

LONGEST = 150
"""Characters of an answer that are shown."""


def show(outcome: Outcome, console: Console) -> None:
    """Print the outcome. Every number in it was measured in this run."""
    console.print(scores(outcome))
    reward = outcome.reward_model
    console.print(
        f"The reward model ranks {reward.accuracy:.0%} of the held-out pairs right "
        f"({reward.accuracy_before:.0%} before training).\n"
    )
    for index in chosen_notes(outcome):
        console.print(side_by_side(outcome, index))
    minutes, seconds = divmod(round(outcome.seconds), 60)
    console.print(f"Measured in this run, in {minutes} min {seconds} s.")


def scores(outcome: Outcome) -> Table:
    table = Table(title=f"{len(outcome.rows.held_out)} held-out notes")
    table.add_column("model")
    for title in ("right tickets", "right fields", "valid JSON", "eval loss", "reward"):
        table.add_column(title, justify="right")
    for model in outcome.models:
        table.add_row(
            model.name,
            f"[bold]{model.score.right:.0%}[/]",
            f"{model.score.fields:.0%}",
            f"{model.score.valid:.0%}",
            f"{model.eval_loss:.3f}",
            f"{model.reward:+.2f}",
        )
    return table


def chosen_notes(outcome: Outcome) -> list[int]:
    """The first notes whose grade differs between SFT and DPO, and then the first of all."""
    _, sft, dpo = (
        [
            grade(text, row["expected"]).right
            for text, row in zip(m.answers, outcome.rows.held_out, strict=True)
        ]
        for m in outcome.models
    )
    order = sorted(range(len(sft)), key=lambda i: sft[i] == dpo[i])  # stable: differing ones first
    return order[:SHOWN]


def side_by_side(outcome: Outcome, index: int) -> Table:
    row = outcome.rows.held_out[index]
    table = Table(
        show_header=False, title=escape(row["prompt"][-1]["content"]), title_justify="left", min_width=100
    )
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    for model in outcome.models:
        text = model.answers[index]
        mark = "[green]right[/]" if grade(text, row["expected"]).right else "[red]wrong[/]"
        table.add_row(model.name, escape(shortened(text)), mark)
    return table


def shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
