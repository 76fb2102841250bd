"""How good a reward model is: `evaluation.json` in its folder, made by `burnish evaluate-reward --json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from markupsafe import Markup

from burnish import units
from burnish.pages.charts import interval
from burnish.report.folder import figure, mapping, word


@dataclass(frozen=True)
class ShareLine:
    """A share with its interval."""

    name: str
    rows: str
    value: str
    interval: str
    plot: Markup


@dataclass(frozen=True)
class RewardView:
    verdict: str
    figures: list[tuple[str, str, str]]
    lines: list[ShareLine]


def reward_view(found: Mapping[str, Any]) -> RewardView | None:
    overall = mapping(found.get("accuracy"))
    accuracy = figure(overall.get("value"))
    if accuracy is None:
        return None
    low = figure(overall.get("low"))
    data = PurePath(word(found.get("data"))).name
    coin = "" if low is None or low > 0.5 else " That is not significantly better than chance."
    error, loss = figure(found.get("calibration_error")), figure(found.get("log_loss"))
    all_lines = [
        line("all", overall),
        *(line(name, mapping(each)) for name, each in mapping(found.get("subsets")).items()),
    ]
    return RewardView(
        verdict=f"Of the pairs of {data or 'held-out rows'} it ranks {units.share(accuracy)} right.{coin}",
        figures=[
            each
            for each in (
                ("Calibration error", "" if error is None else f"{error:.3f}", "0 is best"),
                ("Log loss", "" if loss is None else f"{loss:.3f}", "0.693 knows nothing"),
            )
            if each[1]
        ],
        lines=all_lines,
    )


def line(name: str, found: Mapping[str, Any]) -> ShareLine:
    value, low, high, rows = (figure(found.get(key)) for key in ("value", "low", "high", "rows"))
    if value is None or low is None or high is None:
        return ShareLine(name, "–", "–", "–", Markup(""))
    return ShareLine(
        name,
        "–" if rows is None else f"{rows:,.0f}",
        units.share(value),
        units.share_range(low, high),
        interval(value, low, high),
    )
