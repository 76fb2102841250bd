"""What the plan says of how rows are taken, and what of a completion is in the loss."""

from __future__ import annotations

from datasets import Dataset

from burnish.data.example import Example
from burnish.data.preparation.notes import NULLS, notes_of
from burnish.data.preparation.options import PreparationOptions
from burnish.data.preparation.prepare import prepare
from burnish.data.reading.formats import LANGUAGE, PREFERENCE
from burnish.data.sources.source import load_rows
from tests.data import chats
from tests.data.chats import assistant, byte_tokenizer, user

# Turns of others within a completion

WHY, GOOD, BAD = user("why?"), assistant("yes"), assistant("no")
CALLED = assistant("") | {"tool_calls": [{"type": "function", "function": {"name": "look", "arguments": {}}}]}
DIALOGUE = {"chosen": [user("one"), GOOD, WHY, BAD], "rejected": [user("one"), BAD]}
NOTE = "what users and tools say within a completion is not in the loss"


def trained_texts(row, **options):
    tokenizer = byte_tokenizer(chats.CHATML)
    prepared, report = prepare(Dataset.from_list([row]), PREFERENCE, tokenizer, PreparationOptions(**options))
    (found,) = prepared
    texts = [
        tokenizer.decode([token for token, trained in zip(ids, mask, strict=True) if trained])
        for ids, mask in zip(found["completion_ids"], found["completion_mask"], strict=True)
    ]
    return texts, report


def test_what_a_user_says_after_a_pair_parts_is_not_in_the_loss():
    (chosen, rejected), report = trained_texts(DIALOGUE)
    assert "yes" in chosen and "no" in chosen and "why?" not in chosen and "no" in rejected
    assert any(note.startswith(NOTE) for note in report.notes)


def test_it_is_where_that_is_asked_for():
    (chosen, _), report = trained_texts(DIALOGUE, assistant_only_loss=False)
    assert "why?" in chosen and not any(note.startswith(NOTE) for note in report.notes)


def test_a_single_turn_is_trained_to_its_last_token():
    row = {"prompt": [user("one")], "chosen": [GOOD], "rejected": [BAD]}
    assert trained_texts(row)[0] == trained_texts(row, assistant_only_loss=False)[0]
    assert not any(note.startswith(NOTE) for note in trained_texts(row)[1].notes)


def test_whole_chats_are_trained_as_the_options_say():
    assert (
        not PreparationOptions().for_completion(Example("", ([WHY, GOOD],)), [WHY, GOOD]).assistant_only_loss
    )
    called = [CALLED, {"role": "tool", "content": "x"}, GOOD]
    assert PreparationOptions().for_completion(Example([WHY], (called,)), called).assistant_only_loss


# Notes


def notes_on(rows, family=PREFERENCE, template=chats.CHATML, **options):
    tokenizer = byte_tokenizer(template)
    return prepare(load_rows(rows), family, tokenizer, PreparationOptions(**options)).report.notes


PAIR = {"prompt": "Is it?", "chosen": "yes", "rejected": "no"}


def test_plain_text_for_a_chat_model_is_said_with_the_way_out():
    (note,) = notes_on([PAIR])
    assert note.startswith("plain text for a model with a chat template") and "--as_chats" in note
    assert notes_on([PAIR], as_chats=True) == notes_on([PAIR], template=None) == []
    assert notes_on([{"text": "a b"}], LANGUAGE) == []


def test_what_is_guessed_and_what_is_not_read_is_said():
    row = {"Question": "Is it?", "chosen": "yes", "rejected": "no", "why": "because it is so", "votes": 3}
    guessed, unread = notes_on([row])
    assert guessed == "columns were taken by their names: Question for question (--columns question=Question)"
    assert unread.startswith("column why holds text that is not read")


def test_nulls_of_arrow_are_said_to_be_left_out():
    call = {"type": "function", "function": {"name": "look", "arguments": {"at": None, "of": "a"}}}
    row = {"messages": [user("one"), assistant("") | {"tool_calls": [call]}, assistant("two")]}
    row = {"messages": [{"tool_calls": None, **turn} for turn in row["messages"]]}
    read = {}
    for name, rows in (("json", [row]), ("arrow", Dataset.from_list([row]))):
        source = load_rows(rows)
        reader, first = source.reader(LANGUAGE, PreparationOptions()), source.dataset[0]
        read[name] = reader(first).completions[0][1]["tool_calls"][0]["function"]["arguments"]
        notes = notes_of([first], reader, reader.recognise(first), None)
        assert (notes == [NULLS]) == (name == "arrow")
    assert read == {"json": {"at": None, "of": "a"}, "arrow": {"of": "a"}}


def test_keys_of_messages_that_nobody_reads_are_warned_of():
    row = {"messages": [user("one"), assistant("two") | {"draft": "a b c"}]}
    report = prepare(load_rows([row]), LANGUAGE, byte_tokenizer(chats.CHATML), PreparationOptions()).report
    assert list(report.warnings) == ["messages have keys that nothing reads: draft"]
