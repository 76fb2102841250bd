"""Records what TRL makes of fixed log-probabilities beside DPO: KTO, ORPO, CPO, TPO, value and gradient.

    python -m benchmarks.trl_other_losses      # with the pinned TRL; writes tests/losses/trl_1_16_other.json

TRL's own functions run on the given numbers. `tests/losses/test_trl_other.py` compares the losses of this
library with the record, so the tests run without TRL.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from benchmarks.trl_losses import Handout

FILE = Path(__file__).parent.parent / "tests" / "losses" / "trl_1_16_other.json"

INPUTS: dict[str, list[float]] = {
    "chosen": [-0.41, -1.92, -0.03, -2.75],
    "rejected": [-0.88, -1.13, -1.6, -2.71],
    "gold": [-0.2, -0.91, -1.37, -0.66],
    "policy": [-3.1, -7.4, -5.2, -0.9],
    "reference": [-2.6, -8.8, -5.9, -1.4],
    "label": [1, 0, 0, 1],
    "stranger": [-12.0, -9.1, -14.2, -11.5],
    "stranger_reference": [-12.8, -9.9, -13.9, -12.7],
}
"""Log-probabilities of completions; those of a pair are per token, where the loss takes them so."""

CASES: list[tuple[str, dict[str, Any]]] = [
    ("orpo", {"beta": 0.3}),
    *(
        ("cpo", {"loss_type": name, "beta": 0.7, "alpha": alpha, "label_smoothing": 0.1, "simpo_gamma": 0.4})
        for name in ("sigmoid", "hinge", "ipo", "simpo")
        for alpha in (0.0, 0.25)
    ),
    *(
        (
            "tpo",
            {"loss_type": name, "beta": 0.7, "label_smoothing": 0.1, "tpo_l_gamma": 0.4, "tpo_alpha": 0.6},
        )
        for name in ("sigmoid", "hinge", "ipo", "tpo-l")
    ),
    *(
        ("kto", {"loss_type": name, "beta": 0.2, "desirable_weight": 1.5, "undesirable_weight": 0.7})
        for name in ("kto", "apo_zero_unpaired")
    ),
]
READS = {
    "orpo": ("chosen", "rejected"),
    "cpo": ("chosen", "rejected"),
    "tpo": ("chosen", "rejected", "gold"),
    "kto": ("policy",),
}
"""What a method's loss has a gradient for."""


def main() -> None:
    import trl

    cases = []
    for method, options in CASES:
        values = {name: torch.tensor(INPUTS[name], dtype=torch.float64) for name in INPUTS}
        leaves = [values[name].requires_grad_() for name in READS[method]]
        loss = RUN[method](options, values)
        gradient = [part.tolist() for part in torch.autograd.grad(loss, leaves)]
        cases.append({"method": method, "options": options, "loss": loss.item(), "gradient": gradient})
    head = {"version": trl.__version__, "inputs": INPUTS}
    lines = ",\n".join(map(json.dumps, cases))
    FILE.write_text(f'{json.dumps(head)[:-1]}, "cases": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{len(cases)} cases in {FILE}")


def orpo(options: dict[str, Any], values: dict[str, Tensor]) -> Tensor:
    from trl.experimental.orpo import ORPOTrainer

    trainer = bare(ORPOTrainer, options)
    return -trainer.odds_ratio_loss(values["chosen"], values["rejected"])[0].mean()


def cpo(options: dict[str, Any], values: dict[str, Tensor]) -> Tensor:
    from trl.experimental.cpo import CPOTrainer

    return bare(CPOTrainer, options).cpo_loss(values["chosen"], values["rejected"])[0].mean()


def tpo(options: dict[str, Any], values: dict[str, Tensor]) -> Tensor:
    """Completions of one token, from a vocabulary of two of which it is the first."""
    from trl.experimental.tpo import TPOTrainer

    logprob = torch.cat([values[name] for name in READS["tpo"]])
    logits = torch.stack([logprob, torch.log1p(-logprob.exp())], -1)[:, None].expand(-1, 2, -1)
    ids = torch.zeros(len(logprob), 2, dtype=torch.long)
    batch = {"input_ids": ids, "attention_mask": ids + 1, "completion_mask": torch.ones_like(ids)}
    model = Handout(logprob)
    model.answer.logits = logits
    return bare(TPOTrainer, options)._compute_loss(model, batch, False)


def kto(options: dict[str, Any], values: dict[str, Tensor]) -> Tensor:
    """Completions of one token; those beside another prompt are marked by a token of their own."""
    from trl import KTOTrainer

    ids = torch.zeros(len(values["policy"]), 2, dtype=torch.long)
    masks = {
        name: torch.tensor([[0, 1]]).expand_as(ids) for name in ("completion_mask", "KL_completion_mask")
    }
    batch = {"input_ids": ids, "KL_input_ids": ids + 1, "label": values["label"].bool(), **masks}
    batch |= {"attention_mask": ids + 1, "KL_attention_mask": ids + 1}
    trainer = bare(KTOTrainer, options)
    trainer.calculate_KL = options["loss_type"] == "kto"
    trainer.ref_model = TwoAnswers(values["reference"], values["stranger_reference"])
    return trainer._compute_loss(TwoAnswers(values["policy"], values["stranger"]), batch, False)


class TwoAnswers(Handout):
    """Answers with one set of numbers or another, by the first token."""

    def __init__(self, own: Tensor, strangers: Tensor) -> None:
        super().__init__(own[:, None])
        self.strangers = Handout(strangers[:, None])

    def forward(self, **inputs: Any) -> Any:
        return self.strangers() if inputs["input_ids"][0, 0] else self.answer


def bare(trainer_class: Any, options: dict[str, Any]) -> Any:
    """A trainer of TRL with all that its loss reads, and nothing else."""
    trainer = object.__new__(trainer_class)
    same = lambda value: value
    state = {
        **options,
        "args": SimpleNamespace(**options, gradient_checkpointing_kwargs=None),
        "accelerator": SimpleNamespace(device=torch.device("cpu"), gather=same, gather_for_metrics=same),
        "model": Handout(torch.zeros(1)),
        "aux_loss_enabled": False,
        "precompute_ref_logps": False,
        "_metrics": {"train": defaultdict(list), "eval": defaultdict(list)},
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    for name, value in state.items():
        setattr(trainer, name, value)
    return trainer


RUN = {"orpo": orpo, "cpo": cpo, "tpo": tpo, "kto": kto}

if __name__ == "__main__":
    main()
