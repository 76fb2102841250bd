"""The most memory that a run takes at one time, in parts.

Three moments compete:

    loading        the weights, and on CPU the checkpoint's file beside them where its dtype is another
    a micro-batch  weights, what the optimizer keeps, the reference, and of the rehearsal its fullest moment:
                   activations with gradients of this micro-batch and those before it
    an update      weights, all gradients, what the optimizer keeps and what its step needs

On CPU the process itself is counted too: the interpreter, its imports, the tokenizer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.models.attention.plan import Plan
from burnish.models.classification import trained_logits
from burnish.models.divergence import divergence
from burnish.models.forward import attach, inner_model
from burnish.models.memory import resident_bytes
from burnish.models.precision import compute_in
from burnish.models.rehearsal import MicroBatch, Moment, rehearse, without_numbers
from burnish.models.score import leaf_rewards, score
from burnish.models.twin import fuse_twin, layer_count, layer_period
from burnish.planning.optimizers import kept_by
from burnish.planning.subject import Subject

TRAINING_BASE = 100 * 2**20
"""What training touches of its libraries beyond imports: kernels, thread pools, buffers of products."""

COMPILED = 100 * 2**20
"""What oneDNN compiles on CPU for products in 16 bits; `burnish.models` bounds how much it keeps."""

HEAP_LOSS = 0.35
"""Of activations on CPU: what lies free between blocks that are still in use, where nothing fits in.

Measured by `benchmarks.plan_accuracy` with glibc, as what a micro-batch takes beyond its tensors: 0.2 to 0.5.
"""


@dataclass(frozen=True)
class Rehearsed:
    """A forest of `tokens` as the first micro-batch of a step, and as a later one."""

    tokens: int
    first: MicroBatch
    later: MicroBatch

    def micro_batch(self, several: bool) -> MicroBatch:
        return self.later if several else self.first


def rehearsed(subject: Subject, examples: list[TokenizedExample], checkpoint: bool) -> Rehearsed:
    """A forward and backward of `examples` at the model's whole depth, from those of two small depths."""
    depth, period = layer_count(subject.config), layer_period(subject.config)
    least = max(2, period)
    depths = [depth] if depth <= least + period else [least, least + period]
    found = [_rehearse(subject, examples, checkpoint, layers) for layers in depths]
    ends = zip(*found, strict=True)
    units = (depth - depths[0]) / period
    first, later = (pair[0].at_depth(pair[-1], units) if len(pair) > 1 else pair[0] for pair in ends)
    return Rehearsed(sum(example.length for example in examples), first, later)


def _rehearse(
    subject: Subject, examples: list[TokenizedExample], checkpoint: bool, layers: int
) -> list[MicroBatch]:
    model = subject.twin(layers)
    fuse_twin(model)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    _ready(without_numbers(model, mode), subject)
    if checkpoint:
        inner_model(model).gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    teacher = subject.teacher(layers)
    if teacher is not None:
        _ready(without_numbers(teacher, mode), subject)
    forests = [_forest(examples, inner_model(model).config) for _ in range(2)]
    return rehearse(model, mode, lambda: _loss(subject, model, teacher, forests.pop()))


def _ready(model: nn.Module, subject: Subject) -> None:
    attach(model, "registered" if subject.args.tier == "auto" else subject.args.tier)
    compute_in(inner_model(model), subject.computes_in)


def _forest(examples: list[TokenizedExample], config: Any) -> Forest:
    """Packed anew, with all that is read off its numbers worked out."""
    forest = Forest.pack(examples)
    for name in ("target", "target_branch", "trained_per_branch", "leaf"):
        getattr(forest, name)
    for window in {None, getattr(config.get_text_config(), "sliding_window", None)}:
        Plan.of(forest, window)
    return forest


def _loss(subject: Subject, model: nn.Module, teacher: Any, forest: Forest) -> Tensor:
    """What the method reads of a forest, added up: a loss itself is a few numbers more."""
    args, task = subject.args, subject.trainer_class.task
    if task == "reward":
        return leaf_rewards(model, forest).sum()
    if task == "steps":
        return trained_logits(model, forest).sum()
    details = bool(getattr(args, "token_metrics", False))
    if teacher is not None:
        return divergence(model, teacher, forest, _measure, details=details).value.sum()
    uniform = getattr(args, "loss_type", None) == "nll"
    logprob = score(model, forest, details=details, uniform=uniform).logprob
    if subject.reference_in_step:
        with torch.no_grad(), subject.as_reference(model):
            score(model, forest)
    return logprob.sum()


def _measure(own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    mixed = own.exp()
    return (mixed * (own - other)).sum(-1), mixed


@dataclass(frozen=True)
class Parts:
    """Bytes at the peak, by what they are for."""

    weights: int  # with working copies
    gradients: int
    optimizer: int
    activations: int
    reference: int
    base: int

    @property
    def total(self) -> int:
        return sum(asdict(self).values())


@dataclass(frozen=True)
class Memory:
    when: str
    parts: Parts

    @property
    def peak(self) -> int:
        return self.parts.total


def memory(
    subject: Subject, micro_batch: MicroBatch, steps: int, kind: str, base: int, first_share: float = 1.0
) -> Memory:
    """The fullest moment of a run of `steps` whose largest micro-batch is `micro_batch`.

    `first_share`: how many of its tokens the largest of the first step has; the optimizer keeps nothing then.
    """
    keeps = kept_by(subject.args.optim, kind)
    state = int(keeps.state * subject.trained)
    moment = micro_batch.fullest
    held = Parts(subject.weight_bytes, 0, 0, 0, subject.reference_bytes, base)
    copies = subject.copy_bytes
    heap_loss = HEAP_LOSS if kind == "cpu" else 0.0
    candidates = [
        Memory("the first step", _in_micro_batch(held, moment, copies, (1 + heap_loss) * first_share)),
        Memory("an update", _in_update(held, subject, state, keeps.step)),
        Memory("loading", _in_loading(held, subject, kind)),
    ]
    if steps > 1:
        later = replace(_in_micro_batch(held, moment, copies, 1 + heap_loss), optimizer=state)
        candidates.append(Memory("a micro-batch", later))
    return max(candidates, key=lambda candidate: candidate.peak)


def _in_micro_batch(held: Parts, moment: Moment, copies: int, share: float) -> Parts:
    return replace(
        held,
        weights=held.weights + copies,
        gradients=int(moment.gradients),
        activations=int(max(0, moment.total - moment.gradients - copies) * share),
    )


def _in_update(held: Parts, subject: Subject, state: int, step: float) -> Parts:
    return replace(held, gradients=subject.trained_bytes, optimizer=state + int(step * subject.trained))


def _in_loading(held: Parts, subject: Subject, kind: str) -> Parts:
    """A checkpoint in another dtype is in the machine's memory until its weights are converted."""
    file = subject.file_bytes if kind == "cpu" else 0
    return replace(held, weights=held.weights + file)


def base_bytes(process: int, computed: torch.dtype) -> int:
    """What a run on CPU takes beside its model, from what the process took before it."""
    return process + TRAINING_BASE + (COMPILED if computed.itemsize == 2 else 0)


@cache
def process_bytes() -> int:
    """What the process takes before a model is loaded.

    Looked at once: what an earlier stage has left to the allocator, the next one uses again.
    """
    return resident_bytes()
