"""What pipelines are handed from the parts above them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from burnish.errors import UserError
from burnish.export.merge import merge_adapter
from burnish.pipeline.jobs import Tools


def predict(stage: Any) -> dict[str, Any] | None:
    """What a stage will take, kept with its run, and said before anything is loaded."""
    from burnish.planning.predict import predict_stage
    from burnish.planning.show import one_line

    found = predict_stage(stage)
    if found is not None and not stage.config.process_index:
        print("predicted  {}  ({})".format(*one_line(found)), file=sys.stdout)
    return found


def card(folder: Path) -> None:
    """The model card of a finished run, in place of what other libraries wrote there."""
    from burnish.export.card import write_card

    try:
        write_card(folder)
    except UserError as error:  # the run is finished, whatever becomes of its card
        print(f"no model card was written: {error}", file=sys.stderr)


def push(stage: Any) -> None:
    """Upload what a stage trained (`push_to_hub`): private, unless hub_private_repo is false."""
    from burnish.export.push import plan_upload
    from burnish.export.push import push as upload

    config = stage.config
    name = config.hub_model_id or stage.output.absolute().name
    planned = plan_upload(stage.output, name, private=config.hub_private_repo is not False)
    print(f"uploaded: {upload(planned, config.hub_token)}")


TOOLS = Tools(merge=merge_adapter, predict=predict, card=card, push=push)
