"""Where the parts of messages stand in a rendered chat, whatever they say and wherever they are written."""

from __future__ import annotations

import re
from typing import Any

import pytest

from burnish.data.text.beginnings import Beginnings
from burnish.data.text.marks import LEVELS, Marks
from burnish.data.text.render import chat_renderer
from tests.data import chats
from tests.data.chats import assistant, byte_tokenizer, system, user
from tests.data.families import FAMILIES, Family, thinking
from tests.data.test_masks import ASSISTANT_ONLY, examples_of
from tests.data.test_masks_property import runs
from tests.data.test_masks_rows import refusal, trained

RESULT = {"role": "tool", "name": "find", "tool_call_id": "call00001", "content": "result"}


def call(content: str = "", **arguments: Any) -> dict[str, Any]:
    function = {"name": "find", "arguments": arguments or {"key": "k1"}}
    return assistant(content) | {
        "tool_calls": [{"id": "call00001", "type": "function", "function": function}]
    }


def beginnings(template: str, messages: list[dict[str, Any]]) -> Beginnings:
    return Beginnings(messages, chat_renderer(byte_tokenizer(template)))


# Marks


@pytest.mark.parametrize(
    "content",
    [
        "hi",
        " hi\n",
        "<tool_response>\nhi\n</tool_response>",
        "why /no_think",
        "<b>",
        'say "\\"',
        "\U00014400\U00014401",
    ],
)
def test_marks_show_where_a_content_is_and_leave_the_text_as_it_was(content):
    messages = [user(content), assistant("hi")]
    marks = Marks(messages, LEVELS[0])
    found = marks.read(f"<a>{marks.messages[0]['content']}<b>{marks.messages[1]['content']}")
    assert found.text == f"<a>{content}<b>hi"
    (first,), (second,) = found.of(0), found.of(1)
    assert found.text[first.start : first.stop] in (content, content.lstrip()) and first.entire
    assert found.text[second.start : second.stop] == "hi"


def test_a_template_that_looks_into_what_is_marked_is_shown_less():
    """Here into the arguments, as some do that want an id of nine characters."""
    looks = "{% for c in m.tool_calls or [] %}{% if c.function.arguments.key | length != 2 %}no{% endif %}"
    template = chats.CHATML.replace(
        "{{ m.content }}", "{{ m.content }}" + looks + "{{ c.function.name }}{% endfor %}"
    )
    found = beginnings(template, [user("hi"), call(), RESULT, assistant("yes")])
    written = found.written(4)
    assert written.kinds == LEVELS[1] and "no" not in written.text
    assert [piece.part.kind for piece in written.pieces] == ["content", "name", "content", "content"]


# Parts in another order


def test_a_result_between_the_parts_of_a_turn_is_not_trained():
    row = {"messages": [user("open?"), call("Let me look."), RESULT, assistant("Yes.")]}
    assert trained(row, byte_tokenizer(chats.CONTENT_AFTER_RESULT), ASSISTANT_ONLY) == [
        '<tool_call>{"name": "find", "arguments": {"key": "k1"}}</tool_call>',
        "Let me look.<|im_end|>\n",
        "Yes.<|im_end|>\n",
    ]


def conversation(family: Family) -> dict[str, Any]:
    """All roles that a family knows, each message with a word of its own, and the turns of one kind twice."""
    knows = family.knows.split()
    messages = [system("word00")] if "system" in knows else []
    for turn in range(2):
        messages.append(user(f"word{turn}1"))
        if "tools" in knows:
            for step in range(2):
                said = call("", key=f"word{turn}2{step}")
                messages += [said, RESULT | {"content": f"word{turn}3{step}"}]
        answer = assistant(f"word{turn}4")
        messages.append(thinking(answer, f"word{turn}5") if "reasoning" in knows else answer)
    return {"messages": messages}


def words_of(text: Any) -> list[str]:
    return sorted(set(re.findall(r"word\d+", str(text))))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_turn_is_trained_once_and_nothing_of_another_message(family):
    tokenizer, row = family.tokenizer("bytes"), conversation(family)
    found = examples_of(row, tokenizer)
    pool = [run for example in found for run in runs(example, tokenizer, True)]
    expected = [words_of(message) for message in row["messages"] if message["role"] == "assistant"]
    assert sorted(words_of(run) for run in pool) == sorted(expected)


# Ordinary agent data


@pytest.mark.parametrize("reasons", [False, True])
def test_two_calls_in_a_row_and_then_a_question(reasons):
    """The beginning that ends with a call writes the reasoning that the whole chat leaves out."""
    turns = [call(key="k1"), call(key="k2"), assistant("seven"), assistant("bye")]
    if reasons:
        turns = [thinking(turn, f"thought {place}") for place, turn in enumerate(turns)]
    first, second, third, last = turns
    row = {"messages": [user("how many?"), first, RESULT, second, RESULT, third, user("thanks"), last]}
    for template in (chats.OPENS_REASONING, FAMILIES["qwen3"].template):
        runs = trained(row, byte_tokenizer(template), ASSISTANT_ONLY)
        assert len(runs) == 4
        for said in ("k1", "k2", "seven", "bye", *(f"thought {n}" for n in range(4) if reasons)):
            assert [said in run for run in runs].count(True) == 1


def test_a_chat_that_the_assistant_begins_and_whose_beginning_is_refused():
    row = {"messages": [assistant("welcome"), user("hi"), assistant("fine")]}
    runs = trained(row, byte_tokenizer(chats.OPENS_REASONING), ASSISTANT_ONLY)
    assert runs == ["welcome<|im_end|>\n", "\n</think>\n\nfine<|im_end|>\n"]


# What a template leaves out


def test_a_dropped_message_is_not_found_in_the_words_of_another():
    template = "{% for m in messages if m.role != 'tool' %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    row = {
        "messages": [user("2*2?"), assistant("Let me see."), RESULT | {"content": "4"}, assistant("It is 4.")]
    }
    assert "leaves out message 2 (tool): '4'" in refusal(row, byte_tokenizer(template))


def test_content_beside_a_call_that_only_a_cut_row_has():
    """The template drops it once a later turn has answered."""
    row = {"messages": [user("open?"), call("Let me look."), RESULT, assistant("Yes.")]}
    runs = trained(row, FAMILIES["gpt_oss"].tokenizer("bytes"), ASSISTANT_ONLY)
    assert [sum(said in run for run in runs) for said in ("Let me look.", "k1", "Yes.")] == [1, 1, 1]


def test_content_beside_a_call_that_no_row_has_is_refused_with_a_way_out():
    row = {"messages": [user("open?"), call("Let me look."), RESULT, assistant("Yes.")]}
    message = refusal(row, FAMILIES["llama3_1"].tokenizer("bytes"))
    assert "leaves out the content of message 1" in message and "a message of its own" in message


# Cost


def renderings(family: Family, messages: list[dict[str, Any]], monkeypatch) -> int:
    tokenizer, made = family.tokenizer("bytes"), []
    original = type(tokenizer).apply_chat_template

    def counted(*arguments: Any, **named: Any) -> Any:
        made.append(len(messages))
        return original(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(type(tokenizer), "apply_chat_template", counted)
        examples_of({"messages": messages}, tokenizer)
    return len(made)


@pytest.mark.parametrize("name", ["qwen3", "gpt_oss", "mistral_v3", "glm4_5", "smollm2"])
def test_the_number_of_renderings_does_not_grow_with_the_chat(name, monkeypatch):
    """Each is as long as the chat, so that one for every turn would be quadratic."""
    family, counts = FAMILIES[name], []
    for exchanges in (8, 32):
        messages = [user("begin")]
        for number in range(exchanges):
            if "tools" in family.knows:
                messages += [call(key=f"k{number}", number=number), RESULT | {"content": f"r{number}"}]
            else:
                messages += [assistant(f"a{number}"), user(f"q{number}")]
        counts.append(renderings(family, [*messages, assistant("done")], monkeypatch))
    assert counts[0] == counts[1] < 16
