"""The ways to run a forest through a backbone, fastest first.

    registered   our attention function, the tree as a keyword argument; prompts shared
    mask         the model's own attention under a 4-D mask; prompts shared
    cache        differentiable prefix cache, for hybrids; prompts shared (not built yet)
    packed       every branch a document of its own in one row, told apart by position ids
    padded       every branch a row of its own, padded on the right

All give the same scores where a model supports them; `certify.py` finds out which it does.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from burnish.data.forest import Forest

Tier = Literal["registered", "mask", "packed", "padded"]


def run(model: nn.Module, forest: Forest, tier: Tier) -> tuple[Tensor, Forest]:
    """Run the backbone of `model`; returns float[T, D] and the forest whose tokens these are."""
    backbone = model.base_model
    assert tier == "registered"
    output = backbone(
        input_ids=forest.tokens[None],
        position_ids=forest.position[None],
        use_cache=False,
        forest=forest,
        **forest.media,
    )
    return output.last_hidden_state[0], forest
