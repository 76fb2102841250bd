"""What pipelines are handed from the parts above them."""

from __future__ import annotations

import sys
from typing import Any

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


TOOLS = Tools(merge=merge_adapter, predict=predict)
