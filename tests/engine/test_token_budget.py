"""The token budget counts what a way to run forests keeps of every pair of tokens."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from burnish.engine.plan import MASK_BYTES, pair_bytes, tokens_by_pairs


def model(implementation):
    config = SimpleNamespace(num_hidden_layers=4, num_attention_heads=2, _attn_implementation=implementation)
    config.get_text_config = lambda: config
    return SimpleNamespace(config=config)


@pytest.mark.parametrize(
    ("tier", "implementation", "checkpoint", "expected"),
    [
        ("registered", "eager", False, 0),
        ("mask", "sdpa", False, MASK_BYTES),
        ("packed", "eager", False, MASK_BYTES + 64),
        ("padded", "eager", True, MASK_BYTES + 16),
    ],
)
def test_what_is_kept_of_two_tokens(tier, implementation, checkpoint, expected):
    assert pair_bytes(model(implementation), tier, checkpoint) == expected


def test_tokens_that_fit():
    assert tokens_by_pairs(0.0, 1.0, None) > 1e9
    assert tokens_by_pairs(4.0, 4 * 100**2, None) == 100  # one row of 100 tokens
    assert tokens_by_pairs(4.0, 4 * 50 * 20**2, 20) == 1000  # 50 rows of 20 tokens
    assert tokens_by_pairs(4.0, 1.0, 20) == 1
