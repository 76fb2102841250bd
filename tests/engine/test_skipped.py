"""A step that is not applied leaves no trace in logged means and in what is carried from step to step."""

import math
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from burnish.engine.meter import Meter
from burnish.engine.skipped import SkippedSteps
from burnish.losses.output import Mean


def engine():
    state = SimpleNamespace(global_step=0)
    made = SimpleNamespace(_tr_loss=torch.zeros(()), running={}, state=state, _initial_global_step=0)
    made._meter = Meter()
    return made, SkippedSteps(made)


def run(made, steps, losses):
    """Steps of these losses, as the base takes them; the log after the last one."""
    start = made.state.global_step
    for loss in losses:
        steps.begin_step()
        made._meter.add({"margin": Mean.of(torch.tensor([loss]))})
        made.running["mean"] = 0.5 * made.running.get("mean", 0.0) + 0.5 * loss
        made._tr_loss += loss
        steps.end_step(applied=math.isfinite(loss))
        made.state.global_step += 1
    logs = {"loss": float(made._tr_loss) / (made.state.global_step - start)}
    made._tr_loss -= made._tr_loss
    steps.correct(logs)
    return logs["loss"], made._meter.read(Accelerator(cpu=True))


NAN = math.nan


@pytest.mark.parametrize(
    ("losses", "logged", "margin"),
    [
        ([2.0, 4.0], 3.0, {"margin": 3.0}),
        ([2.0, NAN, 4.0], 3.0, {"margin": 3.0}),
        ([math.inf, 1.0], 1.0, {"margin": 1.0}),
        ([NAN], NAN, {}),
    ],
)
def test_a_log_is_a_mean_over_the_steps_that_were_applied(losses, logged, margin):
    made, steps = engine()
    loss, metrics = run(made, steps, losses)
    assert loss == pytest.approx(logged, nan_ok=True) and metrics == margin
    assert run(made, steps, [5.0]) == (5.0, {"margin": 5.0})  # and the next log is as if nothing had been


def test_what_is_carried_on_is_what_it_was_before_the_step():
    made, steps = engine()
    run(made, steps, [2.0, NAN, 4.0])
    plain, beside = engine()
    run(plain, beside, [2.0, 4.0])
    assert made.running == plain.running


def test_the_loss_of_the_run_is_that_of_its_applied_steps():
    made, steps = engine()
    run(made, steps, [2.0, NAN, 4.0])
    logs = {"train_loss": 6.0 / 3}  # as the base divides
    steps.correct(logs)
    assert logs["train_loss"] == pytest.approx(3.0)
