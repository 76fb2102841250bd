"""Warnings about settings, on stderr: once, by the first process of a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from burnish.pipeline.chosen import Notice
from burnish.secrets import hidden


def show_notices(notices: Iterable[Notice], stage: str = "") -> None:
    """A line each, `warning: dpo.yaml:3: ...`; what has no place is said of the `stage`, if there is one."""
    if int(os.environ.get("RANK", 0)) == 0:
        for notice in notices:
            place = f"stage {stage}: " if stage and not notice.where else ""
            print(hidden(f"warning: {place}{notice}"), file=sys.stderr)
