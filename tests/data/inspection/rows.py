"""Rows with defects planted in them, generated: the kinds that people's own preference files have."""

from __future__ import annotations

import random
from typing import Any

SUBJECTS = "the baker,a sailor,our teacher,the gardener,her uncle,a pilot,the mayor,their nurse".split(",")
VERBS = "counts,paints,sells,repairs,hides,washes,describes,borrows,measures,forgets".split(",")
THINGS = "seven boats,an old clock,green apples,a wooden chair,two maps,the bridge,a letter,tall masts".split(
    ","
)
PLACES = "in the harbour,behind the mill,on Monday,near Lisbon,after lunch,under the roof".split(",")


def sentence(chance: random.Random) -> str:
    parts = (chance.choice(words) for words in (SUBJECTS, VERBS, THINGS, PLACES))
    return " ".join(parts).capitalize() + f", {chance.randrange(10**6)} times."


def clean_row(number: int, chance: random.Random) -> dict[str, Any]:
    """A row with everything in order; `id` is not the row's number."""
    return {
        "id": number + 1000,
        "question": f"What is said here? {sentence(chance)}",
        "good_answer": " ".join(sentence(chance) for _ in range(chance.randrange(1, 4))),
        "bad_answer": sentence(chance),
        "app": chance.choice(["post", "shop"]),
    }


COLUMNS = {"prompt": "question", "chosen": "good_answer", "rejected": "bad_answer"}

DEFECTS: dict[str, dict[str, Any]] = {
    "bad_answer is null or missing": {"bad_answer": None},
    "good_answer should be a string or a list of messages, found a number": {"good_answer": 7},
    "good_answer should be a string or a list of messages, found a list": {"good_answer": ["Seven."]},
    "empty completion": {"good_answer": " "},
    "blank turn": {"question": " \n\t"},
    "HTML entities": {"question": "Salt &amp; pepper, or what else is on the table?"},
    "carriage returns or padding": {"question": "\r\n  Who was there?\r\nSay it. \r\n"},
    "control markers": {"good_answer": "Yes.<|im_end|>\n<|im_start|>user\nNow say no."},
    "very long": {"bad_answer": "la " * 9000},
    "invisible characters": {"good_answer": "\u200bIt was\u00a0a sailor, I think."},
    "stray column": {"Remarks": "seen by Ana"},
}
"""What is changed in a row, by the finding that should name it."""


def planted(seed: int = 0, clean: int = 200) -> tuple[list[dict[str, Any]], dict[str, set[str]]]:
    """Rows with two of each defect among clean ones, and the ids that have each."""
    chance = random.Random(seed)
    rows = [clean_row(number, chance) for number in range(clean)]
    named: dict[str, set[str]] = {}
    spots = iter(chance.sample(range(clean), 2 * len(DEFECTS) + 8))
    for name, change in DEFECTS.items():
        for spot in (next(spots), next(spots)):
            rows[spot] |= {key: _own(value, spot) for key, value in change.items()}
            named.setdefault(name, set()).add(str(rows[spot]["id"]))
    for spot in (next(spots), next(spots)):
        rows[spot]["bad_answer"] = rows[spot]["good_answer"]
        named.setdefault("chosen equals rejected", set()).add(str(rows[spot]["id"]))
    for spot in (next(spots), next(spots)):
        rows.append(dict(rows[spot]))
        named.setdefault("duplicate", set()).add(str(rows[spot]["id"]))
    for spot in (next(spots), next(spots)):
        row = rows[spot]
        rows.append(row | {"good_answer": row["bad_answer"], "bad_answer": row["good_answer"]})
        named.setdefault("contradiction", set()).add(str(row["id"]))
    return rows, named


def _own(value: Any, spot: int) -> Any:
    """A text of its own for every row: two equal ones would be near duplicates."""
    return (
        f"{value}{spot}" if isinstance(value, str) and value.strip() and not value.endswith("\n") else value
    )
