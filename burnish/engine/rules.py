"""Rules of thumb: what an experienced person would say when looking at the logs of a run.

Each is a function of what is known so far, to a `Notice` or nothing; its docstring says when it speaks and
why there. `RULES` lists them. A rule speaks once, and again where `size` has doubled since (`watch.py`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish import units
from burnish.engine.figures import number

Logs = Mapping[str, Any]


@dataclass(frozen=True)
class Notice:
    """What a rule says. `size` is how bad it is, in a unit of the rule's own, above 0."""

    step: int
    rule: str
    severity: str  # note, warning, error
    text: str
    size: float = 1.0
    rows: list[str] = field(default_factory=list)  # origins


@dataclass
class History:
    """What is known of a run so far. Logs are in order, each with its `step`."""

    step: int = 0
    steps: int = 0  # of the whole run
    logs: list[Logs] = field(default_factory=list)
    evaluations: list[Logs] = field(default_factory=list)  # with names without `eval_`
    norms: list[float] = field(default_factory=list)  # gradient norms of the last steps, this one the last
    beta: float | None = None  # of a method that compares with a reference
    rows_per_step: int = 1
    warmup_steps: int = 0
    trained_share: float | None = None  # of the tokens of the training rows
    unmoved: tuple[int, int] | None = None  # trained tensors that have not changed, of how many

    def values(self, *names: str) -> list[float]:
        """A metric in all logs that have it, by the first of its names that any has."""
        for name in names:
            if found := [log[name] for log in self.logs if isinstance(log.get(name), float | int)]:
                return found
        return []


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def loss_not_finite(history: History) -> Notice | None:
    """A logged loss is not a number, or infinite.

    There is no such loss in a healthy run, so one is enough.
    """
    loss = history.logs[-1].get("loss") if history.logs else None
    if loss is None or math.isfinite(loss):
        return None
    text = f"the loss is {loss}: lower learning_rate, or look at the rows of these steps"
    return Notice(history.step, "loss_not_finite", "error", text)


def loss_rises(history: History) -> Notice | None:
    """The median of the last 3 logged losses is 1.5 times the first logged one, and at least 0.2 above it.

    Batches differ by a few percent once a log averages over some of them; half as much again as where
    training started, in two of three logs, is a run that undoes what the model could.
    """
    losses = history.values("loss")
    if len(losses) < 4 or not all(map(math.isfinite, losses)):
        return None
    first, now = losses[0], statistics.median(losses[-3:])
    if now < 1.5 * first or now < first + 0.2:
        return None
    text = f"the loss has risen from {number(first)} to {number(now)}: the learning rate is likely too high"
    return Notice(history.step, "loss_rises", "warning", text, size=now - first)


def gradient_spikes(history: History) -> Notice | None:
    """The gradient norm of a step is 10 times the median of up to 50 steps before it, of at least 20.

    Norms of neighbouring steps differ by a factor of two or three; ten is far beyond what their spread
    explains, and most often a few odd rows (a wrong label, a text in another language, garbage).
    """
    *before, now = history.norms or [0.0]
    if len(before) < 20 or not math.isfinite(now):
        return None
    usual = statistics.median(before[-50:])
    if usual <= 0 or now < 10 * usual:
        return None
    text = (
        f"gradient norm {number(now)} is {now / usual:.0f} times the median of the last {len(before[-50:])}"
    )
    return Notice(history.step, "gradient_spikes", "warning", text, size=now / usual)


def chosen_falls(history: History) -> Notice | None:
    """Chosen completions have become less likely, by 3 nats and 5 % of what they had, while the margin grows.

    Of the last 3 logs' mean. Pairs can be told apart by making both completions less likely, the rejected
    one more so; what the model then says instead is neither of them (arXiv:2410.08847). A few nats over a
    whole answer are usual; 5 % is about where answers begin to change.
    """
    logps, margins = history.values("logps/chosen"), history.values("rewards/margins")
    if len(logps) < 4 or len(margins) < 4 or mean(margins[-3:]) <= margins[0]:
        return None
    start = mean(logps[:3])
    rewards = history.values("rewards/chosen")
    if history.beta and rewards:
        fall = -mean(rewards[-3:]) / history.beta  # against the reference: the same rows, so without noise
    else:
        fall = start - mean(logps[-3:])
    if fall < max(3.0, 0.05 * abs(start)):
        return None
    text = (
        f"chosen answers are {number(fall)} nats less likely than at the start, while the margin grows: "
        "lower learning_rate or raise beta, or add an SFT term"
    )
    return Notice(history.step, "chosen_falls", "warning", text, size=fall)


def margin_explodes(history: History) -> Notice | None:
    """The mean margin of the last 3 logs is above 10.

    At 10 the model calls a pair right with odds of e^10, 22,000 to 1, and its gradient is as good as zero:
    what still moves is how far the model goes from where it was.
    """
    margins = history.values("rewards/margins", "margin")
    if len(margins) < 3 or (now := mean(margins[-3:])) <= 10:
        return None
    text = (
        f"the margin is {number(now)}, where 10 is as good as certain: train shorter, or lower learning_rate"
    )
    return Notice(history.step, "margin_explodes", "warning", text, size=now)


def evaluation_turns(history: History) -> Notice | None:
    """The last 2 evaluation losses are above the best one, the last by 2 % of it or more.

    One worse evaluation is chance; two in a row, and a rise that one would see in a plot, are overfitting.
    """
    losses = [log["loss"] for log in history.evaluations if isinstance(log.get("loss"), float | int)]
    if len(losses) < 3 or not all(map(math.isfinite, losses)):
        return None
    best = min(losses)
    rise = losses[-1] - best
    if min(losses[-2:]) <= best or rise < max(0.02 * abs(best), 1e-4):
        return None
    step = history.evaluations[losses.index(best)]["step"]
    text = (
        f"the evaluation loss is {number(losses[-1])}; it was best at step {step}, {number(best)}: the model "
        "begins to learn its rows by heart"
    )
    return Notice(history.step, "evaluation_turns", "warning", text, size=rise)


def nothing_moves(history: History) -> Notice | None:
    """Half or more of the trained tensors that are looked at have not changed at all since step 1.

    Looked at once, after a tenth of the run, 2 to 20 steps beyond the warmup: the B factors of an adapter,
    else the weight matrices, without embeddings. A step of any optimizer changes what has a gradient.
    """
    if history.unmoved is None:
        return None
    still, of = history.unmoved
    if not of or 2 * still < of:
        return None
    text = f"{still} of {of} trained matrices have not changed: look at learning_rate and at what is trained"
    return Notice(history.step, "nothing_moves", "error", text, size=still / of)


def perfect_from_the_start(history: History) -> Notice | None:
    """The accuracy is 0.99 or more in all of the first 3 logs after the first, over 50 rows or more.

    Preferences that people disagree on are not learned in a few steps. What is can be read off the surface:
    a length, a phrase, a label that leaks. The first log is left out, where nothing is learned yet.
    """
    known = history.values("rewards/accuracies", "accuracy")
    if len(known) != 4 or min(known[1:]) < 0.99:
        return None
    if (history.logs[-1]["step"] - history.logs[0]["step"]) * history.rows_per_step < 50:
        return None
    text = (
        "chosen and rejected are told apart from the first steps on: what gives them away? (burnish inspect)"
    )
    return Notice(history.step, "perfect_from_the_start", "note", text)


def few_trained_tokens(history: History) -> Notice | None:
    """Less than 2 % of the tokens are trained.

    The rest is read in every step, and only as context: at 2 % a step costs fifty times what its trained
    tokens cost alone, and a batch says little.
    """
    if history.trained_share is None or history.trained_share >= 0.02:
        return None
    share = units.share(history.trained_share)
    text = f"only {share} of the tokens are trained: are these all of the answers? (burnish inspect)"
    return Notice(history.step, "few_trained_tokens", "note", text)


def learning_rate_is_zero(history: History) -> Notice | None:
    """The learning rate is 0 in 3 logs in a row, after the warmup and before the last tenth of the run.

    Schedules start and end at 0; in between it trains nothing.
    """
    last = history.logs[-3:]
    inside = history.step > history.warmup_steps and history.step < 0.9 * history.steps
    if len(last) < 3 or not inside or any(log.get("learning_rate") != 0 for log in last):
        return None
    return Notice(
        history.step, "learning_rate_is_zero", "error", "the learning rate is 0: nothing is trained"
    )


def kl_is_zero(history: History) -> Notice | None:
    """The KL estimate of KTO was 0 in the last 10 logs, while rewards have moved by 0.05 or more.

    The estimate is cut off at 0, so a few zeros are chance. Ten say that it is negative throughout: answers
    to other prompts have become less likely, and nothing measures the drift.
    """
    kl, rewards = history.values("kl"), history.values("rewards/chosen")
    if len(kl) < 10 or any(kl[-10:]) or not rewards or abs(rewards[-1]) < 0.05:
        return None
    text = (
        "the KL estimate is 0 in 10 logs: a larger batch measures it better, or loss_type=apo_zero_unpaired"
    )
    return Notice(history.step, "kl_is_zero", "note", text)


def entropy_collapses(history: History) -> Notice | None:
    """The entropy of the tokens is below a fifth of the first one logged, and below 0.2 nats.

    A model that learns a format becomes surer, by a half or so; below 0.2 nats nearly every token is certain,
    and sampling gives one answer only.
    """
    known = history.values("entropy") or [log["entropy"] for log in history.evaluations if "entropy" in log]
    if len(known) < 3 or known[-1] >= 0.2 or known[-1] >= 0.2 * known[0]:
        return None
    text = (
        f"the entropy fell from {number(known[0])} to {number(known[-1])} nats: answers have become all alike"
    )
    return Notice(history.step, "entropy_collapses", "warning", text, size=1 / max(known[-1], 1e-6))


Rule = Callable[[History], Notice | None]

RULES: Sequence[Rule] = (
    loss_not_finite,
    loss_rises,
    gradient_spikes,
    chosen_falls,
    margin_explodes,
    evaluation_turns,
    nothing_moves,
    perfect_from_the_start,
    few_trained_tokens,
    learning_rate_is_zero,
    kl_is_zero,
    entropy_collapses,
)

OF_A_STEP: Sequence[Rule] = (gradient_spikes,)
"""Those that are asked after every step; the others after a log or an evaluation."""
