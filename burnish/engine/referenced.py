"""What methods that compare the policy with a reference share."""

from __future__ import annotations

import copy
from typing import Any, Unpack

from datasets import Dataset
from torch import Tensor, nn

from burnish import units
from burnish.data.forest import Forest
from burnish.data.preparation.stream import PreparedStream
from burnish.engine.arguments import TrainerArguments
from burnish.engine.moving import MovingReference
from burnish.engine.origin import some_weights
from burnish.engine.precompute import with_reference_scores
from burnish.engine.start import StartCheck
from burnish.engine.step import Step
from burnish.engine.trainer import Engine
from burnish.errors import UserError
from burnish.models.adapters import Adapter, adapter_of
from burnish.models.forward import inner_model
from burnish.models.precision import cast_frozen
from burnish.models.reference import Kind, Reference, reference_kind
from burnish.models.score import score


class ReferenceEngine(Engine):
    """`ref_model` is a reference of one's own. Without it the reference is the model before step 1:
    the adapter switched off or a frozen copy of it, or in full fine-tuning the scores of all rows.
    """

    reference: Reference

    def __init__(
        self,
        model: Any = None,
        ref_model: Any = None,
        args: Any = None,
        *rest: Any,
        **given: Unpack[TrainerArguments],
    ) -> None:
        super().__init__(model, args, *rest, ref_model=ref_model, **given)

    @classmethod
    def asks_in_every_step(cls, args: Any) -> bool:
        """Whether the reference scores completions that are known in their step only."""
        return False

    @classmethod
    def reference_kind(
        cls, args: Any, adapter: Adapter | None, given: bool = False, streamed: bool = False
    ) -> Kind:
        """Which reference a run with these options has, on a policy with such an adapter.

        `streamed`: rows come while training, so none can be scored before.
        """
        in_every_step = streamed or cls.asks_in_every_step(args)
        return reference_kind(adapter, given=given, moves=args.sync_ref_model, in_every_step=in_every_step)

    def set_reference(self, ref_model: Any) -> None:
        """Take the reference; one that is asked in every step, or moves, is not replaced by its scores."""
        other, self.moves = self.also(ref_model), self.args.sync_ref_model
        adapter = adapter_of(self.model, self.adapter_is_fresh) if other is None else None
        streamed = isinstance(self.train_dataset, PreparedStream)
        kind = self.reference_kind(self.args, adapter, given=other is not None, streamed=streamed)
        if kind == "frozen copy":
            other = self._frozen_copy()
        self.reference = Reference.of(kind, self.model, other)
        self.reference.ready = self.models.for_now
        # Of an adapter that is switched off, what was drawn for it says nothing of the reference.
        own = other if kind == "given" and other is not None else self.model
        self.reference_weights = some_weights(own, trained=kind != "adapter off")
        self.start = StartCheck(self)
        self.start.is_open = kind != "given"
        if self.moves:
            self.reference.check_like(self.model)
            share, steps = self.args.ref_model_mixup_alpha, self.args.ref_model_sync_steps
            self.reference.moves = f"every {steps} steps {units.share(share, 0)} of the way to the policy"
            self.add_callback(MovingReference(self.model, self.reference))

    def _frozen_copy(self) -> nn.Module:
        if self.args.fsdp or self.args.deepspeed:
            raise UserError(
                "a copy of weights that lie in parts on several devices is not kept",
                where="ref_model",
                fix="pass the starting model as ref_model, or train an adapter (use_peft)",
            )
        copied = self.also(copy.deepcopy(self.model))
        assert copied is not None
        cast_frozen(inner_model(copied), self.compute_dtype)  # after `also`, whose checks want one dtype
        return copied

    def completed(self, dataset: Any) -> Any:
        if self.reference.is_live and not self.args.precompute_ref_log_probs:
            return dataset
        return with_reference_scores(self, self.reference, dataset)

    def beside(self, policy: Tensor, forest: Forest) -> Tensor:  # float[B]
        """The reference's log-probabilities of the completions of which `policy`, float[B], has its own."""
        reference = self.reference.logprob(self.model, forest)
        self.start.compare(policy, reference, forest)
        return reference

    def loss_without_margin(self) -> float | None:
        """The loss of a step where policy and reference are equal, if it is the same for all rows."""
        return None

    def training_step(self, model: nn.Module, inputs: Step, counts: Tensor | None = None) -> Tensor:
        loss = super().training_step(model, inputs, counts)
        expected = None if self.balance.coefficient else self.loss_without_margin()
        if expected is not None and self.start.distance is not None and self.accelerator.num_processes == 1:
            self.start.loss(float(loss), expected, self.args.beta)
        return loss

    @property
    def ref_model(self) -> nn.Module | None:
        """The reference, where it is a model of its own."""
        return self.reference.model

    def rewards(self, model: nn.Module, forest: Forest) -> Tensor:  # float[B]
        """Implicit rewards of all completions: beta times log policy - log reference."""
        policy = self.reference.add_up(forest, score(model, forest).logprob)
        return self.args.beta * (policy - self.reference.logprob(self.model, forest))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.moves and self.args.should_save:
            self.reference.save(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if self.moves and checkpoint is not None:
            self.reference.load(checkpoint)


def labels_of(dataset: Any) -> list[float] | None:
    """The labels of unpaired rows; None for a stream, of which nobody knows them.

    Raises `UserError` where all are equal: nothing says then what to move away from, or towards.
    """
    if not isinstance(dataset, Dataset):
        return None
    labels = list(dataset["label"])
    if len(set(labels)) == 1:
        kind = "desirable" if labels[0] else "undesirable"
        raise UserError(
            f"all {len(labels)} completions are {kind}",
            where="column 'label'",
            fix="give rows of both kinds; to train good completions alone, use sft",
        )
    return labels
