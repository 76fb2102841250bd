"""What a stage starts from: which adapter goes on, what is merged, what the reference is; and why.

    starts from        the stage              then
    a whole model      use_peft               a new adapter on it
    a whole model      else                   all its weights are trained
    an adapter         use_peft not set       the adapter goes on
    an adapter         use_peft, same shape   the adapter goes on
    an adapter         use_peft, other shape  it is merged into its base, and a new one is put on
    an adapter         a reward model         it is merged into its base, for the head is another task's

An adapter that goes on keeps the base as it is: nothing is rounded, there is one adapter to take away, and
the reference is a frozen copy of it on the same base, exact to the bit. Merging is for where that cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from burnish.models.adapter_chain import adapter_folder, read_settings

if TYPE_CHECKING:
    from burnish.models.adapters import Adapter
    from burnish.pipeline.stage import PreparedStage

MODEL_OPTIONS = ("teacher_model_name_or_path",)
"""Options that name a model beside the one that is trained."""

BASE = "base"
"""The folder in a run's own for the model that an adapter was merged into."""

SHAPE = {
    "lora_r": "r",
    "lora_alpha": "lora_alpha",
    "lora_dropout": "lora_dropout",
    "lora_target_modules": "target_modules",
    "lora_target_parameters": "target_parameters",
    "lora_modules_to_save": "modules_to_save",
    "use_rslora": "use_rslora",
    "use_dora": "use_dora",
}
"""Options that say what an adapter is, by their names in its `adapter_config.json`."""

NEW_HEAD = ("reward", "prm")
"""Methods whose model has a head of its own, and so is of another kind than a language model."""

Shape = Mapping[str, Any]


@dataclass(frozen=True)
class Decision:
    what: str
    choice: str
    why: str


def adapter_in(folder: str) -> Shape | None:
    """The shape of the adapter in a folder, or of that name on the hub; None where there is none."""
    found = adapter_folder(folder)
    if found is None:
        return None
    settings = read_settings(found)
    return {option: settings.get(name) for option, name in SHAPE.items()}


def shape_of(model: Any) -> Shape:
    """The shape of the adapter that the options ask for."""
    return {option: getattr(model, option) for option in SHAPE}


def wired(prepared: PreparedStage, adapter: Shape | None, known: bool) -> PreparedStage:
    """The stage with what becomes of the `adapter` that it starts from, None for a whole model.

    `known` says that its shape is known by the options of an earlier stage, and not by its file alone.
    """
    name = f"'{prepared.follows}'" if prepared.follows else prepared.model.model_name_or_path
    wants_new = prepared.model.use_peft
    if adapter is None:
        decisions = [_fresh(name, prepared)]
        return replace(prepared, decisions=(*decisions, *_reference(prepared, name, _new_adapter(prepared))))
    if prepared.method.name in NEW_HEAD:
        why = f"a {prepared.method.name} model has a head of its own, and the adapter is a language model's"
        return _merging(prepared, name, why)
    other = _other_shape(adapter, shape_of(prepared.model), known) if wants_new else ""
    if other:
        return _merging(prepared, name, f"another adapter is asked for than that of {name}: {other}")
    same = "it has the shape that is asked for" if wants_new else "no other adapter is asked for"
    goes_on = Decision(
        "adapter", f"that of {name} goes on", f"{same}; the base stays as it is, and nothing is rounded"
    )
    found = replace(prepared, continues=True)
    return replace(found, decisions=(goes_on, *_reference(prepared, name, "trained")))


def _new_adapter(prepared: PreparedStage) -> Adapter | None:
    """LoRA as the options of a stage ask for it changes nothing before step 1."""
    return "removable" if prepared.model.use_peft else None


def _fresh(name: str, prepared: PreparedStage) -> Decision:
    if prepared.model.use_peft:
        return Decision("adapter", f"a new one on {name}", "use_peft, and it starts from a whole model")
    return Decision("adapter", "none", f"all weights of {name} are trained, as use_peft is not set")


def _merging(prepared: PreparedStage, name: str, why: str) -> PreparedStage:
    new_adapter = prepared.model.use_peft
    stored = (
        "in the dtype of the base, which stays frozen under the new adapter"
        if new_adapter
        else "in float32, in which its weights are trained"
    )
    decisions = [
        Decision("merge", f"the adapter of {name} into its base, before step 1", f"{why}; stored {stored}"),
        Decision(
            "adapter",
            "a new one on the merged model" if new_adapter else "none",
            "use_peft" if new_adapter else "all weights of the merged model are trained",
        ),
    ]
    found = replace(prepared, merges="base" if new_adapter else "float32")
    return replace(found, decisions=(*decisions, *_reference(prepared, name, _new_adapter(prepared))))


def _other_shape(old: Shape, wanted: Shape, known: bool) -> str:
    """How the adapters differ, in words. A file lists the modules that PEFT chose where none were named."""
    found = []
    for option, value in wanted.items():
        before = old[option]
        if not known and value in (None, ["all-linear"]):
            continue
        if _plain(before) != _plain(value):
            found.append(f"{option} is {value}, and was {before}")
    return ", ".join(found)


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, list | tuple | set) else value


def _reference(prepared: PreparedStage, name: str, adapter: Adapter | None) -> list[Decision]:
    """What the policy is compared with, for methods that compare it."""
    from burnish.engine.referenced import ReferenceEngine

    trainer_class = prepared.method.trainer_class()
    if not issubclass(trainer_class, ReferenceEngine):
        return []
    kind = trainer_class.reference_kind(prepared.config, adapter)
    choice = {
        "adapter off": "the model under the new adapter",
        "frozen adapter": f"a frozen copy of the adapter of {name}, on the same base",
    }.get(kind, f"{name} as it is before step 1")
    why = {
        "adapter off": f"it is what {name} is, and a new adapter changes nothing before step 1, so the "
        "margin is 0",
        "frozen adapter": f"it is what {name} saved; policy and reference are equal before step 1, so the "
        "margin is 0",
    }.get(kind, "all weights change, so it is kept, or its scores are")
    moving = "; it follows the policy (sync_ref_model)" if prepared.config.sync_ref_model else ""
    return [Decision("reference", choice, why + moving)]
