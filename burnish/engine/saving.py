"""What a trainer saves, and what it checks of it: nothing is saved that is not what was trained."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from burnish.engine import assembly, rows
from burnish.engine.adalora import adalora_of, refuse_checkpoint
from burnish.engine.method import Method
from burnish.engine.origin import write_origin
from burnish.engine.plan import Plan
from burnish.engine.survey import read_running, write_running
from burnish.errors import UserError, shorten
from burnish.models.adapter_chain import quantization_of, write_record
from burnish.models.forward import inner_model
from burnish.models.padding import check_standard_forward
from burnish.models.readiness import ReadyModels
from burnish.paths import share_weights
from burnish.progress import own_bars


class Saving(Method):
    """Checkpoints, models and the hub. Made whole by `Engine`."""

    plan: Plan | None
    running: dict[str, float]
    models: ReadyModels

    def _check_standard_forward(self) -> None:
        """Whether the model means the same to what loads it as it does in training (`padding.py`)."""
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        if self.task == "causal" or self.train_dataset is None or sharded:
            return
        example = rows.first_example(self.train_dataset)
        row = example.prompt + example.completions[0]
        check_standard_forward(self.model, self.processing_class, row)

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Make the repository of `push_to_hub`, before anything is trained. Raises `UserError`."""
        try:
            super().init_hf_repo(token, private)
        except Exception as error:  # offline, no token, no right; the hub's client has had several bases
            raise UserError(
                f"the hub cannot be written to ({type(error).__name__}: {shorten(str(error), 200)})",
                where="push_to_hub",
                fix="leave out push_to_hub, and upload later: burnish push FOLDER NAME; or mend it",
            ) from error

    def create_model_card(
        self,
        model_name: str | None = None,
        dataset_name: str | list[str] | None = None,
        tags: str | list[str] | None = None,
        **said: Any,
    ) -> None:
        """Write the model's card, a README.md in `output_dir`, with what is known of the run.

        `model_name`: its title; `dataset_name`: names of data on the hub; `tags` come to those of the model.
        Of `said`, what transformers takes beside these, `license`, `language`, `finetuned_from` and `dataset`
        are written too.
        """
        if not self.is_world_process_zero():
            return
        model = inner_model(self.model)
        base = said.get("finetuned_from") or getattr(model.config, "_name_or_path", None) or None
        known = {
            "method": [kind.__name__.removesuffix("Trainer").lower() for kind in type(self).__mro__],
            "base": base,
            "datasets": [*_listed(dataset_name), *_listed(said.get("dataset"))],
            "tags": [*_listed(getattr(model, "model_tags", None)), *_listed(tags)],
            "front": {key: said[key] for key in ("license", "language") if said.get(key)},
            "run": {"steps": self.state.global_step, "seed": self.args.seed},
        }
        # By its name: cards are made of the records of runs, which the engine knows nothing of.
        write = import_module("burnish.export.card").write_card_of
        write(self.args.output_dir, name=model_name, **known)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            write_running(self.running, output_dir)
            write_origin(self, output_dir)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if adalora_of(self.model) is not None:
            refuse_checkpoint("resume_from_checkpoint")
        super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        self.running |= read_running(checkpoint)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save model and tokenizer. Raises `UserError` once that is done, if they mean another model."""
        super().save_model(output_dir, _internal_call)
        if not _internal_call and self.plan is not None:
            with self.models.for_now():
                self._check_standard_forward()

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        assembly.check_saved(self.model, state_dict, output_dir or self.args.output_dir)
        with own_bars(), self.models.as_configured():
            super()._save(output_dir, state_dict)
        if self.args.should_save:
            folder = output_dir or self.args.output_dir
            assembly.replace_pickled_arguments(folder, self.args)
            if hasattr(self.model, "peft_config"):
                write_record(folder, quantization_of(inner_model(self.model)))
            share_weights(folder)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])
