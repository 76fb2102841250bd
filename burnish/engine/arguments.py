"""What a trainer's constructor is given: the arguments that all share, and what is said of others.

All of it is checked before a model is loaded or a row is read.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from transformers import PreTrainedTokenizerBase, Trainer, TrainingArguments

from burnish.engine.compat import check_arguments
from burnish.engine.config import EngineConfig
from burnish.errors import UserError, nearest, shorten
from burnish.pipeline.unknown import UnknownKey


class TrainerArguments(TypedDict, total=False):
    """Arguments of every trainer beside `model` and `args`; `Engine` says what they are."""

    data_collator: Any
    train_dataset: Any
    eval_dataset: Any
    processing_class: PreTrainedTokenizerBase | None
    compute_loss_func: Any
    compute_metrics: Callable | None
    callbacks: list | None
    optimizers: tuple
    optimizer_cls_and_kwargs: tuple | None
    preprocess_logits_for_metrics: Any
    peft_config: Any
    quantization_config: Any
    loss: Callable | None


FORMER = {
    "tokenizer": "processing_class",
    "feature_extractor": "processing_class",
    "teacher": "teacher_model",
}
"""Arguments under the names that transformers and TRL once had for them."""


def full_signature(classes: Sequence[type]) -> inspect.Signature:
    """The arguments of the first class's constructor with those that it hands on to the others', for help."""
    found: dict[str, inspect.Parameter] = {}
    for each in classes:
        named = inspect.signature(each.__init__).parameters  # type: ignore[misc]
        found = {**named, **found}
    hidden = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    first = inspect.signature(classes[0].__init__).parameters  # type: ignore[misc]
    names = [*first, *(name for name in found if name not in first)][1:]
    shown = [found[name] for name in names if found[name].kind not in hidden]
    return inspect.Signature(sorted(shown, key=lambda parameter: parameter.kind))


def check_given(trainer: Any, args: Any, own: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse arguments that are none of this trainer's, and values that cannot be. Raises `UserError`.

    `given` has those of every trainer, `own` all others, of which the method's `setup` takes some.
    """
    shared = {name: given[name] for name in ("model", *TrainerArguments.__annotations__)}
    check_arguments({**shared, **own})
    for name in own:
        if name not in inspect.signature(trainer.setup).parameters:
            raise _unknown(trainer, name, own[name])
        if isinstance(own[name], TrainingArguments):
            raise UserError(
                f"expected a model, found a {type(own[name]).__name__}",
                where=name,
                fix=f"{name} comes before args; name them: args=...",
            )
    if isinstance(args, EngineConfig) and not isinstance(args, trainer.config_class):
        raise UserError(
            f"expected a {trainer.config_class.__name__}, found a {type(args).__name__}",
            where="args",
            fix=f"pass args={trainer.config_class.__name__}(...)",
        )
    if args is not None and not isinstance(args, TrainingArguments):
        raise UserError(
            f"expected a {trainer.config_class.__name__}, found {shorten(args)}",
            where="args",
            fix="name the arguments: model=..., args=..., train_dataset=...",
        )
    _check_shared(args, **shared)


def _check_shared(
    args: Any,
    model: Any = None,
    eval_dataset: Any = None,
    processing_class: Any = None,
    compute_metrics: Any = None,
    quantization_config: Any = None,
    **rest: Any,
) -> None:
    if model is None:
        raise UserError("no model was given", where="model", fix="pass a model, or the name of one")
    if eval_dataset is None and str(getattr(args, "eval_strategy", "no")) not in (
        "no",
        "IntervalStrategy.NO",
    ):
        raise UserError(
            "there are no rows to evaluate on, and eval_strategy asks for evaluations",
            where="eval_dataset",
            fix="pass rows, or leave out eval_strategy",
        )
    if isinstance(processing_class, str):
        raise UserError(
            f"expected a tokenizer, found the text {shorten(processing_class)}",
            where="processing_class",
            fix="pass AutoTokenizer.from_pretrained(...), or leave it out: the model's own is loaded",
        )
    if compute_metrics is not None and not callable(compute_metrics):
        raise UserError(
            f"expected a function, found {shorten(compute_metrics)}",
            where="compute_metrics",
            fix="pass a function of an EvalPrediction that returns a dictionary",
        )
    if quantization_config is not None and not isinstance(model, str):
        raise UserError(
            "the model is loaded already, and nothing would quantize it",
            where="quantization_config",
            fix="pass the model by name, or leave this out",
        )


def _unknown(trainer: Any, name: str, value: Any) -> UserError:
    """What to say of an argument that is none: where it belongs, or what it is called now."""
    where, config = trainer.__name__, trainer.config_class
    if name in FORMER and FORMER[name] in full_names(trainer):
        return UserError(
            f"'{name}' is called {FORMER[name]} here", where=where, fix=f"write {FORMER[name]}=..."
        )
    if name in config.__dataclass_fields__:
        fix = f"write args={config.__name__}({name}={shorten(value)}, ...)"
        return UserError(f"'{name}' is an option of the config", where=where, fix=fix)
    if having := [each.__name__ for each in _trainers() if name in inspect.signature(each.setup).parameters]:
        return UserError(
            f"'{name}' is an argument of {', '.join(sorted(having))}", where=where, fix=f"leave out {name}"
        )
    if close := nearest(name, full_names(trainer)):
        return UserError(
            f"there is no argument '{name}'.{close}", where=where, fix="help() lists all of them"
        )
    method = where.removesuffix("Trainer").lower()
    options = list(config.__dataclass_fields__)
    error = UnknownKey(name, where, options, f"burnish {method} --help-all", value, calls=True).error()
    if not error.fix.startswith("write "):
        return error
    return UserError(
        error.what, where=where, fix=f"write args={config.__name__}({error.fix.removeprefix('write ')})"
    )


def full_names(trainer: Any) -> list[str]:
    """All arguments of a trainer."""
    return list(
        dict.fromkeys([*inspect.signature(trainer).parameters, *inspect.signature(trainer.setup).parameters])
    )


def _trainers() -> list[Any]:
    """The trainers that are imported."""
    found: list[Any] = []
    left: list[Any] = [Trainer]
    while left:
        found += (below := left.pop().__subclasses__())
        left += below
    return [each for each in found if each.__module__.startswith("burnish.methods")]
