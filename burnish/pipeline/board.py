"""`pipeline.json`: which stages a pipeline has, and how far each of them is; kept up to date as they go."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from burnish.pipeline.folders import write_json
from burnish.pipeline.jobs import Job, Tools, work
from burnish.pipeline.stage import StageResult
from burnish.secrets import hidden, in_texts

FILE = "pipeline.json"
FORMAT = 1


class Board:
    """The state of a pipeline. A stage is waiting, running, finished, failed or interrupted.

    `action` is what this run did with it: run, skip or resume; `folder` is beside the file.
    """

    def __init__(self, output: Path, file: str, text: str, jobs: Sequence[Job]) -> None:
        self.output = output
        self.before = _read(output / FILE)  # by the run before
        self._writes = not jobs or jobs[0].stage.config.process_index == 0
        self.content: dict[str, Any] = {
            "format": FORMAT,
            "file": file,
            "text": text,
            "stages": [
                {
                    "name": job.stage.name,
                    "method": job.stage.method.name,
                    "folder": job.stage.output.name,
                    "follows": job.stage.follows,
                    "status": "waiting",
                    "action": job.action,
                    "why": job.why,
                }
                for job in jobs
            ],
        }
        if "comparison" in self.before:  # kept, until another one is made
            self.content["comparison"] = self.before["comparison"]

    def say(self, job: Job, status: str) -> None:
        for stage in self.content["stages"]:
            if stage["name"] == job.stage.name:
                stage["status"] = status
        self.note()

    def note(self, **news: Any) -> None:
        """Write it down, with what else there is to know of the pipeline."""
        self.content |= news
        if self._writes:
            self.output.mkdir(parents=True, exist_ok=True)
            write_json(self.output / FILE, in_texts(hidden, self.content))


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def run_jobs(
    jobs: Sequence[Job],
    board: Board,
    command: str,
    tools: Tools,
    announce: Callable[[Job], None],
    say: Callable[[str], None],
) -> list[StageResult]:
    """Work on the stages in order; `announce` is called as each one starts."""
    results = []
    for job in jobs:
        announce(job)
        board.say(job, "running")
        try:
            results.append(work(job, command, tools, say))
        except BaseException as error:
            board.say(job, "interrupted" if isinstance(error, KeyboardInterrupt) else "failed")
            raise
        board.say(job, "finished")
    return results
