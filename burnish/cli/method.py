"""`burnish sft`, `burnish reward`, `burnish dpo`: one stage from a file and flags."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace

from burnish.cli.flags import read_flags
from burnish.cli.notices import show_notices
from burnish.errors import UserError
from burnish.pipeline.methods import METHODS, Method
from burnish.pipeline.settings import Settings, apply_environment, named_settings, overlaid, read_document
from burnish.pipeline.stage import Stage, StageResult

HELP_WORDS = {"--help": False, "-h": False, "--help-all": True, "--help_all": True}


def train(name: str, words: list[str]) -> None:
    """Train with the method `name` as the words after the verb say. Raises `UserError`."""
    method = METHODS[name]
    asked = [HELP_WORDS[word] for word in words if word in HELP_WORDS]
    if asked:
        from burnish.cli.help import show_help

        show_help(method, everything=any(asked))
    else:
        from burnish.cli.quiet import quiet

        quiet()
        run_alone(Stage(name, method, read_settings(method, words)), shlex.join(["burnish", name, *words]))


def run_alone(stage: Stage, command: str) -> None:
    """Train a stage that is no part of a pipeline. What is in its folder already is kept, or resumed."""
    from burnish.cli.tools import TOOLS
    from burnish.pipeline.jobs import judged, work
    from burnish.pipeline.wiring import adapter_in, wired

    ready = stage.prepare()
    show_notices(ready.notices)
    ready = wired(ready, adapter_in(ready.model.model_name_or_path), known=False)
    (job,) = judged([ready])
    if job.action == "skip":  # a verb means to train; a pipeline means its results
        job = replace(job, action="run", why="asked for again")
    if job.action == "resume":
        print(f"resume {job.why}")
    show_result(work(job, command, TOOLS, print))


def read_settings(method: Method, words: list[str]) -> Settings:
    """The file after `--config`, overridden by the other flags; the file's `env` section is applied."""
    words, file = take_config(words)
    flags = read_flags(words, method.fields(), f"burnish {method.name} --help-all")
    if file is None:
        return flags
    document = read_document(file)
    apply_environment(document)
    return overlaid(named_settings(document), flags)


def take_config(words: list[str]) -> tuple[list[str], str | None]:
    """The words without `--config FILE`, and the file."""
    rest, file = [], None
    remaining = iter(words)
    for word in remaining:
        flag, equals, value = word.partition("=")
        if flag != "--config":
            rest.append(word)
            continue
        file = value if equals else next(remaining, "")
        if not file or file.startswith("--"):
            raise UserError("needs a file", where="--config")
    return rest, file


def show_result(result: StageResult) -> None:
    """Two lines: where the model is, and what to do with it."""
    sys.stdout.flush()
    print(f"saved  {result.output}  ({result.steps} steps, {result.seconds:.0f} s)")
    print("next   " + result.method.next_step.format(output=result.output))
