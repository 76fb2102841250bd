"""Callbacks of TRL's scripts, over what trainers do here anyway."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from burnish.engine.samples import MOST_PROMPTS, Samples, prompts_of_rows
from burnish.engine.trainer import Engine
from burnish.errors import UserError
from burnish.paths import share_weights


class RichProgressCallback(TrainerCallback):
    """Nothing to do: trainers show a table of their logs and a bar, made with rich, by themselves."""


class LogCompletionsCallback(Samples):
    """Answers to prompts of the evaluation rows during training: on the screen and in `samples.jsonl`.

    `num_prompts`: how many, from the first row on; unset: all, up to 64. `freq`: steps between two answers;
    unset: `eval_steps`. Of `generation_config` the number of new tokens is read; answers are greedy.
    The config's `sample_prompts` and `sample_steps` do the same without a callback, for prompts of any file.
    """

    def __init__(
        self,
        trainer: Engine,
        generation_config: Any = None,
        num_prompts: int | None = None,
        freq: int | None = None,
    ) -> None:
        if trainer.eval_dataset is None:
            raise UserError(
                "there are no rows to take prompts from", where="eval_dataset", fix="give the trainer some"
            )
        if trainer.args.sample_prompts is not None:
            raise UserError(
                "the trainer samples answers already", where="sample_prompts", fix="leave out one of them"
            )
        prompts = prompts_of_rows(trainer, num_prompts or MOST_PROMPTS)
        super().__init__(trainer, prompts, trainer.screen, trainer.screen.pace)
        self.steps = freq or trainer.args.eval_steps
        limit = getattr(generation_config, "max_new_tokens", None)
        self.max_new_tokens = limit or self.max_new_tokens


class BEMACallback(TrainerCallback):
    """Bias-corrected moving average of the weights, saved in `OUTPUT_DIR/bema` (BEMA, arXiv:2508.00180).

        beta = max((lag + multiplier t)^-ema_power, min_ema_multiplier)
        alpha = (lag + multiplier t)^-bias_power
        ema = (1 - beta) ema + beta theta
        averaged = ema + alpha (theta - theta_0)

    t is the step of training. At step `update_after` theta_0 and the first ema are taken; from there on they
    move every `update_freq` steps. The averages are in float32 on `device`; the trained model stays as it is.
    """

    def __init__(
        self,
        update_freq: int = 400,
        ema_power: float = 0.5,
        bias_power: float = 0.2,
        lag: int = 10,
        update_after: int = 0,
        multiplier: float = 1.0,
        min_ema_multiplier: float = 0.0,
        device: str = "cpu",
    ) -> None:
        self.update_freq, self.update_after = update_freq, update_after
        self.ema_power, self.bias_power = ema_power, bias_power
        self.lag, self.multiplier, self.min_ema_multiplier = lag, multiplier, min_ema_multiplier
        self.device = device
        self.start: dict[str, Tensor] = {}
        self.ema: dict[str, Tensor] = {}
        self.averaged: dict[str, Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **rest: Any) -> None:
        if args.fsdp or args.deepspeed:
            raise UserError(
                "weights that lie in parts on several devices are not averaged",
                where="BEMACallback",
                fix="leave it out, or train without FSDP and DeepSpeed",
            )
        if state.global_step:
            raise UserError(
                "averages are not kept in checkpoints, so a resumed run would average anew",
                where="BEMACallback",
                fix="train without a break, or leave it out",
            )
        if self.update_after == 0:
            self._begin(model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **rest: Any) -> None:
        if state.global_step == self.update_after:
            self._begin(model)
            return
        since = state.global_step - self.update_after
        if since > 0 and since % self.update_freq == 0:
            self._update(model, state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **rest: Any) -> None:
        if not state.is_world_process_zero or not self.averaged:
            return
        folder = Path(args.output_dir) / "bema"
        tokenizer = rest.get("processing_class")
        self.averaged_model(model).save_pretrained(folder)
        share_weights(folder)
        if tokenizer is not None:
            tokenizer.save_pretrained(folder)

    def averaged_model(self, model: nn.Module) -> Any:
        """A copy of the model with the averaged weights."""
        made = copy.deepcopy(model)
        for name, weight in trained(made).items():
            weight.data.copy_(self.averaged[name])
        return made

    @torch.no_grad()
    def _begin(self, model: nn.Module) -> None:
        self.start = {name: self._kept(weight) for name, weight in trained(model).items()}
        self.ema = {name: weight.clone() for name, weight in self.start.items()}
        self.averaged = {name: weight.clone() for name, weight in self.start.items()}

    @torch.no_grad()
    def _update(self, model: nn.Module, step: int) -> None:
        age = self.lag + self.multiplier * step
        beta, alpha = max(age**-self.ema_power, self.min_ema_multiplier), age**-self.bias_power
        for name, weight in trained(model).items():
            now = self._kept(weight)
            self.ema[name].lerp_(now, beta)
            self.averaged[name] = self.ema[name] + alpha * (now - self.start[name])

    def _kept(self, weight: Tensor) -> Tensor:
        return weight.detach().to(self.device, torch.float32, copy=True)


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that are trained, by their names in the model that is saved."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
