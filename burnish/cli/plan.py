"""`burnish plan`: memory and time of every stage of a file, before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from burnish.cli.quiet import quiet
from burnish.errors import UserError
from burnish.pipeline.methods import METHODS
from burnish.pipeline.overlay import read_layers
from burnish.pipeline.run import TOP_KEYS, method_of, named_settings, read_pipeline
from burnish.pipeline.settings import Document, apply_environment
from burnish.pipeline.stage import PreparedStage, Stage
from burnish.pipeline.wiring import adapter_in, wired
from burnish.planning.sheets import sheet_of
from burnish.terminal import open_console


def run(file: str, device: str | None, assignments: Sequence[str], as_json: bool) -> None:
    """Plan a pipeline file, or the config of one method. Raises `UserError`."""
    document = read_layers(file, assignments, TOP_KEYS)
    apply_environment(document)
    check(document)
    if device is not None:
        sheet_of(device)
    quiet()
    if as_json:
        print(json.dumps({"format": 1, "file": file, "stages": list(plans_of(document, device))}))
        return
    from burnish.planning.show import show

    console = open_console()
    for plan in plans_of(document, device):
        show(plan, console)


def check(document: Document) -> None:
    """Refuse what is no config at all, before anything large is imported. Raises `UserError`."""
    if "stages" in document.nodes:
        return
    if "method" not in document.nodes:
        raise UserError(
            "this is neither a pipeline (stages:) nor the config of a method",
            where=document.where(),
            fix=f"write `method:` with one of {', '.join(METHODS)}, or a list of stages",
        )
    method_of(document)


def plans_of(document: Document, device: str | None) -> Iterator[dict[str, Any]]:
    """Each stage in order: {name, method, model, predicted, fits}."""
    from burnish.planning.predict import Origin, predict

    origins: dict[str, Origin] = {}  # what earlier stages will leave
    stages = stages_of(document)
    for stage in stages:
        prediction = predict(stage, device, origins)
        origins[stage.name] = Origin.after(stage, origins)
        yield {
            "name": stage.name,
            "method": stage.method.name,
            "model": prediction.subject.model,
            "follows": stage.follows,
            "predicted": prediction.to_dict(),
            "fits": asdict(prediction.fitting()),
        }


def stages_of(document: Document) -> list[PreparedStage]:
    """The prepared stages of a pipeline, or the one of a config."""
    if "stages" in document.nodes:
        return read_pipeline(document).prepare()
    method = method_of(document)
    settings = named_settings(document)
    settings.pop("method")
    name = settings.pop("name", None)
    ready = Stage(str(name.value) if name else method.name, method, settings).prepare()
    return [wired(ready, adapter_in(ready.model.model_name_or_path), known=False)]
