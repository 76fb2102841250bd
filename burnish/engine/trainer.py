"""The engine: the one subclass of `transformers.Trainer`, under every method.

What it changes of its base is how a step is made:

    rows of a step -> micro-batches under a token budget -> Forest -> objective -> sums, counts -> gradient

The loss of a step is one sum over all its micro-batches and ranks divided by one count, so the
gradient does not depend on how the step was cut. Everything else (callbacks, schedules, trackers,
checkpoints, hub, FSDP and DeepSpeed through Accelerate) is the base's.

A method is a subclass that says how to read a row, what the loss is a mean over, and its objective
(`method.py`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils.memory import clear_device_cache
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase, TrainingArguments
from transformers.trainer_utils import EvalLoopOutput

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.data.packing import consecutive, micro_batches
from burnish.data.preparation.report import PreparationReport
from burnish.data.preparation.stream import PreparedStream
from burnish.engine import arguments, assembly, rows
from burnish.engine.adalora import RankSchedule, adalora_of, add_orthogonality
from burnish.engine.balance import Balance
from burnish.engine.checkpoints import asked_for
from burnish.engine.display import follow
from burnish.engine.evaluation import evaluated
from burnish.engine.meter import Meter
from burnish.engine.method import Method
from burnish.engine.metric_inputs import explained
from burnish.engine.neftune import embedding_noise
from burnish.engine.origin import check_origin
from burnish.engine.plan import Plan, make_plan
from burnish.engine.ranks import most_of, without_repeats
from burnish.engine.saving import Saving
from burnish.engine.skipped import SkippedSteps
from burnish.engine.step import Step
from burnish.engine.survey import surveyed, surveyed_rows
from burnish.engine.termination import Termination
from burnish.errors import UserError
from burnish.models.forward import inner_model
from burnish.models.padding import settle_padding
from burnish.models.precision import forget_copies
from burnish.models.readiness import ReadyModels


class Engine(Saving):
    """Base of all trainers. See `burnish.methods` for the ones to use."""

    def __init__(
        self,
        model: str | nn.Module | None = None,
        args: TrainingArguments | None = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        compute_loss_func: Any = None,
        compute_metrics: Callable | None = None,
        callbacks: list | None = None,
        optimizers: tuple = (None, None),
        optimizer_cls_and_kwargs: tuple | None = None,
        preprocess_logits_for_metrics: Any = None,
        peft_config: Any = None,
        quantization_config: Any = None,
        loss: Callable | None = None,
        **method: Any,
    ) -> None:
        method = method if loss is None else {**method, "loss": loss}
        arguments.check_given(type(self), args, method, given=locals())
        self.args = args = assembly.config_for(self.config_class, args, model)
        built = assembly.build_model(model, self.task, args, peft_config, quantization_config)
        self.adapter_is_fresh, self.lifted = built.adapter_is_fresh, built.lifted
        tokenizer = assembly.build_tokenizer(processing_class, built.name, args)
        if note := settle_padding(built.model, tokenizer, self.task):
            args.compat_notes.append(note)
        self.preparation_reports: dict[str, list[PreparationReport]] = {}  # of the sources, by split
        super().__init__(
            model=built.model,
            args=args,
            data_collator=rows.collate,
            train_dataset=self._prepared(train_dataset, tokenizer, args, "train"),
            eval_dataset=self._prepared(eval_dataset, tokenizer, args, "eval"),
            processing_class=tokenizer,
            compute_metrics=explained(compute_metrics, type(self)),
            callbacks=[*(callbacks or []), *assembly.callbacks_of(args)],
            optimizers=optimizers,
            optimizer_cls_and_kwargs=optimizer_cls_and_kwargs,
        )
        self.model_accepts_loss_kwargs = True  # or the base divides the loss once more
        self.neftune_noise_alpha = None  # the base's noise follows the length of a forest (`neftune.py`)
        self.compute_dtype = assembly.compute_dtype(self.model, args)
        self.balance = Balance.of(self)
        self.plan: Plan | None = None
        self._meter, self._eval_meter = Meter(), Meter()
        self.running: dict[str, float] = {}  # what a method carries from step to step; kept in checkpoints
        self.last_step, self.skipped = Step(), SkippedSteps(self)
        self.termination = Termination(self)
        if (tuner := adalora_of(self.model)) is not None:
            self.add_callback(RankSchedule(tuner))
        self.screen, self.watch = follow(self)
        self.models = ReadyModels(self.model, self.get_ready)
        self.setup(**method)

    # Data

    def reader(self) -> Any:
        return self.reads(self.args)

    def _prepared(self, dataset: Any, tokenizer: Any, args: Any, name: str) -> Any:
        if dataset is None:
            return None
        if isinstance(dataset, dict):
            return {
                key: self._prepared(split, tokenizer, args, f"{name}_{key}") for key, split in dataset.items()
            }
        options = rows.preparation_options(args, self.preparation(args))
        prepared, reports = rows.prepare_split(dataset, self.reader(), tokenizer, options, args, name)
        if reports:
            self.preparation_reports[name] = reports
        return prepared

    def _completed(self, dataset: Any) -> Any:
        if isinstance(dataset, dict):
            return {key: self._completed(split) for key, split in dataset.items()}
        return None if dataset is None else self.completed(dataset)

    def evaluate(self, eval_dataset: Any = None, *rest: Any, **kwargs: Any) -> dict[str, float]:
        if eval_dataset is not None and not isinstance(eval_dataset, str):
            eval_dataset = self._prepared(eval_dataset, self.processing_class, self.args, "eval")
        with self.models.at_work():
            if not isinstance(eval_dataset, str):
                eval_dataset = self._completed(eval_dataset)
            return super().evaluate(eval_dataset, *rest, **kwargs)

    def predict(self, test_dataset: Any, *rest: Any, **kwargs: Any) -> Any:
        dataset = self._prepared(test_dataset, self.processing_class, self.args, "test")
        with self.models.at_work():
            return super().predict(self._completed(dataset), *rest, **kwargs)

    # A step

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        if self.train_dataset is None:
            raise UserError("there are no rows to train on", where="train_dataset", fix="pass a dataset")
        checkpoint = self.checkpoint_of(resume_from_checkpoint)
        with self.models.at_work():
            plan = self.get_ready()
            if self.is_world_process_zero():
                plan.show()
                rows.write_reports(self.preparation_reports, self.args.output_dir)
            self.skipped.begin_run()
            with self.screen:
                output = super().train(checkpoint, *args, **kwargs)
        self.termination.check()
        if self.is_world_process_zero() and isinstance(self.train_dataset, PreparedStream):
            print(*self.train_dataset.reports, sep="\n")
            rows.write_reports(self.preparation_reports, self.args.output_dir)
        return output._replace(training_loss=output.metrics.get("train_loss", math.nan))

    def checkpoint_of(self, given: str | bool | None) -> str | None:
        """The folder of the checkpoint that is meant. Raises `UserError` where it is not one of this run."""
        if self.args.fsdp or self.args.deepspeed:
            return given or None  # type: ignore[return-value]  # their checkpoints have forms of their own
        found = asked_for(given, Path(self.args.output_dir))
        if found is not None:
            check_origin(self, found)
        return str(found) if found else None

    def _run_epoch(self, **kwargs: Any) -> None:
        """The steps of an epoch; none, where the checkpoint that is resumed from has taken all of them."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(**kwargs)

    def get_ready(self) -> Plan:
        """Certify the model, decide what is open, score rows in advance: once, before the first forest.

        Models are ready for forests from here to the end of the next `train`, `evaluate` or `predict`.
        """
        if fresh := self.plan is None:
            assembly.check_weights(self.model, "model")
            self.plan = make_plan(self)
            self.models.add(assembly.readiness_of(self, self.lifted))
        self.models.take_on()
        if fresh:
            for name in ("train_dataset", "eval_dataset"):
                setattr(self, name, self._completed(getattr(self, name)))
            self._check_standard_forward()
        assert self.plan is not None
        return self.plan

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list[Step], Tensor | None]:
        """All the examples of a step, and the counts that the terms of their loss are divided by.

        The base expects as many batches as it asked for, and synchronizes gradients on the last: that
        one holds the whole step, the others are empty.
        """
        batches: list[list[list[TokenizedExample]]] = list(itertools.islice(epoch_iterator, num_batches))
        if not batches:
            return [], None
        batches[-1] = without_repeats(batches[-1], self.accelerator)
        step = Step([example for batch in batches for pack in batch for example in pack])
        nothing = tuple(0 for _ in self.counts(self.filler()))  # a rank may have run out of rows
        counts = [sum(column) for column in zip(nothing, *map(self.counts, step.examples), strict=True)]
        sums = torch.tensor([*map(float, counts), step.logical_tokens], device=device)
        sums_of_all = self.accelerator.reduce(sums, "sum")
        self.state.num_input_tokens_seen += int(sums_of_all[-1])
        # The balancing loss is a mean over these tokens.
        counted = sums_of_all if self.balance.coefficient else sums_of_all[:-1]
        return [Step(is_whole=False) for _ in batches[1:]] + [step], counted

    def cut(self, examples: list[TokenizedExample], in_order: bool = False) -> list[list[TokenizedExample]]:
        """Micro-batches under the token budget; equally many on every rank, some of them empty."""
        plan = self.get_ready()
        cutter = consecutive if in_order else micro_batches
        cut = cutter(examples, plan.tokens_per_forward, layout=plan.layout)
        most = most_of(self.accelerator, len(cut))  # ranks of a sharded model must run equally many forwards
        if most > len(cut) and not in_order:
            cut = micro_batches(examples, plan.tokens_per_forward, at_least=most, layout=plan.layout)
        return cut + [[] for _ in range(most - len(cut))]

    def training_step(
        self, model: nn.Module, inputs: Step, num_items_in_batch: Tensor | None = None
    ) -> Tensor:
        """Forward and backward of every micro-batch of a step; the step's loss, for the log."""
        model.train()
        if callable(getattr(self.optimizer, "train", None)):
            self.optimizer.train()  # schedule-free optimizers
        loss = torch.zeros((), device=self.args.device)
        if not inputs.is_whole:
            return loss
        self.skipped.begin_step()
        with self.compute_loss_context_manager():
            micro_batches = self.cut(surveyed(self, model, inputs.examples))
            self.balance.begin_step(self, model, micro_batches)
        for index, examples in enumerate(micro_batches):
            last = index == len(micro_batches) - 1
            self.accelerator.gradient_state._set_sync_gradients(last)
            with nullcontext() if last else self.accelerator.no_sync(model):
                loss += self._micro_batch(model, examples, num_items_in_batch)
        add_orthogonality(self.model)
        forget_copies(inner_model(self.model))
        if (every := self.args.torch_empty_cache_steps) and self.state.global_step % every == 0:
            clear_device_cache()
        self.last_step = inputs
        return loss

    def _micro_batch(
        self, model: nn.Module, examples: list[TokenizedExample], counts: Tensor | None
    ) -> Tensor:
        silent = not examples  # this rank ran out of examples: run one along, without weight
        forest = Forest.pack(examples or [self.filler()]).to(self.args.device)
        noise = embedding_noise(model, forest, self.args.neftune_noise_alpha)
        with self.compute_loss_context_manager(), noise:
            loss, output = self.compute_loss(model, forest, return_outputs=True, num_items_in_batch=counts)
        if silent:
            loss = loss * 0
        else:
            self._meter.add(output.metrics)
        # The loss is divided by the whole step's count already; DeepSpeed would divide it once more.
        once = {"scale_wrt_gas": False} if self.is_deepspeed_enabled else {}
        self.accelerator.backward(loss, **once)
        return loss.detach()

    def filler(self) -> TokenizedExample:
        """A row to run without weight, where another rank has one and this one has not."""
        sets = (self.train_dataset, *rows.splits_of(self.eval_dataset))
        return next(rows.first_example(dataset) for dataset in sets if dataset is not None)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Forest,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        """The loss of a forest as its share of the step's loss, and the `LossOutput` it comes from."""
        self.balance.listen(inputs)
        output = self.objective(model, inputs)
        terms = self.balance.terms(inputs, output)
        totals = torch.stack([term.total for term in terms])
        own_counts = torch.stack([term.count.to(totals) for term in terms])
        counts = own_counts if num_items_in_batch is None else num_items_in_batch
        # Gradients (and logged losses) are averaged over ranks, and this is a sum over them.
        loss = (totals / counts).sum() * self.accelerator.num_processes
        return (loss, output) if return_outputs else loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """The gradient norm; where it is not finite, the step is not applied."""
        grad_norm = super()._get_grad_norm(model, grad_norm)
        applied = self.watch.gradient(float(grad_norm), self.last_step)
        self.skipped.end_step(applied)
        if not applied:
            model.zero_grad(set_to_none=True)  # an optimizer leaves weights without gradient alone
        return grad_norm

    # Evaluation and logs

    def evaluation_loop(
        self, dataloader: Any, description: str, *rest: Any, metric_key_prefix: str = "eval", **kwargs: Any
    ) -> EvalLoopOutput:
        self.get_ready()
        self._eval_meter = Meter()
        if type(self).survey is not Method.survey:
            dataloader = self.get_test_dataloader(surveyed_rows(self, dataloader.dataset))
        output = super().evaluation_loop(
            dataloader, description, *rest, metric_key_prefix=metric_key_prefix, **kwargs
        )
        metrics = self._eval_meter.read(self.accelerator)
        assert output.metrics is not None
        output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in metrics.items()})
        return output

    def prediction_step(
        self, model: nn.Module, inputs: list, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[None, Tensor | None, Tensor | None]:
        """Adds to the evaluation's sums and counts; its loss is exact over unequal batches."""
        if not (parts := evaluated(self, model, inputs, not prediction_loss_only)):
            return None, None, None
        predictions, labels = parts
        return None, predictions, labels

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        self.skipped.correct(logs)
        if "loss" in logs:
            logs.update(self._meter.read(self.accelerator))
            logs["num_tokens"] = self.state.num_input_tokens_seen
        if "train_loss" in logs and self.state.global_step == self._initial_global_step:
            logs.pop("train_loss")  # the mean over no step
        super().log(logs, start_time)

    # What the base would do with a batch of tensors

    def _prepare_inputs(self, inputs: Any) -> Any:
        return inputs

    def floating_point_ops(self, inputs: Step) -> float:
        parameters = self.plan.parameters_per_token if self.plan else 0
        return 6.0 * parameters * inputs.tokens

    def _track_num_input_tokens(self, inputs: Any) -> None:
        """Counted in `get_batch_samples`."""
