"""Putting a trainer together from what a person gives: a model or its name, a config, an adapter."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    EarlyStoppingCallback,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from burnish.engine.config import EngineConfig
from burnish.errors import UserError, nearest
from burnish.models.certify import certify
from burnish.models.classification import HEADS
from burnish.models.finite import require_finite
from burnish.models.forward import detach, inner_model
from burnish.models.load import TASK_TYPES, Task, load_model, load_tokenizer
from burnish.models.precision import HALF, fast_bfloat16
from burnish.models.readiness import Lifted, Readiness
from burnish.models.states import frozen

if TYPE_CHECKING:
    from burnish.engine.trainer import Engine

logger = logging.getLogger("burnish")


class Built(NamedTuple):
    model: nn.Module
    name: str  # folder or hub id the model came from; empty if unknown
    adapter_is_fresh: bool  # an adapter was put on here
    lifted: Lifted  # trained weights that a plain forward takes in the dtype of the others only


def config_for(config_class: type[EngineConfig], args: Any, model: Any) -> Any:
    """The method's config: as given, made from plain `TrainingArguments`, or all defaults."""
    if args is None:
        name = model if isinstance(model, str) else getattr(model.config, "_name_or_path", "")
        return config_class(
            output_dir=f"{Path(name).name or 'model'}-{config_class.__name__.removesuffix('Config')}"
        )
    if isinstance(args, config_class):
        return args
    if isinstance(args, TrainingArguments):
        changed = _changed(args)
        if unread := changed.keys() - config_class.__dataclass_fields__.keys():
            raise UserError(
                f"{config_class.__name__} has no {', '.join(sorted(unread))}",
                where="args",
                fix=f"pass a {config_class.__name__}; a class with fields of your own derives from it",
            )
        return config_class(**{"output_dir": args.output_dir} | changed)
    raise UserError(
        f"expected a {config_class.__name__}, found a {type(args).__name__}",
        where="args",
        fix=f"pass burnish.{config_class.__name__}(...)",
    )


def _changed(args: TrainingArguments) -> dict[str, Any]:
    """The arguments that differ from transformers' defaults, so a method's own hold for the rest."""
    untouched = type(args)(output_dir=args.output_dir)
    given = {f.name: getattr(args, f.name) for f in dataclasses.fields(args) if f.init}
    return {name: value for name, value in given.items() if value != getattr(untouched, name)}


# Model


def build_model(
    model: Any, task: Task, args: EngineConfig, peft_config: Any, quantization_config: Any
) -> Built:
    """Load the model if it is a name, put the adapter on, and store trained weights in float32.

    New weights, of a head or an adapter, are drawn by the config's seed.
    """
    set_seed(args.seed)
    if isinstance(model, str):
        name, kwargs = model, {**args.head_kwargs(), **init_kwargs(args)}
        if quantization_config is not None:
            kwargs["quantization_config"] = quantization_config
        model = load_model(name, task, trained=peft_config is None, fast=fast_at_half(args), **kwargs)
    elif not args.model_init_kwargs:
        name = getattr(getattr(model, "config", None), "_name_or_path", "")
    else:
        raise UserError(
            "the model is loaded already", where="model_init_kwargs", fix="pass the model by name"
        )
    has_adapter = hasattr(model, "get_base_model")
    if peft_config is not None:
        if has_adapter:
            raise UserError(
                "the model has an adapter already", where="peft_config", fix="merge it, or leave this out"
            )
        model = with_adapter(model, task, peft_config, args)
    _require_trained(model, has_adapter)
    lifted = settle_weights(model, args)
    others = {p.dtype for p in model.parameters() if not p.requires_grad}
    return Built(model, name, peft_config is not None, [each for each in lifted if each[1] in others])


def readiness_of(engine: Engine, lifted: Lifted) -> Readiness:
    """The state in which the trained model runs forests, in the tier that it was certified for."""
    tier, dropout = inner_model(engine.model).forest_tier, not engine.args.disable_dropout
    return Readiness(engine.model, tier, engine.compute_dtype, dropout=dropout, lifted=lifted)


def _require_trained(model: nn.Module, has_adapter: bool) -> None:
    """Raises `UserError` where no weight of `model` is trained."""
    if any(parameter.requires_grad for parameter in model.parameters()):
        return
    if has_adapter:
        raise UserError(
            "the adapter is frozen, as PEFT loads it by default, and there is nothing else to train",
            where="model",
            fix="pass is_trainable=True to PeftModel.from_pretrained, or give the folder as the model",
        )
    raise UserError(
        "all weights of the model are frozen",
        where="model",
        fix="call model.requires_grad_(True), or pass a peft_config",
    )


def second_model(model: Any, engine: Engine, name: str, options: str) -> nn.Module:
    """A model beside the trained one, by name or loaded, which the engine makes ready for forests.

    `name` is the argument that it came by, `options` the field with the arguments to load it with.
    """
    args = engine.args
    if model is engine.model:
        raise UserError("it is the very model that is trained", where=name, fix="give another, or none")
    if isinstance(model, str):
        kwargs = init_kwargs(args, options)
        model = load_model(model, engine.task, trained=False, fast=fast_at_half(args), **kwargs)
        model.requires_grad_(False)
    if not isinstance(model, nn.Module):
        raise UserError(
            f"expected a model or the name of one, found a {type(model).__name__}",
            where=name,
            fix=f"{name} comes before args; name them: {name}=..., args=...",
        )
    model.to(args.device).eval()
    check_weights(model, name)
    stored = {parameter.dtype for parameter in model.parameters()}
    dtype = engine.compute_dtype or (torch.float32 if stored & set(HALF) else None)
    dtype = None if torch.float64 in stored else dtype
    with frozen(model):
        certificate = certify(model, max_length=args.max_length, computes_in=dtype)
    detach(model)
    engine.models.add(Readiness(model, certificate.tier, None if certificate.fails_in else dtype))
    return model


def init_kwargs(args: EngineConfig, options: str = "model_init_kwargs") -> dict[str, Any]:
    """`model_init_kwargs`, or another field like it, as a dict, also where it was written as JSON."""
    given = getattr(args, options) or {}
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except json.JSONDecodeError as error:
            raise UserError(f"not JSON: {error}", where=options, fix='write {"name": value}') from error
    return {"trust_remote_code": args.trust_remote_code, **given}


def with_adapter(model: nn.Module, task: Task, peft_config: Any, args: EngineConfig) -> nn.Module:
    """The model with a new adapter on it, of the task that the method trains."""
    from peft import get_peft_model, prepare_model_for_kbit_training

    # peft 0.21 asks by the old name
    warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
    peft_config = copy.copy(peft_config)
    given, peft_config.task_type = getattr(peft_config, "task_type", None), TASK_TYPES[task]
    if task == "steps" and peft_config.target_modules == "all-linear" and not peft_config.exclude_modules:
        peft_config.exclude_modules = list(HEADS)  # trained whole, as peft knows of SEQ_CLS only
    if given not in (None, TASK_TYPES[task]):  # for SEQ_CLS peft trains and saves the head too
        note = f"task_type={given} has no effect: an adapter of this method is of task {TASK_TYPES[task]}"
        args.compat_notes.append(note)
    if getattr(model, "is_quantized", False):
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    modules = {name for name, _ in model.named_modules()}
    asked = list(getattr(peft_config, "modules_to_save", None) or ())  # PEFT adds names of heads by itself
    model = get_peft_model(model, peft_config)
    for saved in asked:
        if not any(name == saved or name.endswith(f".{saved}") for name in modules):
            known = sorted({name.rpartition(".")[2] for name in modules})
            raise UserError(
                f"the model has no module '{saved}', which PEFT passes over.{nearest(saved, known)}",
                where="modules_to_save",
            )
    return model


def settle_weights(model: nn.Module, args: EngineConfig) -> Lifted:
    """Store trained weights in float32; returns those that were not, with the dtype that they had.

    A 16-bit weight cannot take an update below 1/256 of it. Full fine-tuning keeps them in bfloat16 where
    `dtype` says so. Float64 models stay as they are.
    """
    kept = torch.bfloat16 if keeps_bfloat16(model, args) else None
    lifted = [
        (parameter, parameter.dtype)
        for parameter in model.parameters()
        if parameter.requires_grad and parameter.dtype in HALF and parameter.dtype != kept
    ]
    for parameter, _ in lifted:
        parameter.data = parameter.data.float()
    return lifted


def keeps_bfloat16(model: nn.Module, args: EngineConfig) -> bool:
    """Whether full fine-tuning stores its weights in bfloat16: only where `dtype` asks for it by name."""
    asked = init_kwargs(args).get("dtype")
    return asked in ("bfloat16", torch.bfloat16) and not hasattr(model, "get_base_model")


def compute_dtype(model: nn.Module, args: EngineConfig, fast: bool | None = None) -> torch.dtype | None:
    """What forwards compute in; None: in what is stored, or in what FSDP or DeepSpeed is told.

    `bf16` decides. Unset, it is bfloat16 where weights are stored in it or the machine is fast at it (`fast`,
    where that is another machine). It is never float16.
    """
    if args.fsdp or args.deepspeed:
        return None
    stored = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if torch.float64 in stored:
        return None
    if args.bf16 is not False and (torch.bfloat16 in stored or fast_at_half(args, fast)):
        return torch.bfloat16
    return torch.float32 if stored & set(HALF) else None


def fast_at_half(args: EngineConfig, fast: bool | None = None) -> bool:
    """Whether to compute in bfloat16: where it is asked for, or where the machine is fast at it (`fast`)."""
    if args.bf16 is not None:
        return args.bf16
    return fast_bfloat16(args.device) if fast is None else fast


# Tokenizer


def callbacks_of(args: EngineConfig) -> list[TrainerCallback]:
    """Callbacks that a config asks for."""
    patience = args.early_stopping_patience
    return [] if patience is None else [EarlyStoppingCallback(patience)]


def build_tokenizer(given: Any, name: str, args: EngineConfig) -> PreTrainedTokenizerBase:
    tokenizer = given
    if tokenizer is None:
        if not name:
            raise UserError(
                "the model does not say where its tokenizer is", where="processing_class", fix="pass one"
            )
        tokenizer = load_tokenizer(name, **_tokenizer_kwargs(args))
    if args.chat_template_path:
        tokenizer.chat_template = _chat_template(args.chat_template_path)
    if args.eos_token is not None:
        if args.eos_token not in tokenizer.get_vocab():
            raise UserError(
                f"{args.eos_token!r} is no token of this tokenizer."
                + nearest(args.eos_token, tokenizer.all_special_tokens),
                where="eos_token",
                fix="name a token of the vocabulary",
            )
        tokenizer.eos_token = args.eos_token
    return tokenizer


def _tokenizer_kwargs(args: EngineConfig) -> dict[str, Any]:
    kwargs = {"trust_remote_code": args.trust_remote_code}
    return kwargs | {k: v for k, v in init_kwargs(args).items() if k in ("revision", "token", "cache_dir")}


def _chat_template(path: str) -> str:
    file = Path(path)
    if file.is_dir() and (file / "chat_template.jinja").is_file():
        file = file / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = load_tokenizer(path).chat_template
    if template is None:
        raise UserError(
            "this tokenizer has no chat template", where=f"chat_template_path={path}", fix="give another"
        )
    return template


def stack_rows(parts: Sequence[Tensor], at_least: int) -> Tensor:
    """Rows of micro-batches as one tensor, the shorter ones filled up with -100; the last again and again
    until there are `at_least`."""
    width = max(part.shape[1] for part in parts) if parts[0].dim() > 1 else 0
    rows = [F.pad(part, (0, width - part.shape[1]), value=-100) if width else part for part in parts]
    stacked = torch.cat(rows)
    return torch.cat([stacked, *[stacked[-1:]] * (at_least - len(stacked))])[: max(at_least, 1)]


# Weights that are not finite


def check_weights(model: nn.Module, name: str) -> None:
    """A model is finite before anything is computed with it. Raises `UserError`, with the tensors' names."""
    fix = "load a checkpoint from before they became so, or download it anew"
    require_finite(inner_model(model).named_parameters(), "the weights are not finite", fix, name)


def check_saved(model: nn.Module, state: dict[str, Tensor] | None, folder: str) -> None:
    """Nothing is saved that is not finite: not as a checkpoint, not as a model. Raises `UserError`."""
    trained = ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
    require_finite(
        trained if state is None else state.items(),
        "nothing is saved, as the trained weights are not finite",
        "go on from an earlier checkpoint, with a lower learning_rate",
        folder,
    )


# Saving


def replace_pickled_arguments(output_dir: str, args: EngineConfig) -> None:
    """Write the arguments as JSON instead of the pickle that transformers writes."""
    (Path(output_dir) / "training_args.bin").unlink(missing_ok=True)
    (Path(output_dir) / "training_args.json").write_text(args.to_json_string() + "\n", encoding="utf-8")
