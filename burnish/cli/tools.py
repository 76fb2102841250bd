"""What pipelines are handed from the parts above them."""

from __future__ import annotations

from burnish.export.merge import merge_adapter
from burnish.pipeline.jobs import Tools

TOOLS = Tools(merge=merge_adapter)
