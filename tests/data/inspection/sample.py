"""An inspection as a person with 626 collected answers would get it, numbers made up."""

from __future__ import annotations

import math
import random

from burnish.data.inspection.inspection import Finding, Fit, Inspection, Lengths, ShownRow

BAKERY = """<|im_start|>system
You help the customers of a bakery.<|im_end|>
<|im_start|>user
Do you have rye bread on Sunday, and until when are you open?<|im_end|>
<|im_start|>assistant
"""
LOAF = "We bake rye bread on Sunday morning, and are open until two. Shall I set a loaf aside?<|im_end|>"
KEYS = {"0": 0.0, "0.1": 0.1, "0.25": 0.25, "0.5": 0.5, "0.75": 0.75, "0.9": 0.9, "0.99": 0.99, "1": 1.0}


def lengths(median: int, count: int, seed: int, columns: int = 24) -> Lengths:
    """Lengths spread as those of texts are: about log-normal, with a long tail."""
    draw = random.Random(seed)
    values = sorted(max(3, round(draw.lognormvariate(math.log(median), 0.55))) for _ in range(count))
    step = max(1, math.ceil((values[-1] + 1) / columns))
    starts = range(0, step * columns, step)
    bins = [(start, start + step, sum(start <= v < start + step for v in values)) for start in starts]
    return Lengths("tokens", {key: values[int(q * (count - 1))] for key, q in KEYS.items()}, bins)


def finding(
    check: str, severity, rows: list[int], meaning: str, fix: str, found=(), ids: bool = True
) -> Finding:
    return Finding(
        check, severity, rows, [f"q-{1000 + row}" for row in rows] if ids else [], meaning, fix, [*found]
    )


def sample() -> Inspection:
    """Preference rows with faults, rows left out, warnings and notes, and two rows shown."""
    return Inspection(
        source="/data/shop/customer_answers.jsonl",
        family="preference",
        format="preference, from the columns prompt = question, chosen = good_answer, rejected = bad_answer; "
        "not used: id, app, votes",
        read=626,
        kept=590,
        evaluation="held_out.jsonl, 80 rows",
        notes=["a sample of 626 rows of 5,000"],
        columns={"question": 1.0, "good_answer": 1.0, "bad_answer": 0.995, "id": 1.0, "app": 0.31},
        used=["question", "good_answer", "bad_answer"],
        tokenizer="SmolLM2-135M-Instruct",
        lengths={
            "whole": lengths(310, 590, 1),
            "prompt": lengths(120, 590, 2),
            "chosen": lengths(95, 590, 3),
            "rejected": lengths(80, 590, 4),
        },
        fit=Fit(max_length=768, whole=561, cut=26, dropped=3),
        trained_tokens=108_412,
        tokens=214_903,
        trained_per_row=lengths(180, 590, 5),
        stop_token="<|im_end|>",
        stop_trained=577,
        shares={"chosen longer": 0.71, "equally long": 0.019},
        findings=[
            finding(
                "prompt seen before",
                "note",
                list(range(200, 215)),
                "The prompt stands in several rows.",
                "Nothing has to be done.",
                ids=False,
            ),
            finding(
                "chosen equals rejected",
                "dropped",
                [18, 305, 508, 509, 510],
                "The two answers are the same, so nothing can be preferred.",
                "Give two answers, or leave the row out.",
                ["'Yes.'", "'The tone is friendly.'"],
            ),
            finding(
                "rejected is null",
                "fault",
                [42, 76, 112],
                "A pair needs both answers.",
                "Fill the column, or run with --on_bad_row skip.",
                ["None", "None"],
            ),
            finding(
                "duplicate row",
                "warning",
                [*range(30, 41), 88],
                "The same row is trained more than once in every epoch.",
                "`burnish inspect --fix OUT` keeps the first of them.",
            ),
            finding(
                "empty completion",
                "dropped",
                [17, 108, 113, 432, 484, 563],
                "There is nothing to learn from an empty answer.",
                "Write the answer, or leave the row out.",
                ["''", "'   '"],
            ),
        ],
        shown=[
            ShownRow(
                row=3,
                origin="customer_answers.jsonl, row 3 (id q-1003)",
                prompt=[(BAKERY, False)],
                completions=[[(LOAF, True), ("\n", False)], [("Yes.<|im_end|>", True), ("\n", False)]],
                names=["chosen", "rejected"],
            ),
            ShownRow(
                row=4,
                origin="customer_answers.jsonl, row 4 (id q-1004)",
                prompt=[
                    ("<|im_start|>user\nکیا آپ کے پاس روٹی ہے؟<|im_end|>\n<|im_start|>assistant\n", False)
                ],
                completions=[
                    [("جی ہاں، صبح سات بجے سے۔<|im_end|>", True)],
                    [("No idea 🤷.<|im_end|>", True)],
                ],
                names=["chosen", "rejected"],
            ),
        ],
    )
