"""Cutting the examples of one step into micro-batches under a token budget.

Memory is bounded by tokens, not by the unluckiest batch, and the micro-batches cost about the same.
How a step is cut never changes its gradient: losses are sums, divided once by the step's count.
"""

from __future__ import annotations

from collections.abc import Sequence

from burnish.data.example import TokenizedExample

PAIR_COST = 1 / 1500
"""Cost of one attended pair in units of one token's matrix products (about right from 100M to 8B)."""


def cost(example: TokenizedExample) -> float:
    """Relative cost of an example: its tokens, and its attended pairs at `PAIR_COST` each."""
    return example.length + PAIR_COST * example.pairs


def micro_batches(
    examples: Sequence[TokenizedExample], budget: int, at_least: int = 1
) -> list[list[TokenizedExample]]:
    """Cut examples into as few micro-batches as the token budget allows, balanced by cost.

    An example longer than the budget gets a micro-batch of its own. `at_least` asks for more of them
    (ranks of a sharded model must run equally many forwards); never more than there are examples.
    Longest first into the cheapest bin that has room: deterministic, whatever the order of equals.
    """
    total = sum(example.length for example in examples)
    bins = min(len(examples), max(at_least, -(-total // budget) if examples else 0))
    order = sorted(range(len(examples)), key=lambda i: -cost(examples[i]))
    while True:
        packed = _fill(examples, order, bins, budget)
        if packed is not None:
            return [[examples[i] for i in sorted(indices)] for indices in packed]
        bins += 1


def consecutive(examples: Sequence[TokenizedExample], budget: int) -> list[list[TokenizedExample]]:
    """Cut examples into micro-batches under the token budget in their order, where rows must keep it."""
    cut: list[list[TokenizedExample]] = []
    tokens = 0
    for example in examples:
        if not cut or tokens + example.length > budget:
            cut.append([])
            tokens = 0
        cut[-1].append(example)
        tokens += example.length
    return cut


def _fill(
    examples: Sequence[TokenizedExample], order: list[int], bins: int, budget: int
) -> list[list[int]] | None:
    packed: list[list[int]] = [[] for _ in range(bins)]
    tokens, costs = [0] * bins, [0.0] * bins
    for i in order:
        length = examples[i].length
        room = [b for b in range(bins) if not packed[b] or tokens[b] + length <= budget]
        if not room:
            return None
        best = min(room, key=lambda b: costs[b])
        packed[best].append(i)
        tokens[best] += length
        costs[best] += cost(examples[i])
    return packed
