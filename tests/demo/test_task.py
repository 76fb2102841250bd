import json
from dataclasses import asdict

import pytest

from burnish.demo.task import (
    HELD_OUT_NAMES,
    ITEMS,
    TRAINING_NAMES,
    Order,
    distinct,
    grade,
    make_rows,
)

TICKET = '{"name": "Maya", "item": "lemon tart", "count": 6, "day": "Saturday"}'


def notes(rows):
    return [row["prompt"][-1]["content"] for row in rows]


@pytest.fixture(scope="module")
def rows():
    return make_rows(seed=3, lessons=60, preferences=60, held_out=40)


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(rows):
    assert rows == make_rows(seed=3, lessons=60, preferences=60, held_out=40)
    assert notes(rows.lessons) != notes(make_rows(seed=4, lessons=60, preferences=60, held_out=40).lessons)


def test_as_many_rows_as_asked_and_no_note_twice(rows):
    kinds = [rows.lessons, rows.preferences, rows.held_out, rows.held_out_preferences]
    assert [len(kind) for kind in kinds] == [60, 60, 40, 40]
    texts = [text for kind in kinds for text in notes(kind)]
    assert len(set(texts)) == len(texts)


def test_held_out_customers_appear_nowhere_in_training(rows):
    assert not set(TRAINING_NAMES) & set(HELD_OUT_NAMES)
    training = " ".join(notes(rows.lessons) + notes(rows.preferences))
    assert not [name for name in HELD_OUT_NAMES if name in training]
    asked = notes(rows.held_out) + notes(rows.held_out_preferences)
    assert all(any(name in note for name in HELD_OUT_NAMES) for note in asked)


def test_every_note_says_what_its_ticket_holds(rows):
    for row in rows.held_out:
        order, text = json.loads(row["expected"]), row["prompt"][-1]["content"]
        assert order["name"] in text
        assert ITEMS[order["item"]] in text
        assert order["day"] in text


def test_half_of_the_held_out_notes_change_their_mind(rows):
    """A changed note names two days, two items or two counts; the ticket has the later one."""
    changed = 0
    for row in rows.held_out:
        order, text = json.loads(row["expected"]), row["prompt"][-1]["content"]
        for plural in ITEMS.values():
            if plural in text and plural != ITEMS[order["item"]]:
                assert text.rindex(plural) < text.rindex(ITEMS[order["item"]])
                changed += 1
    assert 0 < changed <= len(rows.held_out) / 2


def test_chosen_is_the_right_ticket_and_rejected_is_not(rows):
    kinds = set()
    for row in rows.preferences:
        chosen, rejected = row["chosen"][0]["content"], row["rejected"][0]["content"]
        assert grade(chosen, chosen).right
        verdict = grade(rejected, chosen)
        assert not verdict.right
        kinds.add(verdict.valid)
        if verdict.valid:
            assert verdict.fields == 0.75  # one field is what was said first
        else:
            assert chosen in rejected  # chatter around the right ticket
    assert kinds == {True, False}


@pytest.mark.parametrize(
    ("answer", "valid", "fields"),
    [
        (TICKET, True, 1.0),
        (TICKET.replace(": ", ":"), True, 1.0),
        (json.dumps(dict(reversed(json.loads(TICKET).items()))), True, 1.0),
        (TICKET.replace("6", "8"), True, 0.75),
        (TICKET.replace("6", '"6"'), True, 0.75),
        (TICKET.replace("6", "6.0"), True, 0.75),
        (TICKET.replace("Maya", "maya").replace("Saturday", "Sunday"), True, 0.5),
        ("Sure! " + TICKET, False, 0.0),
        (TICKET + TICKET, False, 0.0),
        (TICKET.replace("count", "amount"), False, 0.0),
        (f"[{TICKET}]", False, 0.0),
        ("", False, 0.0),
    ],
)
def test_grade(answer, valid, fields):
    found = grade(answer, TICKET)
    assert (found.valid, found.fields, found.right) == (valid, fields, fields == 1.0)


def test_a_ticket_is_the_order_as_json():
    order = Order("Maya", "lemon tart", 6, "Saturday")
    assert order.ticket() == TICKET
    assert json.loads(order.ticket()) == asdict(order)


def test_distinct_leaves_out_repetitions():
    from burnish.demo.task import Note

    order = Order("Maya", "lemon tart", 6, "Saturday")
    drawn = iter("abacb")
    found = distinct(lambda: Note(next(drawn), order))
    assert [next(found).text for _ in range(3)] == ["a", "b", "c"]
