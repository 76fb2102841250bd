"""Every backend equals the dense reference, in value and in every gradient, on trees of any shape."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from burnish.data.forest import Forest, Segment
from burnish.errors import UserError
from burnish.models import attention
from burnish.models.attention import choose_backend, forest_attention, varlen
from burnish.models.attention.blocks import block_attention
from burnish.models.attention.dense import Rules, dense_attention
from burnish.models.attention.plan import Plan

Node = tuple[int, list]  # length, children

PAIRS = [(5, [(3, []), (4, [])]), (1, [(1, []), (2, [])])]
DEEP = [
    (4, [(3, [(2, []), (5, [(1, []), (3, [])])]), (6, [])]),
    (7, []),
    (2, [(70, []), (3, [(9, []), (1, [])])]),
]
LONG = [(150, [(40, []), (90, [])]), (200, [])]
FORESTS = {"pairs": PAIRS, "deep": DEEP, "singles": [(6, []), (1, []), (9, [])], "long": LONG}


def grow(nodes: list[Node]) -> Forest:
    """A forest of the given tree shapes, parents before children."""
    segments: list[Segment] = []

    def add(node: Node, above: int) -> None:
        length, children = node
        start = segments[-1].stop if segments else 0
        depth = segments[above].depth + segments[above].length if above >= 0 else 0
        segments.append(Segment(start, start + length, above, depth))
        index = len(segments) - 1
        for child in children:
            add(child, index)

    for node in nodes:
        add(node, -1)
    size = segments[-1].stop
    position = [s.depth + i for s in segments for i in range(s.length)]
    none = torch.zeros(0, dtype=torch.long)
    tokens = torch.zeros(size, dtype=torch.long)
    trained = torch.zeros(size, dtype=torch.bool)
    return Forest(tokens, torch.tensor(position), none, none, none, trained, tuple(segments))


@dataclass
class Case:
    heads: int = 4
    key_heads: int = 2
    dimension: int = 8
    value_dimension: int = 8
    window: int | None = None
    softcap: float | None = None
    sinks: bool = False


CASES = {
    "plain": Case(),
    "one head each": Case(key_heads=4),
    "one key head": Case(key_heads=1),
    "values of another size": Case(value_dimension=5),
    "window": Case(window=4),
    "window of one": Case(window=1),
    "long window": Case(window=100),
    "softcap": Case(softcap=0.7),
    "sinks": Case(sinks=True),
    "all": Case(key_heads=1, value_dimension=3, window=5, softcap=1.5, sinks=True),
}


def tensors(case: Case, size: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Query, key, value, sinks (of no use where the case has none) and a gradient of the output."""
    generator = torch.Generator().manual_seed(size)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return [
        normal(1, size, case.heads, case.dimension).transpose(1, 2),
        normal(1, size, case.key_heads, case.dimension).transpose(1, 2),
        normal(1, size, case.key_heads, case.value_dimension).transpose(1, 2),
        normal(case.heads),
        normal(1, size, case.heads, case.value_dimension),
    ]


def results(attend, case: Case, forest: Forest, inputs: list[Tensor]) -> list[Tensor]:
    """The output, and the gradients of query, key, value and sinks."""
    *leaves, grad = inputs
    leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
    query, key, value, sinks = leaves
    rules = Rules(0.3, case.window, case.softcap, sinks if case.sinks else None)
    output = attend(query, key, value, forest, rules)
    wanted = leaves if case.sinks else leaves[:3]
    return [output.detach(), *torch.autograd.grad(output, wanted, grad)]


def assert_same(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for name, a, b in zip(("output", "query", "key", "value", "sinks"), found, expected, strict=False):
        assert a.shape == b.shape, name
        error = (a.double() - b.double()).abs().max() / b.double().abs().max().clamp(min=0.1)
        assert error <= tolerance, f"{name}: relative error {error:.1e}"
    assert len(found) == len(expected)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("shape", FORESTS.values(), ids=FORESTS.keys())
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 2e-6)])
def test_blocks_equal_dense(shape: list[Node], case: Case, dtype: torch.dtype, tolerance: float) -> None:
    forest = grow(shape)
    inputs = tensors(case, forest.size, dtype)
    expected = results(dense_attention, case, forest, [t.double() for t in inputs])
    assert_same(results(block_attention, case, forest, inputs), expected, tolerance)


nodes = st.recursive(
    st.tuples(st.integers(1, 20), st.just([])),
    lambda children: st.tuples(st.integers(1, 20), st.lists(children, max_size=3)),
    max_leaves=6,
)
large = st.tuples(st.integers(60, 200), st.lists(nodes, max_size=3))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(nodes | large, min_size=1, max_size=4),
    st.builds(
        Case,
        key_heads=st.sampled_from([1, 2, 4]),
        value_dimension=st.sampled_from([3, 8]),
        window=st.none() | st.integers(1, 80),
        softcap=st.none() | st.floats(0.5, 20),
        sinks=st.booleans(),
    ),
)
def test_blocks_equal_dense_on_generated_trees(shape: list[Node], case: Case) -> None:
    forest = grow(shape)
    inputs = tensors(case, forest.size)
    expected = results(dense_attention, case, forest, inputs)
    assert_same(results(block_attention, case, forest, inputs), expected, 1e-12)


@pytest.mark.parametrize("case", [CASES["plain"], CASES["softcap"], CASES["sinks"]])
@pytest.mark.parametrize("shape", [LONG, [(100, [(60, [])] * 24)]], ids=["long", "group"])
def test_bfloat16_is_as_exact_as_the_reference(shape: list[Node], case: Case) -> None:
    """Against float64, no more than a quarter worse than the dense product in bfloat16, and in its dtype."""
    forest = grow(shape)
    inputs = tensors(case, forest.size, torch.bfloat16)
    exact = results(dense_attention, case, forest, [t.double() for t in inputs])
    plain = results(dense_attention, case, forest, inputs)
    for ours, theirs, truth in zip(results(block_attention, case, forest, inputs), plain, exact, strict=True):
        assert ours.dtype == torch.bfloat16
        assert (ours.double() - truth).norm() <= 1.25 * (theirs.double() - truth).norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_trees_stay_bit_identical(dtype: torch.dtype) -> None:
    forest = grow(DEEP)
    other = slice(
        next(s.start for s in forest.segments[1:] if s.parent < 0), forest.size
    )  # all but the first tree
    case = Case()
    inputs = tensors(case, forest.size, dtype)
    changed = [t.clone() for t in inputs]
    for t in changed[:3]:
        t[:, :, : other.start] = t[:, :, : other.start].flip(2) * 3
    before, after = (results(block_attention, case, forest, i) for i in (inputs, changed))
    assert not torch.equal(before[0][:, : other.start], after[0][:, : other.start])
    assert torch.equal(before[0][:, other], after[0][:, other])
    for a, b in zip(before[1:], after[1:], strict=True):
        assert torch.equal(a[:, :, other], b[:, :, other])


def test_a_plan_covers_every_row_once_and_every_visible_pair() -> None:
    for shape in FORESTS.values():
        forest = grow(shape)
        for window in (None, 6):
            seen = torch.zeros(forest.size, forest.size, dtype=torch.bool)
            at = 0
            for block in Plan.of(forest, window).blocks:
                assert block.rows[0] == at
                at = block.rows[1]
                keys = torch.cat([torch.arange(*r) for r in block.keys])
                visible = torch.ones(at - block.rows[0], keys.numel(), dtype=torch.bool)
                visible[:, slice(*block.columns)] = ~block.hidden
                seen[block.rows[0] : at, keys] = visible
            assert at == forest.size
            expected = forest.ancestors
            if window is not None:
                expected = expected & (forest.position[:, None] - forest.position < window)
            assert torch.equal(seen, expected)


def test_long_segments_skip_what_causality_hides() -> None:
    forest = grow([(2000, [])])
    computed = sum(
        (b.rows[1] - b.rows[0]) * sum(y - x for x, y in b.keys) for b in Plan.of(forest, None).blocks
    )
    assert computed < 1.2 * forest.ancestors.sum()


def test_a_short_window_keeps_work_linear() -> None:
    forest = grow([(2000, [(500, [])])])
    computed = sum(
        (b.rows[1] - b.rows[0]) * sum(y - x for x, y in b.keys) for b in Plan.of(forest, 32).blocks
    )
    assert computed < 2500 * 200


# The variable-length backend, with its kernel replaced: the split into parts, the merge, the backward.


def _seen(part: varlen.Part, sequence: int) -> tuple[slice, slice, Tensor]:
    queries = slice(*part.query_offsets[sequence : sequence + 2].tolist())
    keys = slice(*part.key_offsets[sequence : sequence + 2].tolist())
    distance = torch.arange(queries.stop - queries.start)[:, None] - torch.arange(keys.stop - keys.start)
    seen = distance >= 0 if part.causal else torch.ones_like(distance, dtype=torch.bool)
    return queries, keys, seen if part.window is None else seen & (distance < part.window)


def _weights(query: Tensor, key: Tensor, seen: Tensor, scaling: float) -> Tensor:  # float[H, q, k] logits
    key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
    return (torch.einsum("qhd,khd->hqk", query, key) * scaling).masked_fill(~seen, float("-inf"))


def stand_in_forward(query, key, value, part, scaling):
    output = torch.empty(*query.shape[:2], value.shape[-1], dtype=query.dtype)
    lse = torch.empty(query.shape[1], query.shape[0], dtype=query.dtype)
    groups = query.shape[1] // key.shape[1]
    for sequence in range(len(part.query_offsets) - 1):
        queries, keys, seen = _seen(part, sequence)
        logits = _weights(query[queries], key[keys], seen, scaling)
        lse[:, queries] = logits.logsumexp(-1)
        output[queries] = torch.einsum(
            "hqk,khd->qhd", logits.softmax(-1), value[keys].repeat_interleave(groups, 1)
        )
    return output, lse


def stand_in_backward(grad, query, key, value, output, lse, part, scaling):
    """Like the kernel, from the given output and log-sum-exp, not from those of the part."""
    grads = torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value)
    heads, groups = key.shape[1], query.shape[1] // key.shape[1]
    for sequence in range(len(part.query_offsets) - 1):
        queries, keys, seen = _seen(part, sequence)
        weights = (_weights(query[queries], key[keys], seen, scaling) - lse[:, queries, None]).exp()
        delta = (grad[queries] * output[queries]).sum(-1).t().unsqueeze(-1)
        by_weight = torch.einsum("qhd,khd->hqk", grad[queries], value[keys].repeat_interleave(groups, 1))
        by_logit = weights * (by_weight - delta) * scaling
        grads[0][queries] = torch.einsum("hqk,khd->qhd", by_logit, key[keys].repeat_interleave(groups, 1))
        by_key = torch.einsum("hqk,qhd->khd", by_logit, query[queries])
        by_value = torch.einsum("hqk,qhd->khd", weights, grad[queries])
        grads[1][keys] = by_key.unflatten(1, (heads, groups)).sum(2)
        grads[2][keys] = by_value.unflatten(1, (heads, groups)).sum(2)
    return grads


STAND_IN = varlen.Kernels(stand_in_forward, stand_in_backward)


def varlen_with_stand_in(query, key, value, forest, rules):
    return varlen.varlen_attention(query, key, value, forest, rules, STAND_IN)


@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize("shape", FORESTS.values(), ids=FORESTS.keys())
def test_varlen_parts_merge_to_dense(shape: list[Node], key_heads: int) -> None:
    forest, case = grow(shape), Case(key_heads=key_heads)
    inputs = tensors(case, forest.size)
    expected = results(dense_attention, case, forest, inputs)
    assert_same(results(varlen_with_stand_in, case, forest, inputs), expected, 1e-12)


def test_varlen_window_inside_segments() -> None:
    forest, case = grow(FORESTS["singles"]), Case(window=3)
    inputs = tensors(case, forest.size)
    expected = results(dense_attention, case, forest, inputs)
    assert_same(results(varlen_with_stand_in, case, forest, inputs), expected, 1e-12)


def test_varlen_refuses_a_window_that_reaches_into_a_prefix() -> None:
    pairs = grow(PAIRS)
    assert varlen._window_stays_in_segments(pairs, None)
    assert varlen._window_stays_in_segments(pairs, 9)  # longer than every path
    assert not varlen._window_stays_in_segments(pairs, 8)
    assert varlen._window_stays_in_segments(grow(FORESTS["singles"]), 2)


def test_varlen_calls_once_per_level() -> None:
    assert len(varlen.parts(grow(FORESTS["singles"]), None)) == 1
    assert len(varlen.parts(grow(PAIRS), None)) == 2
    assert len(varlen.parts(grow(DEEP), None)) == 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("case", [Case(dimension=64, value_dimension=64), Case(1, 1, 128, 128)])
@pytest.mark.parametrize("shape", FORESTS.values(), ids=FORESTS.keys())
def test_varlen_equals_dense_on_a_gpu(shape: list[Node], case: Case) -> None:
    forest = grow(shape).to("cuda")
    inputs = [t.cuda() for t in tensors(case, forest.size, torch.bfloat16)]
    rules = Rules(0.3)
    assert varlen.serves(inputs[0], inputs[2], forest, rules)
    expected = results(dense_attention, case, forest, [t.double() for t in inputs])
    assert_same(results(varlen.varlen_attention, case, forest, inputs), expected, 2e-2)


# What transformers calls.


def test_backend_by_device_and_features() -> None:
    forest = grow(PAIRS)
    query, _, value, *_ = tensors(Case(), forest.size)
    assert choose_backend(query, value, forest, Rules(1.0)) is block_attention
    assert choose_backend(query, value, forest, Rules(1.0, bias=torch.zeros(1))) is dense_attention
    meta = query.to("meta")
    assert choose_backend(meta, value.to("meta"), forest, Rules(1.0)) is block_attention


@pytest.mark.parametrize("case", [Case(), Case(window=3, softcap=5.0, sinks=True)], ids=str)
def test_blocks_stay_on_the_device_of_their_inputs(case):
    """On torch's meta device, where an operation with a tensor of another device fails."""
    forest = grow(PAIRS)
    query, key, value, *_ = (t.to("meta").requires_grad_() for t in tensors(case, forest.size)[:3])
    sinks = torch.zeros(query.shape[1], device="meta", requires_grad=True) if case.sinks else None
    output = block_attention(query, key, value, forest, Rules(1.0, case.window, case.softcap, sinks))
    output.sum().backward()
    assert output.device == key.grad.device == query.device


def test_misuse_is_an_error() -> None:
    forest = grow(PAIRS)
    query, key, value, *_ = tensors(Case(), forest.size)
    with pytest.raises(UserError, match=r"attention dropout of 0\.1"):
        forest_attention(torch.nn.Identity(), query, key, value, None, forest=forest, dropout=0.1)
    with pytest.raises(RuntimeError, match="no mask"):
        forest_attention(torch.nn.Identity(), query, key, value, None)
    with pytest.raises(RuntimeError, match="no mask"):
        forest_attention(torch.nn.Identity(), query, key, value, torch.ones(1), forest=forest)
    with pytest.raises(RuntimeError, match="of shape"):
        forest_attention(torch.nn.Identity(), query[:, :, 1:], key, value, None, forest=forest)


def test_autocast_settles_on_one_dtype() -> None:
    forest = grow(PAIRS)
    query, key, value, *_ = tensors(Case(), forest.size, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = forest_attention(torch.nn.Identity(), query, key, value.bfloat16(), None, forest=forest)
    assert output.dtype == torch.bfloat16


@pytest.mark.parametrize("reentrant", [None, True, False])
def test_a_model_over_forests_in_flight(reentrant: bool | None) -> None:
    """Two forests run before either backward, with and without checkpointing: gradients as one at a time."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 16}
    config = LlamaConfig(hidden_size=16, intermediate_size=16, **sizes)
    model = LlamaForCausalLM(config).double()
    model.set_attn_implementation(attention.NAME)

    def run(forest: Forest) -> Tensor:
        states = model.model(
            input_ids=torch.arange(forest.size)[None] % 16,
            position_ids=forest.position[None],
            use_cache=False,
            forest=forest,
        ).last_hidden_state
        return states.square().sum()

    def gradient() -> Tensor:
        grads = torch.cat([p.grad.flatten() for p in model.model.parameters()])
        model.zero_grad()
        return grads

    expected = torch.zeros(())
    for shape in (PAIRS, DEEP):
        run(grow(shape)).backward()
        expected = expected + gradient()
    if reentrant is not None:
        model.train()
        model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    forests = [grow(PAIRS), grow(DEEP)]
    losses = [run(forest) for forest in forests]
    assert [forest.attention_calls for forest in forests] == [3, 3]
    sum(losses).backward()
    torch.testing.assert_close(gradient(), expected, rtol=1e-10, atol=1e-12)
