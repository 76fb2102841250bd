"""What is checked of settings before anything is loaded: numbers that cannot be, pairs that cannot work,
options that nothing would read; and what is worth a warning.

A rule is a function of `Chosen`. It raises `UserError`, which names the places of all settings it is
about, or yields a `Notice`. To add one, write it and name it in `RULES`. Values of the wrong type and names
that do not exist are found before (`settings.py`); what needs the rows or the model is found after.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.engine.ranges import holds, meant_rate, range_of
from burnish.models.adapter_chain import adapter_folder, chain_of
from burnish.pipeline.chosen import Chosen, Notice, default_of, spell
from burnish.pipeline.methods import Method
from burnish.pipeline.needs import NEEDS, RIVALS
from burnish.pipeline.settings import Settings


def check_settings(
    method: Method, settings: Settings, values: Mapping[str, Any], *, adapter: bool | None = None
) -> list[Notice]:
    """All rules, in order. Raises `UserError` at the first that refuses; returns the warnings.

    `values` are the settings as values of their types. `adapter` says whether the model, which an earlier
    stage has yet to write, has an adapter that goes on training.
    """
    chosen = Chosen(method, settings, values, adapter)
    return [notice for rule in RULES for notice in rule(chosen)]


# Refused


def one_way_to_say_it(chosen: Chosen) -> Iterator[Notice]:
    """Two options that say the same thing: how long to train, which rows."""
    for name, other in RIVALS:
        if name == "num_train_epochs" and chosen["max_steps"] == -1:
            continue
        if all(chosen.gives(each) and chosen[each] is not False for each in (name, other)):
            place = chosen.where(name)
            also = f" ({place})" if place != f"--{name}" else ""
            raise chosen.refusal(
                other,
                f"both {name}{also} and {other} are given, and only one of them can count",
                f"leave out {name} or {other}",
            )
    yield from ()


def learning_rate_that_can_be(chosen: Chosen) -> Iterator[Notice]:
    """1 or more: mostly a minus sign that was lost."""
    rate = chosen["learning_rate"]
    if chosen.gives("learning_rate") and rate >= 1:
        raise chosen.refusal(
            "learning_rate",
            f"learning_rate is {chosen.settings['learning_rate'].value}; no model survives a step of that",
            f"write {meant_rate(rate)}, with a minus sign"
            if rate >= 10
            else f"{spell(usual_rate(chosen))} is usual here",
        )
    yield from ()


def numbers_in_range(chosen: Chosen) -> Iterator[Notice]:
    for name, value in chosen.values.items():
        allowed = range_of(chosen.method.name, name)
        if not holds(allowed, value):
            default = default_of(chosen.fields[name])
            hint = "leave it out" if default is None else f"{spell(default)} is the default"
            raise chosen.refusal(name, f"{name} is {spell(value)}; it must be {allowed}", hint)
    yield from ()


def warmup_that_ends(chosen: Chosen) -> Iterator[Notice]:
    warmup, steps = chosen["warmup_steps"], chosen["max_steps"]
    if chosen.gives("warmup_steps") and steps > 0 and warmup >= steps:
        raise chosen.refusal(
            "warmup_steps",
            f"warmup_steps is {spell(warmup)} and {chosen.states('max_steps')}: training would end before "
            "the learning rate has risen",
            f"give fewer, or a share of all steps: {chosen.spelled('warmup_steps', 0.1)}",
        )
    yield from ()


def options_that_are_read(chosen: Chosen) -> Iterator[Notice]:
    for need in NEEDS:
        name, other = need.option, need.other
        if not chosen.gives(name) or not need.of(chosen.method.name) or need.is_met(chosen[other]):
            continue
        asks_for_nothing = chosen[name] is False
        if asks_for_nothing or (not need.purpose and chosen[name] == default_of(chosen.fields[name])):
            continue
        raise chosen.refusal(
            name,
            f"{name} would have no effect: it goes with {other}: {' or '.join(map(spell, need.values))}, "
            f"and {chosen.states(other)}",
            f"{chosen.changed(other, need.values[0], name)}, or leave out {name}",
        )
    yield from ()


def quantized_base(chosen: Chosen) -> Iterator[Notice]:
    for name in ("load_in_4bit", "load_in_8bit"):
        if chosen[name] and not chosen["use_peft"]:
            raise chosen.refusal(
                name,
                f"quantized weights cannot be trained, an adapter on them can; {chosen.states('use_peft')}",
                f"{chosen.changed('use_peft', True, name)}, or leave out {name}",
            )
    yield from ()


def best_model_that_is_saved(chosen: Chosen) -> Iterator[Notice]:
    """Only a checkpoint that was evaluated at its own step can be the best."""
    if not chosen["load_best_model_at_end"]:
        return
    evaluates, saves = chosen["eval_strategy"], chosen["save_strategy"]
    if saves != "best" and evaluates != saves:
        raise chosen.refusal(
            "load_best_model_at_end",
            "load_best_model_at_end needs evaluation and checkpoints at the same steps, but "
            f"{chosen.states('eval_strategy')} and {chosen.states('save_strategy')}",
            "set both to steps, or both to epoch",
        )
    name = "eval_steps" if chosen["eval_steps"] else "logging_steps"
    every, saved = chosen[name], chosen["save_steps"]
    if evaluates == saves == "steps" and not divides(every, saved):
        better = every * max(1, round(saved / every))
        raise chosen.refusal(
            "load_best_model_at_end",
            "load_best_model_at_end needs checkpoints where it has evaluated, but "
            f"{chosen.states('save_steps')} and {chosen.states(name)}",
            f"make it a multiple of {name}: {chosen.spelled('save_steps', better, 'load_best_model_at_end')}",
        )
    yield from ()


def stream_with_an_end(chosen: Chosen) -> Iterator[Notice]:
    if chosen["dataset_streaming"] and chosen["max_steps"] <= 0:
        raise chosen.refusal(
            "dataset_streaming",
            "dataset_streaming needs max_steps: how many rows a stream has is not known",
            f"add {chosen.spelled('max_steps', 1000, 'dataset_streaming')}",
        )
    yield from ()


def packs_with_a_length(chosen: Chosen) -> Iterator[Notice]:
    if chosen["packing"] and chosen["max_length"] is None:
        raise chosen.refusal(
            "packing",
            f"packs are filled up to max_length, and {chosen.states('max_length')}",
            f"say how long a pack is: {chosen.spelled('max_length', 1024)}",
        )
    yield from ()


def step_with_two_examples(chosen: Chosen) -> Iterator[Notice]:
    """KTO's KL needs the completion of another prompt of the step."""
    if (
        chosen.method.name != "kto"
        or chosen["loss_type"] != "kto"
        or int(os.environ.get("WORLD_SIZE", 1)) > 1
    ):
        return
    batch, accumulated = "per_device_train_batch_size", "gradient_accumulation_steps"
    if chosen[batch] * chosen[accumulated] < 2:
        raise chosen.refusal(
            batch,
            f"{batch} is 1 and {chosen.states(accumulated)}, but a step of kto needs two examples: its KL "
            "sets each prompt beside the completion of another",
            f"give {chosen.spelled(batch, 8)}, or {chosen.spelled('loss_type', 'apo_zero_unpaired', batch)}",
        )
    yield from ()


def files_that_are_there(chosen: Chosen) -> Iterator[Notice]:
    """Files that would be opened only when the model is loaded, or when training begins."""
    for name, ends in FILES.items():
        value = chosen.values.get(name)
        if not isinstance(value, str) or not (value.endswith(ends) or value.startswith(("/", "./", "~"))):
            continue
        if not Path(value).expanduser().exists():
            raise chosen.refusal(name, f"{name} names {value!r}, and there is no such file", "check the path")
    yield from ()


FILES = {
    "deepspeed": (".json",),
    "fsdp_config": (".json",),
    "accelerator_config": (".json",),
    "chat_template_path": (".jinja", ".jinja2", ".j2", ".txt"),
}
"""Options that may name a file, and how such names end."""


def length_of_the_model(chosen: Chosen) -> Iterator[Notice]:
    """More tokens than the model has positions for, where its config is at hand."""
    model, length = chosen["model_name_or_path"], chosen["max_length"]
    limit = positions(model)
    longer = limit is not None and length is not None and length > limit
    if not longer or set(chosen["model_init_kwargs"] or {}) & {"max_position_embeddings", "rope_scaling"}:
        return
    if chosen.gives("max_length"):
        raise chosen.refusal(
            "max_length",
            f"max_length is {length}, but the model ({chosen.where('model_name_or_path')}) has positions for "
            f"{limit} tokens",
            f"give at most {limit}, or a model for longer texts",
        )
    yield chosen.notice(
        "max_length",
        f"max_length is {length} by default, and the model has positions for {limit} tokens: longer rows are "
        f"not what it was made for; add {chosen.spelled('max_length', limit, 'model_name_or_path')}",
    )


# Warned of


def learning_rate_that_is_usual(chosen: Chosen) -> Iterator[Notice]:
    """Ten times the usual, or a hundredth of it; and for an adapter the default of full fine-tuning."""
    if is_toy(chosen["model_name_or_path"]):
        return
    adapter, rate, usual = trains_adapter(chosen), chosen["learning_rate"], usual_rate(chosen)
    trained = "an adapter" if adapter else "all weights"
    said = f"learning_rate is {spell(rate)}; {spell(usual)} is usual for {trained} with {chosen.method.name}"
    times = rate / usual
    if not chosen.gives("learning_rate"):
        if adapter:
            text = f"learning_rate is {spell(rate)} by default, the rate for all weights"
            yield chosen.notice("learning_rate", f"{text}; an adapter usually takes {spell(usual)}")
    elif times >= 10 * ALMOST:
        hint = "" if adapter or times > 30 else f", a rate for adapters ({chosen.spelled('use_peft', True)})"
        yield chosen.notice("learning_rate", f"{said}. This is {times:.0f} times as much{hint}")
    elif not rate:
        yield chosen.notice("learning_rate", f"{said}. At {spell(rate)} nothing will be learned")
    elif times <= 0.01 / ALMOST:
        yield chosen.notice("learning_rate", f"{said}. At a {1 / times:.0f}th of it little will be learned")


ALMOST = 1 - 1e-9
"""2e-4 is ten times 2e-5, whatever floating point makes of it."""

ADAPTER_FACTOR = 10
"""How many times the usual rate of full fine-tuning an adapter takes, as "LoRA Without Regret" measured."""


def usual_rate(chosen: Chosen) -> float:
    """The method's default, which is that of full fine-tuning; ten times as much for an adapter."""
    return default_of(chosen.fields["learning_rate"]) * (ADAPTER_FACTOR if trains_adapter(chosen) else 1)


def trains_adapter(chosen: Chosen) -> bool:
    """Whether an adapter is trained: a new one, or that of the model."""
    if chosen["use_peft"] or chosen.adapter is not None:
        return bool(chosen["use_peft"] or chosen.adapter)
    return adapter_folder(str(chosen["model_name_or_path"])) is not None


RULES: tuple[Callable[[Chosen], Iterator[Notice]], ...] = (
    learning_rate_that_can_be,
    numbers_in_range,
    one_way_to_say_it,
    warmup_that_ends,
    quantized_base,
    options_that_are_read,
    best_model_that_is_saved,
    stream_with_an_end,
    packs_with_a_length,
    step_with_two_examples,
    files_that_are_there,
    length_of_the_model,
    learning_rate_that_is_usual,
)


def divides(step: float, whole: float) -> bool:
    return math.isclose(whole / step, round(whole / step), rel_tol=1e-9) and whole >= step


TOY_WIDTH = 256
"""Of hidden states. What is usual was measured on pretrained models, and all of them are wider."""


def is_toy(model: Any) -> bool:
    width = stated(model, ("hidden_size", "n_embd", "d_model"))
    return width is not None and width < TOY_WIDTH


POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx")


def positions(model: Any) -> int | None:
    """How many tokens a local model has positions for; None, where nobody says."""
    return stated(model, POSITIONS)


def stated(model: Any, names: Sequence[str]) -> int | None:
    """The first of these numbers in the config of a local model; None without one. An adapter: its base."""
    folder = Path(str(model)).expanduser()
    base = Path(chain_of(folder).base) if folder.is_dir() else folder
    config = read_json(base.expanduser() / "config.json")
    for part in (config or {}, (config or {}).get("text_config") or {}):
        for name in names:
            if isinstance(part.get(name), int) and part[name] > 0:
                return part[name]
    return None


def read_json(path: Path) -> dict[str, Any] | None:
    """The object of a file; None, where there is no such file, or no such object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
