"""DPO in a bare PyTorch loop: the parts of the library without its engine.

    python examples/plain_loop.py MODEL PAIRS.jsonl

MODEL is a folder or hub id, PAIRS.jsonl has `prompt`, `chosen` and `rejected`. This is what
`burnish.DPOTrainer` does in every step, less checkpoints, logs and several machines.
"""

from __future__ import annotations

import sys

import torch

from burnish.data.example import TokenizedExample
from burnish.data.forest import Forest
from burnish.data.packing import micro_batches
from burnish.data.preparation.options import PreparationOptions
from burnish.data.preparation.prepare import prepare
from burnish.data.reading.formats import PREFERENCE
from burnish.data.sources.source import load_source
from burnish.losses.margin import sigmoid
from burnish.losses.output import Mean
from burnish.losses.preference import PairScores
from burnish.models.certify import certify
from burnish.models.load import load_model, load_tokenizer
from burnish.models.score import score


def main(
    model_name: str, pairs_file: str, steps: int = 10, batch: int = 8, tokens: int = 2048
) -> list[float]:
    torch.manual_seed(0)
    model, tokenizer = load_model(model_name, "causal"), load_tokenizer(model_name)
    print(certify(model).line())

    # Rows -> token ids, once.
    rows, report = prepare(load_source(pairs_file), PREFERENCE, tokenizer, PreparationOptions())
    print(report)
    examples = [TokenizedExample.from_row(row) for row in rows]

    # The reference is the model as it is now, so every pair is scored before the first step.
    reference = {}
    with torch.no_grad():
        for example in examples:
            forest = Forest.pack([example])
            reference[example.row] = forest.per_branch(score(model, forest).logprob)

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    losses = []
    for step in range(steps):
        chosen = [examples[(step * batch + i) % len(examples)] for i in range(batch)]
        total = 0.0
        for micro_batch in micro_batches(chosen, budget=tokens):
            forest = Forest.pack(micro_batch)
            policy = forest.per_branch(score(model, forest).logprob)  # float[B]
            pair = PairScores.of(
                policy, torch.cat([reference[e.row] for e in micro_batch]), forest.trained_per_branch
            )
            # a sum, divided once by the step's count
            loss = Mean.of(sigmoid(0.1 * pair.margin)).total / batch
            loss.backward()
            total += loss.item()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
        print(f"step {step + 1}: loss {total:.4f}")
    return losses


if __name__ == "__main__":
    main(*sys.argv[1:3])
