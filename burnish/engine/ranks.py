"""Ranks: the processes of a run, each with its part of the rows."""

from __future__ import annotations

import os
from typing import TypeVar

import torch
from accelerate import Accelerator

from burnish.errors import UserError

Row = TypeVar("Row")


def without_repeats(batch: list[Row], accelerator: Accelerator) -> list[Row]:
    """This rank's rows of a batch, less those repeated at the end of a set to give every rank a batch."""
    state = accelerator.gradient_state
    if accelerator.num_processes > 1 and state.end_of_dataloader and state.remainder > 0:
        first = accelerator.process_index * len(batch)
        return batch[: max(0, state.remainder - first)]
    return batch


def most_of(accelerator: Accelerator, number: int) -> int:
    """The largest of the numbers that the ranks have. Every rank must ask."""
    return max(_of_all(accelerator, number))


def least_of(accelerator: Accelerator, number: int) -> int:
    """The smallest of them."""
    return min(_of_all(accelerator, number))


def _of_all(accelerator: Accelerator, number: int) -> list[int]:
    if accelerator.num_processes == 1:
        return [number]
    return accelerator.gather(torch.tensor([number], device=accelerator.device)).tolist()


def check_launch(accelerator: Accelerator) -> None:
    """Raises `UserError` where a launcher was asked for other processes than there are: each would train
    alone, on all rows."""
    ranks, asked = accelerator.num_processes, os.environ.get("WORLD_SIZE", "")
    # What `accelerate launch --cpu` leaves in the environment of its one process when asked for several.
    alone = ranks == 1 and not asked and {"ACCELERATE_USE_CPU", "MASTER_ADDR", "MASTER_PORT"} <= {*os.environ}
    if alone and os.environ["ACCELERATE_USE_CPU"].lower() == "true":
        raise UserError(
            "`accelerate launch --cpu` was asked for several processes, and has started one",
            where="--num_processes",
            fix="start with `torchrun --nproc_per_node N`",
        )
    if asked.isdigit() and int(asked) != ranks:
        raise UserError(
            f"the launcher says {asked} processes, and this one knows of {ranks}",
            where="WORLD_SIZE",
            fix="start with `torchrun --nproc_per_node N`, or unset WORLD_SIZE to train in one process",
        )
