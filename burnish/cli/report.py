"""`burnish report`: one page of a run or a pipeline, and the same in a few lines."""

from __future__ import annotations

import json
import os
import sys

from burnish.report.page import report
from burnish.report.summary import text_of, to_dict


def run(folder: str, html: str | None, as_json: bool) -> None:
    """Write the page, and print its summary. Raises `UserError`."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # of loading a tokenizer
    path, summary = report(folder, html)
    if as_json:
        print(json.dumps(to_dict(summary, str(path)), ensure_ascii=False, allow_nan=False))
    else:
        print(text_of(summary))
        print(f"wrote  {path}", file=sys.stderr)
