"""Records what TRL makes of fixed log-probabilities: its DPO losses with their options, value and gradient.

    python -m benchmarks.trl_losses        # with the pinned TRL; writes tests/losses/trl_1_16.json

TRL's own `compute_loss` runs on a stand-in for the model that hands out the given numbers; nothing of it
is written anew here. `tests/losses/test_trl.py` compares the losses of this library with the record, so the
tests run without TRL.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

FILE = Path(__file__).parent.parent / "tests" / "losses" / "trl_1_16.json"

LENGTHS = [(4, 2), (3, 6), (5, 1), (2, 2), (7, 3)]
"""Tokens of chosen and rejected, for each pair."""

PROMPT = 2

SMOOTHED = {"label_smoothing": 0.1}
PLAIN = ["sigmoid", "hinge", "ipo", "nca_pair", "bco_pair", "sppo_hard", "aot", "aot_unpaired"]
PLAIN += ["apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm"]
OF_MARGIN = ["sigmoid", "hinge", "discopop"]
DIVERGENCES = ["forward_kl", "js_divergence", "alpha_divergence"]

CASES: list[dict[str, Any]] = [
    *({"loss_type": [name]} for name in PLAIN),
    *({"loss_type": [name], **SMOOTHED} for name in ("exo_pair", "robust", "aot", "aot_unpaired")),
    {"loss_type": ["discopop"], "discopop_tau": 0.4},
    {"loss_type": ["sigmoid"], "beta": 0.5},
    {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]},
    *({"loss_type": [name], "f_divergence_type": kind} for name in OF_MARGIN for kind in DIVERGENCES),
    *({"loss_type": ["robust"], "f_divergence_type": kind, **SMOOTHED} for kind in DIVERGENCES),
    {
        "loss_type": ["sigmoid"],
        "f_divergence_type": "alpha_divergence",
        "f_alpha_divergence_coef": -0.5,
    },
    *({"loss_type": [name], "ld_alpha": 0.3} for name in ("sigmoid", "ipo", "bco_pair")),
    *({"loss_type": [name], "use_weighting": True} for name in ("sigmoid", "ipo", "apo_zero")),
    {"loss_type": ["sigmoid", "bco_pair"], "use_weighting": True, "ld_alpha": 0.5},
]

DEFAULTS: dict[str, Any] = {
    "beta": 0.1,
    "loss_weights": None,
    "label_smoothing": 0.0,
    "discopop_tau": 0.05,
    "f_divergence_type": "reverse_kl",
    "f_alpha_divergence_coef": 0.5,
    "ld_alpha": None,
    "use_weighting": False,
}


def main() -> None:
    import trl

    inputs = fixed_inputs()
    cases = [{"options": options, **run(options, inputs)} for options in CASES]
    head = {"version": trl.__version__, "inputs": inputs}
    lines = ",\n".join(map(json.dumps, cases))
    FILE.write_text(f'{json.dumps(head)[:-1]}, "cases": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{len(cases)} cases in {FILE}")


def fixed_inputs() -> dict[str, list[list[float]]]:
    """Of every branch (chosen, rejected, chosen, ...): log-probabilities of its tokens, and log Σ p²."""
    generator = torch.Generator().manual_seed(0)

    def draw(low: float, high: float) -> list[list[float]]:
        lengths = [length for pair in LENGTHS for length in pair]
        values = [torch.rand(n, generator=generator, dtype=torch.float64) for n in lengths]
        return [[round(low + (high - low) * float(v), 3) for v in row] for row in values]

    return {"policy": draw(-3, -0.1), "reference": draw(-3, -0.1), "log_sum_squares": draw(-2, -0.1)}


def run(options: dict[str, Any], inputs: dict[str, list[list[float]]]) -> dict[str, Any]:
    """TRL's loss of all pairs as one batch, and its gradient for every token of every branch."""
    # TRL's alpha-divergence has no rule for float64.
    dtype = torch.float32 if options.get("f_divergence_type") == "alpha_divergence" else torch.float64
    policy = [torch.tensor(row, dtype=dtype, requires_grad=True) for row in inputs["policy"]]
    trainer = bare_trainer(options, padded([torch.tensor(r, dtype=dtype) for r in inputs["reference"]]))
    squares = padded([torch.tensor(row, dtype=dtype) for row in inputs["log_sum_squares"]])
    mask = nn.functional.pad(padded([torch.ones(len(row)) for row in policy]), (1, 0)).long()
    batch = {
        "input_ids": torch.ones_like(mask),
        "attention_mask": torch.ones_like(mask),
        "completion_mask": mask,
    }
    loss = trainer.compute_loss(Handout(padded(policy), squares), batch)
    gradient = torch.autograd.grad(loss, policy)
    return {"loss": loss.item(), "gradient": [part.tolist() for part in gradient]}


def padded(rows: list[Tensor]) -> Tensor:
    """Rows of chosen and rejected by turns -> all chosen, then all rejected, after a prompt of zeros."""
    ordered = rows[0::2] + rows[1::2]
    return nn.functional.pad(nn.utils.rnn.pad_sequence(ordered, batch_first=True), (PROMPT - 1, 0))


class Handout(nn.Module):
    """Answers like TRL's model with its fused head, with given numbers."""

    is_gradient_checkpointing = False

    def __init__(self, logprobs: Tensor, log_sum_squares: Tensor | None = None) -> None:
        super().__init__()
        zeros = torch.zeros_like(logprobs)
        self.answer = SimpleNamespace(
            log_probs=logprobs,
            log_sum_sq_probs=log_sum_squares,
            entropy=zeros,
            mean_logits=zeros,
            is_top1=zeros.bool(),
        )

    def forward(self, **inputs: Any) -> Any:
        return self.answer


def bare_trainer(options: dict[str, Any], reference: Tensor) -> Any:
    """A DPOTrainer of TRL with all that its loss reads, and nothing else."""
    from collections import defaultdict

    from trl import DPOTrainer

    options = DEFAULTS | options
    trainer = object.__new__(DPOTrainer)
    same = lambda value: value
    state = {
        **options,
        "args": SimpleNamespace(**options, gradient_checkpointing_kwargs=None),
        "loss_types": options["loss_type"],
        "loss_weights": options["loss_weights"] or [1.0] * len(options["loss_type"]),
        "accelerator": SimpleNamespace(device=torch.device("cpu"), gather=same, gather_for_metrics=same),
        "model": Handout(torch.zeros(1)),
        "ref_model": Handout(reference),
        "aux_loss_enabled": False,
        "precompute_ref_logps": False,
        "_metrics": {"train": defaultdict(list), "eval": defaultdict(list)},
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    for name, value in state.items():
        setattr(trainer, name, value)
    return trainer


if __name__ == "__main__":
    main()
