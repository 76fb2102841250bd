"""A stage's cost before it begins: from its config, its model's shapes and its rows' lengths."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import torch

from burnish.engine import assembly, rows
from burnish.engine.plan import Budget, activation_bytes, token_budget
from burnish.models.adapter_chain import chain_of
from burnish.models.forward import inner_model
from burnish.models.load import get_peft_config
from burnish.planning.devices import Device, named_device, this_machine
from burnish.planning.fitting import Fitting, fitting
from burnish.planning.lengths import MicroBatches, Steps
from burnish.planning.memory import Memory, Rehearsed, base_bytes, memory, process_bytes, rehearsed
from burnish.planning.seconds import Seconds, seconds
from burnish.planning.subject import Subject, weights_dtype

logger = logging.getLogger("burnish")

TEACHER = "teacher_model_name_or_path"
NOTHING_BEFORE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Prediction:
    """What a stage will take on one device."""

    name: str
    method: str
    device: Device
    subject: Subject
    budget: Budget
    steps: Steps
    micro_batches: MicroBatches
    rehearsed: Rehearsed
    memory: Memory
    seconds: Seconds

    def to_dict(self) -> dict[str, Any]:
        """As `run.json` keeps it under `predicted`, in bytes, seconds and tokens."""
        parts = asdict(self.memory.parts)
        return {
            "peak_bytes": self.memory.peak,
            "seconds": round(self.seconds.total, 3),
            "steps": self.steps.count,
            "tokens": self.steps.tokens,
            "parts": parts,
            "when": self.memory.when,
            "seconds_parts": {name: round(value, 3) for name, value in asdict(self.seconds).items()},
            "tokens_per_forward": self.budget.tokens,
            "largest_micro_batch": self.micro_batches.tokens,
            "checkpointing": self.budget.checkpoint,
            "computes_in": str(self.computed).removeprefix("torch."),
            "parameters": self.subject.parameters,
            "trained": self.subject.trained,
            "reference": self.subject.reference,
            "device": self.device.name,
            "device_source": self.device.source,
        }

    @property
    def computed(self) -> torch.dtype:
        return computed_dtype(self.subject)

    def fitting(self) -> Fitting:
        """The most that fits, by some rehearsals more."""
        return fitting(
            self.subject,
            self.device,
            self.micro_batches.largest[0],
            self.memory,
            steps=self.steps.count,
            checkpoint=self.budget.checkpoint,
            mean_length=float(self.steps.lengths.mean()),
        )


@dataclass(frozen=True)
class Origin:
    """What a stage leaves, described by what is there already: a model, and an adapter to put on it."""

    model: str
    adapter: Any = None

    @property
    def base(self) -> str:
        """The model without the adapter that it may be a folder of."""
        return chain_of(self.model).base

    @staticmethod
    def after(stage: Any, origins: Mapping[str, Origin]) -> Origin:
        """What `stage` leaves for the ones that follow it."""
        before = origins.get(stage.follows or "") or Origin(stage.model.model_name_or_path)
        if stage.continues:
            return before
        return Origin(before.base if stage.merges else before.model, get_peft_config(stage.model))


def predict_stage(stage: Any) -> dict[str, Any] | None:
    """What the `PreparedStage` will take on this machine; None, with a word why, where it cannot be told."""
    try:
        return predict(stage).to_dict()
    except Exception as error:  # a modeling file may do anything, and training does not hang on this
        logger.info("no prediction: %s: %s", type(error).__name__, str(error).partition("\n")[0])
        return None


def predict(
    stage: Any,
    device: str | None = None,
    origins: Mapping[str, Origin] = NOTHING_BEFORE,
) -> Prediction:
    """The same as an object, for a named device or this machine (None). Raises `UserError`.

    `stage` is a `PreparedStage`. `origins`: what earlier stages, which have not run yet, will leave.
    """
    process = process_bytes()  # before planning takes memory itself
    trainer_class, args = stage.method.trainer_class(), stage.config
    subject = _subject(stage, origins)
    if device is None:
        machine = this_machine(args.device, computed_dtype(subject), width_of(subject))
    else:
        machine = named_device(device)
        subject = replace(subject, fast_bfloat16=machine.fast_bfloat16)
    dataset, eval_tokens = _prepared(stage, trainer_class, Origin(subject.model).base)
    steps = Steps.of(dataset, args)
    budget = _budget(subject, machine, steps)
    cut = steps.micro_batches(budget.tokens)
    found = rehearsed(subject, cut.largest, budget.checkpoint)
    peak = memory(
        subject,
        found.micro_batch(cut.several),
        steps.count,
        machine.kind,
        base_bytes(process, computed_dtype(subject)) if machine.kind == "cpu" else 0,
        cut.first_tokens / cut.tokens,
    )
    time = seconds(
        subject,
        machine,
        found,
        several=cut.several,
        steps=steps.count,
        tokens=steps.tokens,
        rows_tokens=int(steps.lengths.sum()),
        eval_tokens=eval_tokens,
    )
    return Prediction(stage.name, stage.method.name, machine, subject, budget, steps, cut, found, peak, time)


def _subject(stage: Any, origins: Mapping[str, Origin]) -> Subject:
    left = Origin.after(stage, origins)
    teacher = stage.uses.get(TEACHER)
    return Subject(
        stage.method.trainer_class(),
        stage.config,
        stage.model,
        left.model,
        adapter=left.adapter,
        fresh=left.adapter is not None and not stage.continues,
        teacher_model=origins[teacher].model if teacher in origins else getattr(stage.config, TEACHER, None),
    )


def computed_dtype(subject: Subject) -> torch.dtype:
    return subject.computes_in or weights_dtype(subject.whole)


def width_of(subject: Subject) -> int:
    return int(getattr(subject.config.get_text_config(), "hidden_size", 1024))


def _prepared(stage: Any, trainer_class: Any, model: str) -> tuple[Any, int]:
    """The prepared rows to train on, which training finds in the cache; and tokens of all evaluations."""
    args = stage.config
    tokenizer = assembly.build_tokenizer(None, model, args)
    options = rows.preparation_options(args, trainer_class.preparation(args))
    read = trainer_class.reads(args)
    dataset, _ = rows.prepare_split(stage.train_dataset, read, tokenizer, options, args, "train")
    if stage.eval_dataset is None:
        return dataset, 0
    held_out, _ = rows.prepare_split(stage.eval_dataset, read, tokenizer, options, args, "eval")
    steps, evaluated = Steps.of(dataset, args), int(Steps.of(held_out, args).lengths.sum())
    return dataset, evaluated * evaluations(args, steps)


def evaluations(args: Any, steps: Steps) -> int:
    """How often an evaluation set is run: as asked, and once at the end."""
    if args.eval_strategy == "steps":
        every = args.eval_steps if args.eval_steps >= 1 else max(1, args.eval_steps * steps.count)
        return int(-(-steps.count // every))
    return max(1, round(steps.epochs)) if args.eval_strategy == "epoch" else 1


def _budget(subject: Subject, device: Device, steps: Steps) -> Budget:
    """As the engine will decide it, when the weights are loaded."""
    inner = inner_model(subject.whole)
    per_token = activation_bytes(inner, subject.computes_in)
    free = max(1, device.memory_bytes - device.reserved_bytes - subject.weight_bytes)
    longest = int(steps.lengths.max()) if len(steps.lengths) else 1024
    return token_budget(subject.args, subject.config, per_token, free, longest, device.kind)
