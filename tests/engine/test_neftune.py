"""The noise of a token is bounded by the length of its row, however rows are put together."""

import pytest
import torch

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.engine.neftune import embedding_noise, row_lengths
from burnish.models.certify import certify
from burnish.models.forward import attach
from burnish.models.score import score
from tests.invariants.conftest import documents, llama, pairs


def forest_of(rows):
    return Forest.pack([TokenizedExample.from_row(row) for row in rows])


def paths(rows):
    """Tokens of the longest prompt with a completion, for every row."""
    return [len(row["prompt_ids"]) + max(map(len, row["completion_ids"])) for row in rows]


def test_a_row_has_its_own_length_in_any_forest():
    rows = list(documents(5))
    assert row_lengths(forest_of(rows), 1, sum(paths(rows)))[0].tolist() == [
        length for length in paths(rows) for _ in range(length)
    ]


@pytest.mark.parametrize("tier", ["registered", "mask", "packed", "padded"])
@pytest.mark.parametrize("rows", [documents(4), pairs(4)], ids=["rows", "pairs"])
def test_noise_fills_the_bound_of_each_row_in_every_tier(tier, rows):
    rows, alpha, model = list(rows), 5.0, llama()
    certify(model)
    attach(model, tier)
    forest, seen = forest_of(rows), []
    table = model.get_input_embeddings()

    def look(module, inputs, output):
        seen.append(output.detach() - torch.nn.functional.embedding(inputs[0], table.weight.detach()))

    torch.manual_seed(0)
    handle = table.register_forward_hook(look)
    with embedding_noise(model.train(), forest, alpha):
        score(model, forest)
    handle.remove()
    (noise,) = seen
    bounds = [alpha / (length * 32) ** 0.5 for length in paths(rows)]
    size = noise.abs().amax(dim=-1).flatten()
    shape = row_lengths(forest, *noise.shape[:2]).expand(noise.shape[:2]).flatten()
    for bound, length in zip(bounds, paths(rows), strict=True):
        largest = float(size[shape == length].max())
        assert 0.9 * bound < largest <= bound
    assert set(shape.tolist()) == set(map(float, paths(rows)))
    score(model, forest)  # and no hook stays behind
    assert not table._forward_hooks


def test_there_is_none_in_evaluation_and_none_without_alpha():
    model, forest = llama(), forest_of(pairs(2))
    certify(model)
    plain = score(model.eval(), forest).logprob
    with embedding_noise(model, forest, 5.0):
        torch.testing.assert_close(score(model, forest).logprob, plain)
    with embedding_noise(model.train(), forest, None):
        torch.testing.assert_close(score(model, forest).logprob, plain)
