"""What the rules of thumb say of made-up histories, and that the docs have them all."""

import inspect
import math
import re
from pathlib import Path

import pytest

from burnish.engine import rules
from burnish.engine.rules import RULES, History


def logs(**series):
    """Logs at steps 10, 20, ... of metrics with a value each."""
    names = {name.replace("__", "/"): values for name, values in series.items()}
    count = len(next(iter(names.values())))
    return [
        {"step": 10 * (n + 1), **{name: values[n] for name, values in names.items()}} for n in range(count)
    ]


def history(**more):
    return History(**({"step": 40, "steps": 100, "rows_per_step": 8} | more))


RISING = (2.0, 2.1, 3.2, 3.4, 3.3)
FALLING_CHOSEN = {"rewards__margins": (0.0, 0.2, 0.4, 0.6), "logps__chosen": (-50.0,) * 4}

SPEAKS = {
    "loss_not_finite": history(logs=logs(loss=(1.0, math.nan))),
    "loss_rises": history(logs=logs(loss=RISING)),
    "gradient_spikes": history(norms=[2.5] * 30 + [31.0]),
    "chosen_falls": history(logs=logs(**FALLING_CHOSEN, rewards__chosen=(0.0, -0.3, -0.3, -0.4)), beta=0.1),
    "margin_explodes": history(logs=logs(rewards__margins=(2.0, 9.0, 12.0, 13.0))),
    "evaluation_turns": history(evaluations=logs(loss=(1.30, 1.21, 1.23, 1.26))),
    "nothing_moves": history(unmoved=(7, 14)),
    "perfect_from_the_start": history(logs=logs(rewards__accuracies=(0.6, 0.99, 1.0, 1.0))),
    "few_trained_tokens": history(trained_share=0.013),
    "learning_rate_is_zero": history(logs=logs(learning_rate=(1e-6, 0.0, 0.0, 0.0))),
    "kl_is_zero": history(logs=logs(kl=(0.0,) * 10, rewards__chosen=(0.1,) * 10)),
    "entropy_collapses": history(logs=logs(entropy=(2.0, 1.0, 0.15))),
}

SILENT = {
    "loss_not_finite": [history(), history(logs=logs(loss=(math.nan, 1.0)))],
    "loss_rises": [
        history(logs=logs(loss=(2.0, 9.0, 2.1, 2.0))),  # one odd log
        history(logs=logs(loss=(0.1, 0.2, 0.2, 0.2))),  # too little to matter
        history(logs=logs(loss=(2.0, 3.2, 3.2))),  # too early
    ],
    "gradient_spikes": [
        history(norms=[2.5] * 30 + [24.0]),
        history(norms=[2.5] * 19 + [99.0]),
        history(norms=[0.0] * 30 + [1.0]),
        history(norms=[2.5] * 30 + [math.inf]),
    ],
    "chosen_falls": [
        history(logs=logs(**FALLING_CHOSEN, rewards__chosen=(0.0, -0.2, -0.2, -0.2)), beta=0.1),  # 2 nats
        history(logs=logs(rewards__margins=(0.5, 0.4, 0.4, 0.4), logps__chosen=(-50.0, -50.0, -50.0, -90.0))),
        history(logs=logs(rewards__margins=(0.0, 0.2, 0.4, 0.6), logps__chosen=(-500.0, -500, -510, -512))),
    ],
    "margin_explodes": [history(logs=logs(rewards__margins=(9.0, 9.0, 11.0)))],
    "evaluation_turns": [
        history(evaluations=logs(loss=(1.30, 1.21, 1.25))),  # once
        history(evaluations=logs(loss=(1.30, 1.21, 1.22, 1.22))),  # by less than 2 %
        history(evaluations=logs(loss=(1.30, 1.21, 1.26, 1.20))),
    ],
    "nothing_moves": [history(), history(unmoved=(0, 14)), history(unmoved=(6, 14)), history(unmoved=(0, 0))],
    "perfect_from_the_start": [
        history(logs=logs(rewards__accuracies=(0.6, 0.9, 1.0, 1.0))),
        history(logs=logs(rewards__accuracies=(0.6, 1.0, 1.0, 1.0)), rows_per_step=1),  # 30 rows
        history(logs=logs(rewards__accuracies=(0.6, 0.7, 1.0, 1.0, 1.0))),  # later
    ],
    "few_trained_tokens": [history(), history(trained_share=0.02)],
    "learning_rate_is_zero": [
        history(logs=logs(learning_rate=(0.0, 1e-6, 0.0, 0.0))),
        history(logs=logs(learning_rate=(0.0, 0.0, 0.0, 0.0)), warmup_steps=60),
        history(logs=logs(learning_rate=(0.0, 0.0, 0.0, 0.0)), step=95),
    ],
    "kl_is_zero": [
        history(logs=logs(kl=(0.0,) * 9 + (0.1,), rewards__chosen=(0.1,) * 10)),
        history(logs=logs(kl=(0.0,) * 10, rewards__chosen=(0.01,) * 10)),
    ],
    "entropy_collapses": [
        history(logs=logs(entropy=(2.0, 1.0, 0.25))),
        history(logs=logs(entropy=(0.3, 0.2, 0.15))),
    ],
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_speaks_where_it_should(rule):
    notice = rule(SPEAKS[rule.__name__])
    assert notice is not None and notice.rule == rule.__name__ and notice.step == 40
    assert notice.severity in ("note", "warning", "error") and notice.size > 0
    assert len(notice.text) < 160 and "\n" not in notice.text


@pytest.mark.parametrize(
    ("rule", "case"),
    [(rule, n) for rule in RULES for n in range(len(SILENT[rule.__name__]))],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_rule_is_silent_otherwise(rule, case):
    assert rule(SILENT[rule.__name__][case]) is None


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_is_silent_before_anything_is_known(rule):
    assert rule(History()) is None


def test_what_is_said():
    said = {name: getattr(rules, name)(known) for name, known in SPEAKS.items()}
    assert said["gradient_spikes"].text == "gradient norm 31.00 is 12 times the median of the last 30"
    assert said["loss_rises"].text.startswith("the loss has risen from 2.000 to 3.300")
    assert said["evaluation_turns"].text.startswith(
        "the evaluation loss is 1.260; it was best at step 20, 1.210"
    )
    assert said["chosen_falls"].text.startswith("chosen answers are 3.333 nats less likely")
    assert said["chosen_falls"].size == pytest.approx(10 / 3)


def test_without_a_reference_the_fall_is_that_of_the_logged_values():
    known = history(
        logs=logs(rewards__margins=(0.0, 0.2, 0.4, 0.6), logps__chosen=(-50.0, -50.0, -60.0, -70.0))
    )
    assert rules.chosen_falls(known).size == pytest.approx(20 / 3)


DOCS = Path(__file__).parent.parent.parent / "docs" / "training.md"


def test_the_docs_have_every_rule_as_the_code_has_it():
    table = dict(re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", DOCS.read_text(), re.MULTILINE))
    first_lines = {rule.__name__: inspect.getdoc(rule).split("\n\n")[0].replace("\n", " ") for rule in RULES}
    assert table == first_lines
