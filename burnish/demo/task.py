"""The demo's task: turn a customer's note into a ticket, one line of JSON.

    note     "Hi, Maya here. Two lemon tarts for Saturday, please. Actually, make it half a dozen."
    ticket   {"name": "Maya", "item": "lemon tart", "count": 6, "day": "Saturday"}

Three kinds of rows come out of one seed:

    lessons       plain notes with their tickets, for supervised fine-tuning
    preferences   notes in which the customer changes their mind; the chosen ticket has the last word,
                  the rejected one what was said first (or chatter around the right ticket)
    held out      notes of both kinds for scoring, from customers who appear nowhere in training

Answers are graded by parsing them, so the score has no judge in it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

INSTRUCTION = (
    "Turn the customer's note into one line of JSON with the keys name, item, count and day. "
    "Reply with the JSON only."
)

TRAINING_NAMES = (
    "Maya Omar Ines Jonas Priya Lucas Amara Felix Greta Hugo Leila Marco Nadia Oscar Petra Quinn "
    "Rosa Samir Tessa Viktor Wanda Yusuf Zoe Anton Bianca Carlos Dora Emil Farah Gloria"
).split()
HELD_OUT_NAMES = "Hanna Ivan Jada Karim Lena Mateo Nora Otis Paula Rafael Sofia Theo".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
ITEMS = {  # singular: plural
    "lemon tart": "lemon tarts",
    "croissant": "croissants",
    "blueberry muffin": "blueberry muffins",
    "rye loaf": "rye loaves",
    "cinnamon roll": "cinnamon rolls",
    "apple pie": "apple pies",
    "cheese scone": "cheese scones",
    "sourdough loaf": "sourdough loaves",
    "chocolate cookie": "chocolate cookies",
    "carrot cake": "carrot cakes",
    "almond bun": "almond buns",
    "walnut brownie": "walnut brownies",
}
COUNTS = {  # how a count is said
    2: ("two", "2", "a couple of"),
    3: ("three", "3"),
    4: ("four", "4"),
    5: ("five", "5"),
    6: ("six", "half a dozen"),
    8: ("eight", "8"),
    10: ("ten", "10"),
    12: ("twelve", "a dozen"),
}

PLAIN_NOTES = (
    "Hi, {name} here. {Count} {items} for {day}, please.",
    "Hello! Could you set aside {count} {items}? I'll come by on {day}. Thanks, {name}.",
    "This is {name}. I'd like to pick up {count} {items} on {day}.",
    "{day} is my sister's birthday, so I need {count} {items}. It's for {name}.",
    "Order for {name}: {count} {items}, {day} morning if possible.",
    "Good morning, can I get {count} {items} on {day}? The name is {name}.",
    "My name is {name} and I love your {items}! Please keep {count} for me on {day}.",
    "We have guests on {day}. {Count} {items} would be great. Yours, {name}.",
    "{name} speaking. Please bake {count} {items} for us, we collect them {day} afternoon.",
    "Do you have {items} on {day}? If so, {count} for {name}, please.",
)

CORRECTIONS: dict[str, tuple[str, ...]] = {  # what is said after the note, by the field it changes
    "count": (
        "Actually, make it {count}.",
        "Oh wait, we will be more people: {count}, please.",
        "Sorry, I meant {count}.",
        "Hmm, let's say {count} instead.",
    ),
    "day": (
        "Actually, {day} suits me better.",
        "Oh wait, not then, {day}!",
        "Sorry, I meant {day}.",
        "Could we move that to {day} instead?",
    ),
    "item": (
        "Actually, make that {items}.",
        "Oh wait, my kids want {items} instead.",
        "Sorry, I meant {items}.",
        "No, let's change it to {items}.",
    ),
}

CHATTER = (
    "Sure! Here is the ticket: {ticket}",
    "{ticket} Let me know if you need anything else!",
    "Thank you for your order! {ticket}",
)


@dataclass(frozen=True)
class Order:
    """What a ticket says."""

    name: str
    item: str
    count: int
    day: str

    def ticket(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Note:
    """A customer's note, the order it amounts to, and what it said before the customer changed their mind."""

    text: str
    order: Order
    first: Order | None = None


@dataclass(frozen=True)
class Rows:
    """All rows of the demo. The held-out ones share no prompt and no customer with the training ones."""

    lessons: list[dict[str, Any]]  # prompt, completion
    preferences: list[dict[str, Any]]  # prompt, chosen, rejected
    held_out: list[dict[str, Any]]  # prompt, completion, expected
    held_out_preferences: list[dict[str, Any]]  # prompt, chosen, rejected


def make_rows(seed: int, lessons: int, preferences: int, held_out: int) -> Rows:
    """The given number of rows of each kind; the same seed gives the same rows."""
    rng = random.Random(seed)
    plain = distinct(lambda: plain_note(rng, TRAINING_NAMES))
    changed = distinct(lambda: changed_note(rng, TRAINING_NAMES))
    held_out_plain = distinct(lambda: plain_note(rng, HELD_OUT_NAMES))
    held_out_changed = distinct(lambda: changed_note(rng, HELD_OUT_NAMES))
    asked = [next(held_out_changed if i % 2 else held_out_plain) for i in range(held_out)]
    return Rows(
        lessons=[lesson(next(plain)) for _ in range(lessons)],
        preferences=[preference(next(changed), rng) for _ in range(preferences)],
        held_out=[lesson(note) | {"expected": note.order.ticket()} for note in asked],
        held_out_preferences=[preference(next(held_out_changed), rng) for _ in range(held_out)],
    )


def distinct(draw: Callable[[], Note]) -> Iterator[Note]:
    """Notes whose texts all differ."""
    seen: set[str] = set()
    while True:
        note = draw()
        if note.text not in seen:
            seen.add(note.text)
            yield note


def plain_note(rng: random.Random, names: list[str]) -> Note:
    order = Order(rng.choice(names), rng.choice(list(ITEMS)), rng.choice(list(COUNTS)), rng.choice(DAYS))
    return Note(say(rng.choice(PLAIN_NOTES), order, rng), order)


def changed_note(rng: random.Random, names: list[str]) -> Note:
    """A plain note, and a sentence after it that changes one field."""
    note = plain_note(rng, names)
    field = rng.choice(list(CORRECTIONS))
    choices: dict[str, list[Any]] = {"count": list(COUNTS), "day": DAYS, "item": list(ITEMS)}
    value = rng.choice([v for v in choices[field] if v != getattr(note.order, field)])
    order = replace(note.order, **{field: value})
    return Note(f"{note.text} {say(rng.choice(CORRECTIONS[field]), order, rng)}", order, first=note.order)


def say(template: str, order: Order, rng: random.Random) -> str:
    count = rng.choice(COUNTS[order.count])
    # "keep a couple of for me" is no English: `of` needs the item after it.
    if "{count} {items}" not in template and "{Count} {items}" not in template:
        count = count.removesuffix(" of")
    return template.format(
        name=order.name, items=ITEMS[order.item], count=count, Count=count.capitalize(), day=order.day
    )


def prompt_of(note: Note) -> list[dict[str, str]]:
    return [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": note.text}]


def reply(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def lesson(note: Note) -> dict[str, Any]:
    return {"prompt": prompt_of(note), "completion": reply(note.order.ticket())}


def preference(note: Note, rng: random.Random) -> dict[str, Any]:
    """Three in four rejected tickets hold what was said first; the others talk around the right one."""
    assert note.first is not None
    if rng.random() < 0.75:
        rejected = note.first.ticket()
    else:
        rejected = rng.choice(CHATTER).format(ticket=note.order.ticket())
    return {"prompt": prompt_of(note), "chosen": reply(note.order.ticket()), "rejected": reply(rejected)}


@dataclass(frozen=True)
class Grade:
    """What an answer is worth."""

    valid: bool  # one JSON object with the four keys and nothing around it
    fields: float  # share of the four fields that are right; 0 if not valid

    @property
    def right(self) -> bool:
        return self.fields == 1.0


def grade(answer: str, expected: str) -> Grade:
    """Compare an answer with the expected ticket, field by field. Key order and spacing do not matter."""
    wanted = json.loads(expected)
    try:
        given = json.loads(answer)
    except ValueError:
        return Grade(valid=False, fields=0.0)
    if not isinstance(given, dict) or set(given) != set(wanted):
        return Grade(valid=False, fields=0.0)
    same = [type(given[key]) is type(wanted[key]) and given[key] == wanted[key] for key in wanted]
    return Grade(valid=True, fields=sum(same) / len(same))


def right(answer: str, expected: str, **_: Any) -> float:
    """For `burnish compare --score`: 1 where every field of the ticket is right."""
    return float(grade(answer.strip(), expected).right)


def fields(answer: str, expected: str, **_: Any) -> float:
    """The share of right fields."""
    return grade(answer.strip(), expected).fields
