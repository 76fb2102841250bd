"""Pipelines: stages in one YAML file, where a stage's `model:` may name an earlier stage.

    output_dir: runs/chat            # default: runs/<name of the file>
    defaults: {max_length: 512}      # for every stage whose method has the key
    stages:
      - name: sft
        method: sft
        model: HuggingFaceTB/SmolLM2-135M
        dataset: chats.jsonl
      - name: dpo
        method: dpo
        model: sft                   # what the stage `sft` saved
        dataset: pairs.jsonl
        learning_rate: 5e-6

Every stage writes to `<output_dir>/<name>`. All stages are checked before the first one starts. What is in
those folders already is gone on from (`jobs.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from burnish.errors import UserError, nearest, shorten
from burnish.pipeline.comparing import Comparing, read_comparing
from burnish.pipeline.methods import METHODS, Method
from burnish.pipeline.settings import Document, Setting, layered, named_settings, unknown_key
from burnish.pipeline.stage import PreparedStage, Stage
from burnish.pipeline.wiring import MODEL_OPTIONS, NEW_HEAD, Shape, adapter_in, shape_of, wired

TOP_KEYS = ("extends", "env", "output_dir", "defaults", "stages", "compare")


@dataclass(frozen=True)
class Pipeline:
    """The stages of a file, in order; `follows` names the earlier stage whose model a stage starts from.

    `uses` has the earlier stages that other options of a stage name: {stage: {option: earlier stage}}.
    """

    output: Path
    stages: list[Stage]
    follows: Mapping[str, str]
    uses: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    comparing: Comparing | None = None

    def prepare(self) -> list[PreparedStage]:
        """Check every stage, load its rows, and decide what it starts from. Raises `UserError`."""
        stages: list[PreparedStage] = []
        adapters: dict[str, Shape | None] = {}  # what each stage saves: an adapter, or a whole model
        for stage in self.stages:
            follows = self.follows.get(stage.name)
            goes_on = adapters[follows] is not None and stage.method.name not in NEW_HEAD if follows else None
            ready = stage.prepare(model_comes_later=follows is not None, adapter=goes_on)
            ready = replace(ready, follows=follows, uses=self.uses.get(stage.name, {}))
            found = adapters[follows] if follows else adapter_in(ready.model.model_name_or_path)
            ready = wired(ready, found, known=follows is not None)
            if ready.continues:
                adapters[stage.name] = found
            else:
                adapters[stage.name] = shape_of(ready.model) if ready.model.use_peft else None
            stages.append(ready)
        return stages


def read_pipeline(document: Document) -> Pipeline:
    """The pipeline a document describes (its `env` section taken out before). Raises `UserError`."""
    for key in document.nodes:
        if key not in TOP_KEYS:
            hint = nearest(key, TOP_KEYS) or " A pipeline has " + ", ".join(TOP_KEYS) + "."
            raise UserError(f"there is no key '{key}' here.{hint}", where=document.where(key))
    output = Path("runs") / Path(document.path).stem
    if "output_dir" in document.nodes:
        output = Path(folder_of(document, "output_dir"))
    entries = stage_entries(document)
    defaults = (
        named_settings(document.below(document.nodes["defaults"], "defaults"))
        if "defaults" in document.nodes
        else {}
    )
    methods = [method_of(entry) for entry in entries]
    check_defaults(defaults, methods)
    stages: dict[str, Stage] = {}
    follows: dict[str, str] = {}
    uses: dict[str, dict[str, str]] = {}
    for entry, method in zip(entries, methods, strict=True):
        stage = read_stage(entry, method, defaults, output)
        if stage.name in stages:
            raise UserError(f"two stages are named '{stage.name}'", where=entry.where("name"))
        for option in ("model_name_or_path", *MODEL_OPTIONS):
            model = stage.settings.get(option)
            if model is None or model.value not in stages:
                continue
            earlier = Setting(str(output / model.value), model.where)
            stage = Stage(stage.name, method, {**stage.settings, option: earlier})
            if option == "model_name_or_path":
                follows[stage.name] = model.value
            else:
                uses.setdefault(stage.name, {})[option] = model.value
        stages[stage.name] = stage
    comparing = None
    if "compare" in document.nodes:
        section = document.below(document.nodes["compare"], "compare")
        comparing = read_comparing(section, list(stages.values()), output)
    return Pipeline(output, list(stages.values()), follows, uses, comparing)


def folder_of(document: Document, key: str) -> str:
    """The path that a key names. Raises `UserError` where its value is no text."""
    value = document.plain(document.nodes[key])
    if not isinstance(value, str) or not value:
        raise UserError(f"expected a folder, found {shorten(value)}", where=document.where(key))
    return value


def stage_entries(document: Document) -> list[Document]:
    node = document.nodes.get("stages")
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        where = document.where("stages") if node is not None else document.path
        raise UserError(
            "a pipeline needs a list of stages",
            where=where,
            fix="write `stages:` and `- method: sft` below it",
        )
    return [document.below(item, "a stage") for item in node.value]


def method_of(entry: Document) -> Method:
    """The method a stage names, or whose name is the stage's own."""
    key = "method" if "method" in entry.nodes else "name"
    if key not in entry.nodes:
        raise UserError(
            "a stage needs a method",
            where=entry.where(),
            fix=f"write `method:` with one of {', '.join(METHODS)}",
        )
    name = str(entry.plain(entry.nodes[key]))
    if name not in METHODS:
        what = f"there is no method {shorten(name)}.{nearest(name, METHODS)}"
        raise UserError(what, where=entry.where(key), fix=f"the methods are {', '.join(METHODS)}")
    return METHODS[name]


def check_defaults(defaults: dict[str, Setting], methods: list[Method]) -> None:
    known = {name for method in methods for name in method.fields()}
    for name, setting in defaults.items():
        if name not in known:
            command = f"burnish {methods[0].name} --help-all"
            raise unknown_key(name, setting.where, known, command, setting.value)
        if name == "output_dir":
            raise UserError(
                "each stage has its own folder",
                where=setting.where,
                fix="set output_dir at the top of the file",
            )


def read_stage(entry: Document, method: Method, defaults: dict[str, Setting], output: Path) -> Stage:
    settings = named_settings(entry)
    settings.pop("method", None)
    name = settings.pop("name", Setting(method.name, "")).value
    if not isinstance(name, str) or not name or "/" in name or name in (".", ".."):
        raise UserError(
            f"a stage cannot be named {shorten(name)}", where=entry.where("name"), fix="use a plain word"
        )
    if "output_dir" in settings:
        place = settings["output_dir"].where
        raise UserError(
            "a stage writes to a folder of its own name",
            where=place,
            fix="set output_dir at the top of the file",
        )
    inherited = {key: setting for key, setting in defaults.items() if key in method.fields()}
    whole = layered(inherited, settings, entry.path)
    return Stage(name, method, {**whole, "output_dir": Setting(str(output / name), "")})
