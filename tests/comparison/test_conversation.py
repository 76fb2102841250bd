"""A conversation: what is said, taken back, broken off, and kept."""

import json

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from burnish.comparison.conversation import Conversation
from burnish.errors import UserError
from burnish.models.generate import answers
from tests.conftest import save_tiny_model

HOW = {"max_new_tokens": 6, "temperature": 0.0, "top_p": 1.0, "seed": 0}


@pytest.fixture
def talk(place):
    model = AutoModelForCausalLM.from_pretrained(place / "one")
    return Conversation("one", model, AutoTokenizer.from_pretrained(place / "one"))


def said(talk, text, **how):
    talk.say(text)
    return "".join(talk.answer(**HOW | how))


def test_every_answer_follows_from_all_that_was_said(talk):
    first = said(talk, "Hi")
    talk.system = "Be brief."
    second = said(talk, "And?")
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": first.strip()},
        {"role": "user", "content": "And?"},
    ]
    assert [second] == answers(talk.model, talk.tokenizer, [chat], max_new_tokens=6)
    assert [turn["role"] for turn in talk.turns] == ["user", "assistant"] * 2


def test_retry_and_undo(talk):
    assert not talk.retry() and not talk.undo()
    first = said(talk, "Hi")
    assert talk.retry() and [turn["role"] for turn in talk.turns] == ["user"]
    assert "".join(talk.answer(**HOW)) == first
    said(talk, "More")
    assert talk.undo() and len(talk.turns) == 2
    assert talk.undo() and talk.turns == []


def test_an_answer_that_is_broken_off_stays_as_far_as_it_came(talk):
    talk.say("Hi")
    pieces = talk.answer(**HOW | {"max_new_tokens": 200})
    piece = next(pieces)
    pieces.close()
    assert talk.turns[-1]["role"] == "assistant"
    assert piece.strip() in talk.turns[-1]["content"]


def test_a_conversation_without_room_takes_the_message_back(talk):
    said(talk, "Hi")
    with pytest.raises(UserError, match="positions"):
        said(talk, "x" * 600)
    assert len(talk.turns) == 2


def test_a_kept_conversation_is_a_row_to_train_on(talk, tmp_path):
    with pytest.raises(UserError, match="no answer to keep"):
        talk.save(tmp_path / "chats.jsonl")
    talk.system = "Be brief."
    said(talk, "Hi")
    assert talk.save(tmp_path / "chats.jsonl") == 2 and talk.save(tmp_path / "chats.jsonl") == 2
    rows = [json.loads(line) for line in (tmp_path / "chats.jsonl").read_text().splitlines()]
    assert rows == [{"messages": [dict(m) for m in talk.messages]}] * 2
    assert [m["role"] for m in rows[0]["messages"]] == ["system", "user", "assistant"]


def test_a_model_without_template_goes_on_with_the_text(tmp_path):
    folder = save_tiny_model(tmp_path / "plain", chat_template=None, initializer_range=0.3)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    talk = Conversation("plain", model, tokenizer)
    first = said(talk, "Once")
    assert [first] == answers(model, tokenizer, ["Once"], max_new_tokens=6)
    assert said(talk, " and") == answers(model, tokenizer, [f"Once{first} and"], max_new_tokens=6)[0]
    talk.save(tmp_path / "texts.jsonl")
    assert json.loads((tmp_path / "texts.jsonl").read_text())["text"].startswith(f"Once{first} and")
