"""Token-level likelihood losses of SFT. Pure functions: float[N] log-probabilities -> float[N] losses."""

from __future__ import annotations

from torch import Tensor


def nll(logprob: Tensor) -> Tensor:  # float[N]
    """-log p.

    Maximum likelihood (cross entropy), as in the fine-tuning of InstructGPT, arXiv:2203.02155.

    Use by default in fine-tuning; beside a preference loss, where its name is sft, to keep chosen completions
    likely.
    """
    return -logprob


def dft(logprob: Tensor) -> Tensor:  # float[N]
    """-sg(p) * log p, with sg the stop-gradient.

    Dynamic fine-tuning, arXiv:2508.05629.

    Use where fine-tuning should disturb the model less: tokens it finds unlikely count for less.
    """
    return -logprob.detach().exp() * logprob


LIKELIHOOD_LOSSES = {"nll": nll, "dft": dft}
