"""What every method's config shares: `transformers.TrainingArguments`, and the engine's own fields.

One sentence stands under each field, with its unit; the command line's help and the docs are made
from it. A method's config adds its own fields and the options of TRL's that are no fields here
(`compat.py`). What became of the inherited ones says `inherited.py`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any

from transformers import TrainingArguments

from burnish.engine.compat import TrlOptions, apply_compat, refused
from burnish.engine.inherited import InheritedOptions, check_optimizer, check_values, never_tried
from burnish.engine.ranges import check_ranges
from burnish.engine.trackers import check_trackers
from burnish.errors import UserError, nearest
from burnish.options import described
from burnish.pipeline.unknown import KnownOptions
from burnish.secrets import learn, without_secrets


@dataclass
class EngineConfig(KnownOptions, TrlOptions, InheritedOptions, TrainingArguments):
    """Options of every method. See `transformers.TrainingArguments` for the inherited ones."""

    logging_steps: float = described(10, "Log every so many steps; below 1, a share of all steps.")
    bf16: bool | None = described(
        None,
        "Compute in bfloat16, or (false) in float32. Unset: in bfloat16 where the machine is fast at it. "
        "Trained weights are stored in float32, unless dtype says bfloat16.",
    )
    disable_tqdm: bool | None = described(
        None, "Print a plain line for every log on a terminal too, instead of the display that moves."
    )

    max_length: int | None = described(1024, "Most tokens of a prompt with one completion. None: no limit.")
    truncation_mode: str = described(
        "keep_start",
        "What becomes of a row that is too long: which end is kept, or drop it, or stop (error).",
        choices=["keep_start", "keep_end", "drop", "error"],
    )
    columns: dict[str, str] | str | None = described(
        None,
        "The data's own names of columns: question=ticket,chosen=good_answer,rejected=bad_answer. "
        "context= leaves the column out.",
    )
    as_chats: bool = described(
        False,
        "Take plain texts for the turns of a chat: the prompt the user's, completions the assistant's. Rows "
        "of messages, and of questions with answers, are chats anyway.",
    )
    row_function: str | None = described(
        None, "A function (module:name or path/file.py:name) that makes of each row one of a known format."
    )
    on_bad_row: str = described(
        "stop",
        "What a row that cannot be read does: stop, or be dropped and counted.",
        choices=["stop", "skip"],
    )
    bad_row_budget: float = described(
        0.01, "How many rows may be skipped: a share of all below 1, a number of rows from 1 on."
    )
    dataset_num_proc: int | None = described(None, "Processes that prepare the data. Unset: one.")
    chat_template_path: str | None = described(
        None, "A chat template file, or a model folder to take the chat template from."
    )
    eos_token: str | None = described(None, "The token that ends a completion. Unset: the tokenizer's own.")
    model_init_kwargs: dict[str, Any] | str | None = described(
        None, "Arguments of `from_pretrained`, where the model is given by name."
    )
    trust_remote_code: bool = described(False, "Run model code that comes with the checkpoint.")
    disable_dropout: bool = described(False, "Turn off all dropout of the model.")
    tokens_per_forward: int | None = described(
        None,
        "Token budget of one forward and backward. Unset: what fits into memory. Never changes the result.",
    )
    tier: str = described(
        "auto",
        "How forests are run. auto: the fastest way that proves exact on this model.",
        choices=["auto", "registered", "mask", "packed", "padded"],
    )
    token_metrics: bool = described(
        False, "Log entropy and top-1 accuracy of tokens in training too (always in evaluation); costs time."
    )

    early_stopping_patience: int | None = described(
        None,
        "Stop after so many evaluations in a row without a better metric_for_best_model (unset there: the "
        "loss). Unset: never.",
    )

    sample_prompts: list | str | None = described(
        None,
        "A file of prompts (lines of text, or rows), or a list of texts, that the model answers meanwhile.",
    )
    sample_steps: int | None = described(
        None, "Steps between two answers to them. Unset: each evaluation, or every tenth of the run."
    )
    sample_max_new_tokens: int = described(64, "Most tokens of such an answer.")

    def __post_init__(self) -> None:
        learn("", vars(self))
        self.compat_notes = apply_compat(self) + never_tried(self, TrainingArguments)
        check_values(self)
        if callable(self.row_function):
            raise UserError(
                "a function is named, so that the run can be repeated from its arguments",
                where="row_function",
                fix=f"give 'path/to/file.py:{self.row_function.__name__}', or use dataset.map(...)",
            )
        self._check_choices()
        check_ranges(self)
        check_trackers(self.report_to)
        if self.no_gradient_checkpointing:
            self.gradient_checkpointing, self.no_gradient_checkpointing = False, False
        self.checkpointing_is_open = (
            self.gradient_checkpointing is None and self.activation_checkpointing is None
        )
        # What a person trained is theirs until they say otherwise.
        self.hub_private_repo = vars(self)["hub_private_repo"] is not False
        self.disable_tqdm = bool(self.disable_tqdm)  # the base would ask how much transformers logs
        launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
        if launched not in ("no", "bf16"):
            raise UserError(
                f"{launched} is not supported: log-probabilities overflow in float16",
                where="mixed_precision of accelerate",
                fix="launch with --mixed_precision bf16, or no",
            )
        asked_for_bf16 = True if launched == "bf16" and self.bf16 is None else self.bf16
        # The engine casts by itself (models/precision.py), and transformers refuses bf16 on a machine
        # without GPU; only FSDP and DeepSpeed have to hear of it.
        self.bf16 = asked_for_bf16 is not False and bool(self.fsdp or self.deepspeed)
        if self.early_stopping_patience is not None:
            self.metric_for_best_model = vars(self)["metric_for_best_model"] or "loss"
        # Their defaults are those of transformers; what they ask for is not wanted here.
        self.remove_unused_columns = self.dataloader_pin_memory = self.logging_nan_inf_filter = False
        try:
            super().__post_init__()
        except (ValueError, TypeError, NotImplementedError, ImportError) as error:
            said = error.msg if isinstance(error, ImportError) and error.msg else str(error)
            raise UserError(f"transformers refuses these options: {' '.join(said.split())}") from error
        self.bf16 = asked_for_bf16
        if not (self.fsdp or self.deepspeed):
            self.mixed_precision = "no"  # the engine's copies are in place of autocast
        check_optimizer(self.optim.value)
        if self.early_stopping_patience is not None and self.eval_strategy == "no":
            raise UserError(
                "nothing is evaluated, so nothing stops training",
                where="early_stopping_patience",
                fix="set eval_strategy to epoch or steps, and give rows to evaluate on",
            )
        self._check_devices()

    def to_dict(self) -> dict[str, Any]:
        """As files and experiment trackers get it: without secrets."""
        return without_secrets(super().to_dict())

    def head_kwargs(self) -> dict[str, Any]:
        """Arguments of `from_pretrained` that say what head the method needs."""
        return {}

    def _check_choices(self) -> None:
        for option in fields(self):
            choices, value = option.metadata.get("choices"), getattr(self, option.name)
            if not choices or value == option.default:
                continue
            for chosen in value if isinstance(value, list) else [value]:
                if chosen not in choices:
                    raise UserError(
                        f"unknown value {chosen!r}.{nearest(str(chosen), choices)}",
                        where=option.name,
                        fix=f"one of {', '.join(map(str, choices))}",
                    )

    def _check_devices(self) -> None:
        if self.n_gpu > 1:
            raise UserError(
                f"{self.n_gpu} GPUs are visible to one process",
                where="n_gpu",
                fix="start with `accelerate launch`, or set CUDA_VISIBLE_DEVICES=0",
            )


@dataclass
class ComparingConfig(EngineConfig):
    """What the configs of methods share that compare completions, or judge them."""

    assistant_only_loss: bool | None = described(
        None,
        "Leave what users and tools say within a completion out of the loss. Unset: yes, where it has "
        "several turns. false: all of a completion counts, as in TRL.",
    )


@dataclass
class ScoringConfig(EngineConfig):
    """What the configs of reward models share."""

    sample_prompts: list | str | None = refused(None, "a reward model gives scores, no answers")
