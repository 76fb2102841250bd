import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from benchmarks._operations import (
    Shape,
    Work,
    counter,
    forward_operations,
    least_operations,
    product_shapes,
    random_operands,
)
from burnish.data.example import TokenizedExample

SHAPE = Shape(body=1000, head=500, width=16, layers=3)
WORK = Work(tokens=10, scored=4, pairs=20)
HEADS, HEAD_SIZE, LAYERS = 4, 8, 2
SIZES = {"vocab_size": 48, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": LAYERS}


def config(**more):
    return LlamaConfig(
        num_attention_heads=HEADS, num_key_value_heads=2, attn_implementation="eager", **SIZES, **more
    )


def test_formulas_by_hand():
    forward = 2 * 1000 * 10 + 2 * 500 * 4 + 4 * 16 * 3 * 20
    assert forward_operations(SHAPE, WORK) == forward == 27840
    assert least_operations(SHAPE, WORK, "sft") == least_operations(SHAPE, WORK, "reward") == 3 * forward
    assert least_operations(SHAPE, WORK, "dpo") == 4 * forward


def test_shape_of_a_model():
    attention = 32 * 32 * 2 + 32 * 16 * 2
    body = LAYERS * (attention + 3 * 32 * 64)
    assert Shape.of(LlamaForCausalLM(config())) == Shape(body, 32 * 48, HEADS * HEAD_SIZE, LAYERS)
    reward = LlamaForSequenceClassification(config(num_labels=1))
    assert Shape.of(reward) == Shape(body, 32, HEADS * HEAD_SIZE, LAYERS)


def test_work_of_a_pair_by_hand():
    pair = TokenizedExample([1, 2, 3], [[4, 5], [6]], [[True, True], [True]])
    pairs = (1 + 2 + 3) + (4 + 5) + 4  # prompt, first completion, second completion
    assert Work.of([pair], "dpo") == Work(tokens=6, scored=3, pairs=pairs)
    assert Work.of([pair, pair], "reward") == Work(tokens=12, scored=4, pairs=2 * pairs)


def test_a_forward_with_square_attention_executes_what_the_formula_says():
    """Eager attention multiplies T x T pairs, so with K = T² the count must match to the last operation."""
    model = LlamaForCausalLM(config())
    tokens = torch.arange(12)[None]
    with torch.no_grad(), counter() as count:
        model(tokens)
    assert count.get_total_flops() == forward_operations(Shape.of(model), Work(12, 12, 144))


def test_forward_and_backward_execute_three_forwards():
    model = LlamaForCausalLM(config())
    tokens = torch.arange(12)[None]
    with counter() as count:
        model(tokens).logits.sum().backward()
    assert count.get_total_flops() == least_operations(Shape.of(model), Work(12, 12, 144), "sft")


@pytest.mark.parametrize("name", ["mm", "addmm_", "baddbmm_", "out"])
def test_every_way_to_multiply_is_counted(name):
    a, b, c = torch.ones(3, 4), torch.ones(4, 5), torch.zeros(3, 5)
    calls = {
        "mm": lambda: a @ b,
        "addmm_": lambda: c.addmm_(a, b),
        "baddbmm_": lambda: c[None].baddbmm_(a[None], b[None]),
        "out": lambda: torch.mm(a, b, out=c),
    }
    with counter() as count:
        calls[name]()
    assert count.get_total_flops() == 2 * 3 * 4 * 5


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a @ b

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return grad @ b.T, a.T @ grad


def test_products_inside_custom_functions_are_counted():
    a, b = torch.ones(3, 4, requires_grad=True), torch.ones(4, 5, requires_grad=True)
    with counter() as count:
        Doubled.apply(a, b).sum().backward()
    assert count.get_total_flops() == 3 * 2 * 3 * 4 * 5


def test_product_shapes_once_each_without_vectors():
    assert product_shapes(LlamaForCausalLM(config())) == [(32, 16), (32, 32), (32, 48), (32, 64), (64, 32)]
    reward = LlamaForSequenceClassification(config(num_labels=1))
    assert (32, 1) not in product_shapes(reward)


def test_operands_multiply_in_all_three_layouts():
    inputs, weight, gradient = random_operands(7, (3, 5), torch.bfloat16)
    assert (inputs @ weight.T).shape == (7, 5)
    assert (gradient @ weight).shape == inputs.shape
    assert (gradient.T @ inputs).shape == weight.shape
