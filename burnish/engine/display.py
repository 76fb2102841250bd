"""Shows a run while it trains, in the place of transformers' bars and printed dictionaries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from burnish.engine.logs import MetricsFile
from burnish.engine.pace import Pace
from burnish.engine.samples import Samples, check_samples, sample_prompts
from burnish.engine.screen import Screen, screen_for
from burnish.engine.start import FirstSteps
from burnish.engine.watch import Watch
from burnish.models.memory import peak_bytes

if TYPE_CHECKING:
    from burnish.engine.trainer import Engine


class Display(TrainerCallback):
    """Puts what happens on the screen, on rank 0. `disable_tqdm` gives plain lines on a terminal too."""

    def __init__(self, screen: Screen) -> None:
        self.screen, self.pace = screen, screen.pace
        self._evaluated = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.screen.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.screen.stepped()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
        figures = {"peak_bytes": peak_bytes(args.device)}
        if "loss" in logs and self.pace.tokens_per_second:
            figures["tokens_per_second"] = round(self.pace.tokens_per_second)
        hidden = ("total_flos", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second")
        self.screen.logged({name: value for name, value in logs.items() if name not in hidden} | figures)

    def on_prediction_step(
        self, args: Any, state: Any, control: Any, eval_dataloader: Any = None, **rest: Any
    ) -> None:
        self._evaluated += 1
        total = len(eval_dataloader) if hasattr(eval_dataloader, "__len__") else None
        self.screen.aside("evaluating", self._evaluated, total)

    def on_evaluate(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self._evaluated = 0
        self.screen.aside_done()

    def on_predict(self, args: Any, state: Any, control: Any, metrics: Any = None, **rest: Any) -> None:
        self.on_evaluate(args, state, control)

    def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.screen.end()


def follow(engine: Engine) -> tuple[Screen, Watch]:
    """Let a trainer be followed: its logs are written down, watched and shown.

    A notebook keeps the table that transformers has for it.
    """
    handler = engine.callback_handler
    default = handler.callbacks[-1]  # the base adds it after all others
    pace = Pace()
    screen = Screen(pace)
    if type(default) in (PrinterCallback, ProgressCallback):
        handler.callbacks.pop()
        if engine.is_world_process_zero():
            screen = screen_for(pace, plain=bool(engine.args.disable_tqdm))
    engine.add_callback(MetricsFile(engine.args.output_dir, pace))
    engine.add_callback(Display(screen))
    engine.add_callback(watch := Watch(engine, screen))
    engine.add_callback(FirstSteps(engine))
    check_samples(engine.args)
    if prompts := sample_prompts(engine):
        engine.add_callback(Samples(engine, prompts, screen, pace))
    return screen, watch
