"""Token-level likelihood losses of SFT. Pure functions: float[N] log-probabilities -> float[N] losses."""

from __future__ import annotations

from torch import Tensor


def nll(logprob: Tensor) -> Tensor:  # float[N]
    """-log p.

    Maximum likelihood (cross entropy).
    """
    return -logprob


def dft(logprob: Tensor) -> Tensor:  # float[N]
    """-sg(p) * log p, with sg the stop-gradient.

    Dynamic fine-tuning, arXiv:2508.05629.
    """
    return -logprob.detach().exp() * logprob


LIKELIHOOD_LOSSES = {"nll": nll, "dft": dft}
