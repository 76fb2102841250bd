"""What becomes of every stage: it runs, is skipped, or is resumed; and the doing of it.

    run       nothing is there, another run is (which is renamed), or what it starts from runs
    skip      the folder holds this very run, finished, with the weights that it saved
    resume    the folder holds this very run, interrupted after a checkpoint that is complete

All are decided before the first one trains, so that `--dry-run` says what a run does.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from burnish.engine.checkpoints import is_no, newest_complete
from burnish.errors import UserError
from burnish.pipeline import folders
from burnish.pipeline.hashes import hash_model
from burnish.pipeline.lineage import Inputs, differences, inputs_of
from burnish.pipeline.record import RunRecord, result_of
from burnish.pipeline.stage import PreparedStage, StageResult
from burnish.pipeline.wiring import BASE, MODEL_OPTIONS

Found = TypeVar("Found")


@dataclass(frozen=True)
class Tools:
    """What is handed down from the parts above: merging (`burnish merge`), predicting (`burnish plan`), the
    model card of a finished run (`burnish card`), and the way to the hub (`burnish push`)."""

    merge: Callable[[str, Path, str | None], Any]
    predict: Callable[[PreparedStage], dict[str, Any] | None] = lambda stage: None
    card: Callable[[Path], Any] = bool
    push: Callable[[PreparedStage], Any] = bool


@dataclass(frozen=True)
class Job:
    """A stage, and what is to become of it: `action` is run, skip or resume, `why` one line."""

    stage: PreparedStage
    inputs: Inputs
    action: str
    why: str
    checkpoint: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.stage.name,
            "method": self.stage.method.name,
            "action": self.action,
            "why": self.why,
            "folder": str(self.stage.output),
            "model": self.stage.model.model_name_or_path,
            "follows": self.stage.follows,
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
            "key": self.inputs.key,
            "decisions": [vars(decision) for decision in self.stage.decisions],
        }


def judged(stages: Sequence[PreparedStage]) -> list[Job]:
    """What becomes of each stage. Raises `UserError` where another process is training one."""
    inputs: dict[str, Inputs] = {}
    jobs: list[Job] = []
    for stage in stages:
        inputs[stage.name] = inputs_of(stage, inputs)
        before = {stage.follows, *stage.uses.values()}
        redone = next((job for job in jobs if job.stage.name in before and job.action != "skip"), None)
        action, why, checkpoint = at_once(lambda: _decided(stage, inputs[stage.name], redone))  # noqa: B023
        jobs.append(Job(stage, inputs[stage.name], action, why, checkpoint))
    return jobs


def _decided(stage: PreparedStage, inputs: Inputs, redone: Job | None) -> tuple[str, str, Path | None]:
    folder = stage.output
    if folders.is_locked(folder):
        raise folders.in_use(folder)
    if not folder.is_dir() or not folders.holds_a_run(folder):
        return "run", "it has not run yet", None
    record = folders.read_record(folder)
    if record is None:
        return "run", f"{folder} holds a model without a {folders.RECORD}", None
    if record.get("key") != inputs.key:
        return "run", "; ".join(differences(record, inputs)), None
    if redone is not None:
        return "run", f"it starts from '{redone.stage.name}', which is trained anew", None
    if record.get("status") == "finished":
        return _finished(folder, record)
    if is_no(stage.config.resume_from_checkpoint):
        return "run", "it was interrupted, and resume_from_checkpoint is false", None
    return _broken(folder, record)


def _finished(folder: Path, record: Mapping[str, Any]) -> tuple[str, str, Path | None]:
    if hash_model(str(folder)) != (record.get("output") or {}).get("sha256"):
        return "run", f"the model in {folder} is not the one that was saved", None
    when = str(record["finished"]).replace("T", " ").removesuffix("+00:00")
    return "skip", f"finished on {when} UTC, of the same rows, model, template and options", None


def _broken(folder: Path, record: Mapping[str, Any]) -> tuple[str, str, Path | None]:
    checkpoint, passed = newest_complete(folder)
    ended = "it failed" if record.get("status") == "failed" else "it was interrupted"
    notes = f" ({'; '.join(passed)})" if passed else ""
    if checkpoint is None:
        return "run", f"{ended} before a checkpoint was complete{notes}, so it starts over", None
    return "resume", f"{ended}; {checkpoint.name} is complete{notes}", checkpoint


def work(job: Job, command: str, tools: Tools, say: Callable[[str], None]) -> StageResult:
    """Do what was decided for a stage. `say` gets what a person should know, a line at a time.

    Nothing is written, and no folder renamed, before the model is loaded and the rows are prepared: what is
    wrong with them leaves everything as it was.
    """
    stage = job.stage
    if job.action == "skip":
        return result_of(folders.read_record(stage.output) or {}, stage)
    record = RunRecord(stage, job.inputs, command, tools.predict(stage))
    with ExitStack() as held:

        def begin() -> None:
            if not record.begun:
                moved = at_once(lambda: take_folder(job, held))
                if moved is not None:
                    say(f"what was in {stage.output} is kept as {moved}")
                record.start()

        record.watch.when_ready = begin
        try:
            if stage.merges:
                begin()  # the merged model has its place in the folder
            result = merged_first(stage, tools).run(record.watch, str(job.checkpoint or "") or None)
            if stage.merges and not stage.model.use_peft and not stage.config.process_index:
                shutil.rmtree(stage.output / BASE, ignore_errors=True)  # it is in the result
            record.finish(result)
        except KeyboardInterrupt:
            if record.begun:
                record.interrupt()
            say(interruption(stage, record))
            raise
        except BaseException as error:
            if record.begun:
                record.fail(error)
            raise
    if not stage.config.process_index:
        tools.card(stage.output)
        if stage.config.push_to_hub:
            tools.push(stage)
    return result


def interruption(stage: PreparedStage, record: RunRecord) -> str:
    """Where Ctrl-C came, and what the same command does next."""
    if not record.begun:
        return f"{stage.name} was interrupted before it began: nothing was written"
    checkpoint, _ = newest_complete(stage.output)
    way = f"resumes from {checkpoint.name}" if checkpoint else "starts over: no checkpoint was complete"
    return f"{stage.name} was interrupted at step {record.watch.step}; the same command {way}"


def take_folder(job: Job, held: ExitStack) -> Path | None:
    """Lock the folder of a stage until `held` ends, and only then rename what is in it; returns its new name.

    Raises `UserError`: another process trains into it, or did so since the stage was judged.
    """
    folder, reads = job.stage.output, paths_read_by(job.stage)
    named = job.stage.config.resume_from_checkpoint
    moves = job.action == "run" and (named is None or is_no(named))
    if moves:
        folders.check_room(folder, reads)
    killed = folders.was_killed(folder)
    held.enter_context(folders.locked(folder))
    if job.action == "resume" and (folders.read_record(folder) or {}).get("status") == "finished":
        raise UserError(
            "another process has finished this run since", where=str(folder), fix="give the command again"
        )
    moved = folders.make_room(folder, reads) if moves else None
    if moved is not None:
        if not killed:
            (moved / folders.LOCK).unlink(missing_ok=True)
        held.enter_context(folders.locked(folder))
    return moved


def merged_first(stage: PreparedStage, tools: Tools) -> PreparedStage:
    """The stage on the model that the adapter it starts from was merged into, where it is to be."""
    if not stage.merges:
        return stage
    base = stage.output / BASE
    dtype = None if stage.merges == "base" else stage.merges
    at_once(lambda: base.is_dir() or tools.merge(stage.model.model_name_or_path, base, dtype))
    return replace(stage, model=replace(stage.model, model_name_or_path=str(base)))


def paths_read_by(stage: PreparedStage) -> list[str]:
    """Files and folders that the stage reads."""
    sources = [*stage.train_dataset, *(stage.eval_dataset or [])]
    names = [getattr(source, "origins", source).name for source in sources]
    more = [getattr(stage.config, option, None) for option in ("chat_template_path", *MODEL_OPTIONS)]
    return [name for name in (stage.model.model_name_or_path, *names, *more) if name]


def at_once(find: Callable[[], Found]) -> Found:
    """What the first process finds or does, on every process; alone, it is simply done."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return find()
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    box: list[Any] = [None, None]
    if PartialState().is_main_process:
        try:
            box[0] = find()
        except Exception as error:
            box[1] = error
    box = broadcast_object_list(box)
    if box[1] is not None:
        raise box[1]
    return box[0]
