"""A step of training without numbers: what it would have in memory, and when.

Tensors here have a shape, a dtype and a place, and no contents (torch's fake tensors). The very code that
trains runs on them: the model's own modeling file, the forest's attention, working copies, tiles, gradient
checkpointing, adapters. Every storage is counted from the operation that makes it until the last reference
to it goes, so what autograd keeps and what lives for a moment are both seen. No weight is read and none is
allocated.

The layers of a model are alike, so a model of a few layers is rehearsed and the rest follows. A backward
frees the activations of a layer when it has made the gradients of that layer, so the most memory is taken
at one of its ends:

    top       forward, head, and the backward of the last layer: all activations are there
    bottom    the backward of the first layer and the embeddings: all gradients are there

Both grow by the same bytes with every layer, and two depths say how many. In the first micro-batch of a step
there are no gradients yet, in the following ones all of them.

Not seen: what happens inside one operation of torch (the buffers of a matrix product), and what an allocator
loses between blocks.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from burnish.models.forward import inner_model
from burnish.models.tiers import backbone_of


class Line:
    """Numbers that grow by the same with every layer."""

    def at_depth(self, other: Any, layers: float) -> Any:
        """The straight line through these numbers and `other`, one unit apart, at `layers` units."""
        found = {}
        for field in fields(self):  # type: ignore[arg-type]
            here, there = getattr(self, field.name), getattr(other, field.name)
            straight = not isinstance(here, Line)
            found[field.name] = here + (there - here) * layers if straight else here.at_depth(there, layers)
        return type(self)(**found)


@dataclass(frozen=True)
class Moment(Line):
    """Bytes at the moment when most were taken, beside weights and what the optimizer keeps."""

    total: float = 0.0
    gradients: float = 0.0  # of it, in `.grad` of weights


@dataclass(frozen=True)
class Effort(Line):
    """What is done: what it costs depends on the machine."""

    operations: float = 0.0  # floating-point, of matrix products
    moved: float = 0.0  # bytes that all other operations read and write
    calls: float = 0.0  # operations that torch is asked for, views left out

    def __add__(self, other: Effort) -> Effort:
        return Effort(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __sub__(self, other: Effort) -> Effort:
        return self + other * -1

    def __mul__(self, times: float) -> Effort:
        return Effort(*(getattr(self, f.name) * times for f in fields(self)))


@dataclass(frozen=True)
class MicroBatch(Line):
    """One forward and backward: the fullest moments at both ends of the backward, and what is done."""

    top: Moment
    bottom: Moment
    forward: Effort  # of the forward alone
    effort: Effort  # of both

    @property
    def fullest(self) -> Moment:
        return max(self.top, self.bottom, key=lambda moment: moment.total)


class Ledger(TorchDispatchMode):
    """Counts the storages that operations make, from then on until they are gone, and the operations."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.gradients = 0
        self.fullest = Moment()
        self.operations = self.moved = self.calls = 0
        self._known: dict[int, int] = {}  # storage -> its bytes

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # what would skip it imports all of torch's compiler first

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        number = torch.ops.aten._local_scalar_dense.default
        if function is number and isinstance(args[0], FakeTensor):  # a number is asked for, and there is none
            dtype = args[0].dtype
            return True if dtype == torch.bool else 1.0 if dtype.is_floating_point else 1
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if function.namespace == "prim":  # where a tensor is, and the like
            return result
        tensors = [value for value in tree_leaves(result) if isinstance(value, Tensor)]
        if not function.is_view:  # what a view looks at was counted when made, or is a weight
            for tensor in tensors:
                self._count(tensor)
        self._work(function, args, kwargs, result, tensors)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        self._known[key] = size = storage.nbytes()
        self.live += size
        weakref.finalize(storage, self._forget, key)
        if self.live > self.fullest.total:
            self.fullest = Moment(self.live, self.gradients)

    def _forget(self, key: int) -> None:
        self.live -= self._known.pop(key)

    def _work(self, function: Any, args: Any, kwargs: Any, result: Any, tensors: list[Tensor]) -> None:
        if function.is_view:
            return
        self.calls += 1
        formula = PRODUCTS.get(function._overloadpacket)
        if formula is not None:
            self.operations += formula(*args, **kwargs, out_val=result)
        else:
            inputs = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
            self.moved += sum(tensor.nbytes for tensor in inputs + tensors)

    def since(self) -> Moment:
        """The fullest moment since the last call."""
        found, self.fullest = self.fullest, Moment(self.live, self.gradients)
        return found

    @property
    def effort(self) -> Effort:
        return Effort(self.operations, self.moved, self.calls)


def _in_place_product(total: Tensor, a: Tensor, b: Tensor, **_: Any) -> int:
    """Operations of `total += a @ b`, batched or not."""
    return 2 * a.numel() * b.shape[-1]


PRODUCTS: dict[Any, Callable[..., int]] = {
    **flop_registry,
    torch.ops.aten.addmm_: _in_place_product,
    torch.ops.aten.baddbmm_: _in_place_product,
}
"""Matrix products and their operations; torch's own counter does not know the in-place ones."""


def without_numbers(module: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """Give `module` weights and buffers of the same shapes without contents."""
    made: dict[int, nn.Parameter] = {}  # tied weights stay tied
    with mode:
        for owner in module.modules():
            for name, weight in owner._parameters.items():
                if weight is None:
                    continue
                if id(weight) not in made:
                    empty = torch.empty(weight.shape, dtype=weight.dtype)
                    made[id(weight)] = nn.Parameter(empty, requires_grad=weight.requires_grad)
                owner._parameters[name] = made[id(weight)]
            for name, buffer in owner._buffers.items():
                if buffer is not None:
                    owner._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
    return module


def rehearse(model: nn.Module, mode: FakeTensorMode, loss: Callable[[], Tensor]) -> list[MicroBatch]:
    """The first micro-batch of a step and a later one. `loss` runs `model`, whose weights are of `mode`."""
    ledger = Ledger()
    found = []
    with mode, _gradients_noted(model, ledger):
        for _ in range(2):
            ends: dict[str, Moment] = {}
            before = ledger.effort
            with _ends_noted(model, ledger, ends), ledger:
                ledger.since()
                value = loss()
                forward = ledger.effort - before
                value.backward()
            last = ledger.since()
            found.append(MicroBatch(ends.get("top", last), last, forward, ledger.effort - before))
    return found


@contextmanager
def _gradients_noted(model: nn.Module, ledger: Ledger) -> Iterator[None]:
    """Within this context the ledger knows how many of its bytes are gradients of weights."""

    def note(weight: Tensor) -> None:
        if weight.grad is not None and id(weight) not in seen:
            seen.add(id(weight))
            ledger.gradients += weight.grad.nbytes

    seen: set[int] = set()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    handles = [weight.register_post_accumulate_grad_hook(note) for weight in trained]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for weight in trained:
            weight.grad = None


@contextmanager
def _ends_noted(model: nn.Module, ledger: Ledger, ends: dict[str, Moment]) -> Iterator[None]:
    """Notes the fullest moment of the top, when the gradient of the last layer's input is there, and begins
    that of the bottom with the first layer."""
    layers = layers_of(model)

    def top(gradient: Tensor) -> None:
        ends.setdefault("top", ledger.since())

    def bottom(gradient: Tensor) -> None:
        ledger.since()

    def watch(note: Callable[[Tensor], None]) -> Callable[..., None]:
        def look(module: nn.Module, args: Any, kwargs: Any) -> None:
            states = args[0] if args else kwargs.get("hidden_states")
            if isinstance(states, Tensor) and states.requires_grad:
                states.register_hook(note)

        return look

    handles = []
    if len(layers) > 1:
        handles.append(layers[-1].register_forward_pre_hook(watch(top), with_kwargs=True))
        handles.append(layers[1].register_forward_pre_hook(watch(bottom), with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers of the backbone; empty where it does not keep them in one list."""
    inner = inner_model(model)
    count = getattr(inner.config.get_text_config(), "num_hidden_layers", 0)
    lists = [m for m in backbone_of(inner).modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    return list(lists[0]) if lists else []
