"""The key `compare` of a pipeline: which models answer the same prompts after the stages.

    compare:
      prompts: held_out.jsonl#100    # rows of any format
      models: [base, sft, dpo]       # stages, folders or hub ids; base: what the first stage starts from
      score: task.py:grade           # a function of an answer, or a list of them
      reward: judge                  # a stage, or a reward model
      max_new_tokens: 128

Without `models` they are the base and every stage that saves a model of language. Here the key is read and
checked; what compares stands above pipelines (`cli/comparing.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.errors import UserError, nearest, shorten
from burnish.pipeline.settings import Document
from burnish.pipeline.stage import Stage
from burnish.pipeline.values import NotThat, convert
from burnish.pipeline.wiring import NEW_HEAD

OPTIONS = {
    "max_new_tokens": "int",
    "temperature": "float",
    "top_p": "float",
    "seed": "int",
    "batch_size": "int",
    "dtype": "str",
    "split": "str",
    "columns": "dict[str, str] | str | None",
}
"""Options of `burnish compare` by the same names, with their types."""

KEYS = ("prompts", "models", "score", "reward", *OPTIONS)
BASE = "base"


@dataclass(frozen=True)
class Comparing:
    """What is compared: models by their names, and where they are."""

    prompts: str
    models: Mapping[str, str]
    scores: Sequence[str] = ()
    reward: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def read_comparing(document: Document, stages: Sequence[Stage], output: Path) -> Comparing:
    """The key as it stands in the file. Raises `UserError`."""
    for key in document.nodes:
        if key not in KEYS:
            hint = nearest(key, KEYS) or f" There is {', '.join(KEYS)}."
            raise UserError(f"compare has no key '{key}'.{hint}", where=document.where(key))
    found = {key: document.plain(node) for key, node in document.nodes.items()}
    prompts = found.get("prompts")
    if not isinstance(prompts, str) or not prompts:
        raise UserError(
            "compare needs prompts", where=document.where("prompts"), fix="write prompts: held_out.jsonl#100"
        )
    kinds = {stage.name: stage.method.name for stage in stages}
    names = words(found.get("models"), document, "models") or default_models(stages)
    models = {name: place_of(name, kinds, stages, output, document) for name in names}
    if len(models) < 2:
        raise UserError(
            "a comparison needs two models", where=document.where("models"), fix="write models: [base, sft]"
        )
    reward = found.get("reward")
    if reward is not None and reward in kinds and kinds[reward] != "reward":
        raise UserError(
            f"'{reward}' is no reward model: it is trained by {kinds[reward]}", where=document.where("reward")
        )
    return Comparing(
        prompts,
        models,
        words(found.get("score"), document, "score"),
        str(output / reward) if reward in kinds else reward,
        options_in(found, document),
    )


def default_models(stages: Sequence[Stage]) -> list[str]:
    """The base, and every stage that saves a model of language."""
    return [BASE, *(stage.name for stage in stages if stage.method.name not in NEW_HEAD)]


def place_of(
    name: str, kinds: Mapping[str, str], stages: Sequence[Stage], output: Path, document: Document
) -> str:
    """Where a model is: a stage's folder, what the first stage starts from, or the name itself."""
    if name in kinds:
        if kinds[name] in NEW_HEAD:
            raise UserError(
                f"'{name}' is a {kinds[name]} model, which gives no answers", where=document.where("models")
            )
        return str(output / name)
    if name == BASE:
        start = stages[0].settings.get("model_name_or_path")
        return str(start.value) if start is not None else name
    looks_local = Path(name).expanduser().exists() or "/" in name
    if not looks_local:
        hint = nearest(name, [*kinds, BASE]) or f" There is {', '.join([BASE, *kinds])}."
        raise UserError(f"there is no stage '{name}' and no folder.{hint}", where=document.where("models"))
    return name


def words(given: Any, document: Document, key: str) -> list[str]:
    """A word or a list of them."""
    found = [given] if isinstance(given, str) else given or []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise UserError(
            f"{key} is {shorten(given)}, expected a name or a list of names", where=document.where(key)
        )
    return found


def options_in(found: Mapping[str, Any], document: Document) -> dict[str, Any]:
    values = {}
    for name, kind in OPTIONS.items():
        if name in found:
            try:
                values[name] = convert(found[name], kind)
            except NotThat as error:
                what = f"{name} is {shorten(found[name])}, expected {error}"
                raise UserError(what, where=document.where(name)) from None
    return values


def inputs_of_comparison(comparing: Comparing) -> Iterable[Any]:
    """What a comparison depends on, once its models are there: for the key of its result."""
    from burnish.data.sources.source import load_rows
    from burnish.pipeline import hashes

    options = comparing.options
    source = load_rows(comparing.prompts, split=options.get("split", "train"), seed=options.get("seed", 0))
    yield hashes.hash_rows(source)
    yield {name: hashes.hash_model(path) for name, path in comparing.models.items()}
    yield [hashes.hash_function(name) for name in comparing.scores]
    yield hashes.hash_model(comparing.reward) if comparing.reward else None
    yield {name: value for name, value in options.items() if name != "batch_size"}
