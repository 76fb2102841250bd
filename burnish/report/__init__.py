"""The report of a run or a pipeline: one self-contained HTML page of what was done, and whether it worked."""

from burnish.report.page import write_report

__all__ = ["write_report"]
