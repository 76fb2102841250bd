"""Chat messages as people write them, in one spelling."""

from __future__ import annotations

import json

import pytest

from burnish.data.example import Example
from burnish.data.preparation.truncate import nothing_said
from burnish.data.reading import cells
from burnish.data.reading.messages import read_messages, unread_keys
from burnish.data.text.render import chat_renderer
from burnish.errors import UserError
from tests.data import chats
from tests.data.chats import assistant, byte_tokenizer, system, user

ASK = user("Is it?")
CALL = {"type": "function", "function": {"name": "look", "arguments": {"at": "sky"}}}
ARGUMENTS = '{"at": "sky"}'
NULLS = {"at": None, "of": [{"a": None}]}

SPELLINGS = {
    "as it is": (ASK, ASK),
    "ShareGPT": ({"from": "human", "value": "Is it?"}, ASK),
    "ShareGPT, assistant": ({"from": "gpt", "value": "yes", "weight": None}, assistant("yes")),
    "ShareGPT, system": ({"from": "system", "value": "Be calm."}, system("Be calm.")),
    "ShareGPT, call": (
        {"from": "function_call", "value": '{"name": "look", "arguments": {"at": "sky"}}'},
        {"role": "assistant", "tool_calls": [CALL]},
    ),
    "ShareGPT, two calls": (
        {"from": "function_call", "value": '[{"name": "look"}, {"name": "see"}]'},
        {
            "role": "assistant",
            "tool_calls": [
                {"type": "function", "function": {"name": "look"}},
                {"type": "function", "function": {"name": "see"}},
            ],
        },
    ),
    "ShareGPT, result": ({"from": "observation", "value": "blue"}, {"role": "tool", "content": "blue"}),
    "nulls of Arrow": (
        {"role": "user", "content": "Is it?", "tool_calls": None, "name": None, "train": None},
        ASK,
    ),
    "parts": (
        {"role": "user", "content": [{"type": "text", "text": "Is "}, {"type": "text", "text": "it?"}]},
        ASK,
    ),
    "parts with Arrow's nulls, and strings": (
        {"role": "user", "content": [{"type": "text", "text": "Is ", "image_url": None}, "it?"]},
        ASK,
    ),
    "call without content": (
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "assistant", "tool_calls": [CALL]},
    ),
    "call with arguments as JSON": (
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"type": "function", "function": {"name": "look", "arguments": ARGUMENTS}}],
        },
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
    ),
    "calls as JSON": (
        {"role": "assistant", "tool_calls": json.dumps([CALL])},
        {"role": "assistant", "tool_calls": [CALL]},
    ),
    "one call": (
        {"role": "assistant", "tool_calls": CALL},
        {"role": "assistant", "tool_calls": [CALL]},
    ),
    "no calls": ({**assistant("yes"), "tool_calls": []}, assistant("yes")),
    "reasoning": (
        {**assistant("yes"), "reasoning_content": "hm"},
        {**assistant("yes"), "reasoning_content": "hm"},
    ),
    "thinking": ({**assistant("yes"), "thinking": "hm"}, {**assistant("yes"), "reasoning_content": "hm"}),
    "reasoning twice": (
        {**assistant("yes"), "thinking": "hm", "reasoning": "hm"},
        {**assistant("yes"), "reasoning_content": "hm"},
    ),
    "no reasoning": ({**assistant("yes"), "thinking": ""}, assistant("yes")),
    "trained": ({**assistant("yes"), "train": 1}, {**assistant("yes"), "train": True}),
    "trained, as the others are": ({**assistant("yes"), "weight": 1}, {**assistant("yes"), "train": None}),
    "trained, said twice": (
        {**assistant("yes"), "train": True, "loss": True},
        {**assistant("yes"), "train": True},
    ),
    "no loss": ({**assistant("yes"), "loss": False}, {**assistant("yes"), "train": False}),
    "masked out of the loss": ({**ASK, "loss_mask": 0}, {**ASK, "train": False}),
    "an empty key like a flag": ({**assistant("yes"), "train_detail": []}, assistant("yes")),
    "OpenAI's former call": (
        {**assistant("hm"), "function_call": {"name": "look", "arguments": ARGUMENTS}},
        {**assistant("hm"), "tool_calls": [CALL]},
    ),
    "OpenAI's former call, twice": (
        {**assistant("hm"), "function_call": {"name": "look"}, "tool_calls": [CALL]},
        {**assistant("hm"), "tool_calls": [CALL]},
    ),
    "OpenAI's former result": (
        {"role": "function", "name": "look", "content": "blue"},
        {"role": "tool", "name": "look", "content": "blue"},
    ),
    "a call as a role": (
        {"role": "tool_call", "content": '{"name": "look", "arguments": {"at": "sky"}}'},
        {"role": "assistant", "tool_calls": [CALL]},
    ),
    "ShareGPT, a call after a thought": (
        {"from": "function_call", "value": '<think>hm</think>\n{"name": "look", "arguments": {"at": "sky"}}'},
        {"role": "assistant", "reasoning_content": "hm", "tool_calls": [CALL]},
    ),
    "nulls in arguments": (
        {"role": "assistant", "tool_calls": [{"id": None, "function": {"name": "look", "arguments": NULLS}}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "look", "arguments": NULLS}}]},
    ),
    "not trained": ({**assistant("yes"), "training": False}, {**assistant("yes"), "train": False}),
    "not trained, a float": ({**assistant("yes"), "weight": 0.0}, {**assistant("yes"), "train": False}),
    "another role": ({"role": "critic", "content": "no"}, {"role": "critic", "content": "no"}),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_one_spelling(case):
    given, expected = SPELLINGS[case]
    assert read_messages([given], "messages") == [expected]
    assert read_messages(given, "messages") == [expected]
    assert read_messages(json.dumps([given]), "messages") == [expected]


def test_what_is_read_stays_as_it_was():
    call = {"function": {"name": "look", "arguments": ARGUMENTS}}
    given = [{"role": "assistant", "thinking": "hm", "tool_calls": [call], "weight": 0}]
    before = json.dumps(given)
    read_messages(given, "messages")
    assert json.dumps(given) == before


REFUSED = {
    "no object": ("hello", "expected a message (role, content), found 'hello'"),
    "no role": ({"content": "a"}, "a message needs a role, found {'content': 'a'}"),
    "role of a wrong type": ({"role": 1, "content": "a"}, "a message needs a role, found"),
    "misspelt role": ({"role": "asistant", "content": "a"}, "unknown role 'asistant'. Did you mean 'assist"),
    "another's role": ({"role": "gpt", "content": "a"}, "unknown role 'gpt'. Did you mean 'assistant'?"),
    "null content": ({"role": "user", "content": None}, "the user message has no content: {'role': 'user'"),
    "no content": ({"role": "assistant"}, "the assistant message has no content: {'role': 'assistant'}"),
    "a call of the user": (
        {"role": "user", "content": None, "tool_calls": [CALL]},
        "the user message has no content",
    ),
    "number": ({"role": "user", "content": 5}, "content should be a string, found 5"),
    "object": ({"role": "tool", "content": {"a": 1}}, "content should be a string, found {'a': 1}"),
    "image": (
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}]},
        "content in parts may hold text only, found {'type': 'image_url', 'image_url': {}}",
    ),
    "part of a wrong type": (
        {"role": "user", "content": [3]},
        "content in parts may hold text only, found 3",
    ),
    "reasoning": ({**assistant("a"), "thinking": ["hm"]}, "the reasoning should be one string, found ['hm']"),
    "two reasonings": (
        {**assistant("a"), "thinking": "hm", "reasoning": "so"},
        "the reasoning should be one string, found ['hm', 'so']",
    ),
    "flag": ({**assistant("a"), "weight": 0.5}, "weight should be true or false (1 or 0), found 0.5"),
    "flag as text": (
        {**assistant("a"), "train": "yes"},
        "train should be true or false (1 or 0), found 'yes'",
    ),
    "a flag of unknown meaning": (
        {**assistant("a"), "mask": 1},
        "a key 'mask' that looks like a flag of what is trained, and is not known: 1",
    ),
    "flags of parts": (
        {**assistant("a"), "train_detail": [{"begin_offset": 0, "end_offset": 1, "train": True}]},
        "a key 'train_detail' that looks like a flag of what is trained, and is not known: [{",
    ),
    "flags that differ": (
        {**assistant("a"), "train": True, "loss_mask": 0},
        "two flags that differ: train, loss_mask",
    ),
    "calls that differ": (
        {**assistant("a"), "function_call": {"name": "see"}, "tool_calls": [CALL]},
        "two calls that differ: function_call {'name': 'see'} and tool_calls [{",
    ),
    "flag of the user": (
        {**ASK, "train": True},
        "only assistant turns are trained, and train is set on a user",
    ),
    "call without a name": (
        {"role": "assistant", "tool_calls": [{"function": {"arguments": {}}}]},
        "a tool call needs a function with a name, found {'function': {'arguments': {}}}",
    ),
    "call of a wrong type": (
        {"role": "assistant", "tool_calls": ["look"]},
        "a tool call needs a function with a name, found 'look'",
    ),
    "calls of a wrong type": (
        {"role": "assistant", "tool_calls": "look"},
        "tool_calls should be a list of calls, found 'look'",
    ),
    "arguments": (
        {"role": "assistant", "tool_calls": [{"function": {"name": "look", "arguments": "{'at': 'sky'}"}}]},
        "the arguments of look should be an object, found \"{'at': 'sky'}\"",
    ),
    "arguments in a list": (
        {"role": "assistant", "tool_calls": [{"function": {"name": "look", "arguments": [1]}}]},
        "the arguments of look should be an object, found [1]",
    ),
    "ShareGPT call": (
        {"from": "function_call", "value": "look(sky)"},
        "the function call is not JSON: 'look(sky)'",
    ),
    "ShareGPT call without a name": (
        {"from": "function_call", "value": "{}"},
        "a function call needs a name, found '{}'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_messages_say_which_and_why(case):
    given, what = REFUSED[case]
    with pytest.raises(UserError) as error:
        read_messages([ASK, given], "chosen")
    assert str(error.value).startswith(f"column 'chosen', message 1: {what}")
    assert error.value.fix
    assert error.value.reason != error.value.what  # the kind, without the value


@pytest.mark.parametrize("value", ["hi", 3, None, "{", "3"])
def test_what_is_no_list_of_messages(value):
    with pytest.raises(UserError, match=r"column 'messages': expected a list of messages, found"):
        read_messages(value, "messages")


NESTED = json.dumps({"messages": [ASK, assistant("yes")], "tools": []})


@pytest.mark.parametrize("given", [NESTED, json.loads(NESTED)])
def test_messages_inside_of_an_object(given):
    assert read_messages(given, "chosen") == [ASK, assistant("yes")]
    assert cells.text({"chosen": given}, "chosen") == [ASK, assistant("yes")]


def test_tools_inside_of_a_cell_are_not_lost():
    with pytest.raises(UserError, match="column 'chosen': messages with 'tools' beside them"):
        cells.text({"chosen": {"messages": [ASK], "tools": [{"name": "look"}]}}, "chosen")


@pytest.mark.parametrize(
    "text", ['[{"role": "admin", "content": "x"}]', "[]", "[1]", '{"role": "user"}', "[a"]
)
def test_json_that_is_no_chat_stays_text(text):
    assert cells.text({"chosen": text}, "chosen") == text


@pytest.mark.parametrize("turn", [ASK, [ASK], {"from": "human", "value": "Is it?"}])
def test_messages_as_json_in_a_text(turn):
    assert cells.text({"chosen": f" {json.dumps(turn)}"}, "chosen") == [ASK]


def test_keys_that_nobody_reads_are_told_by_name():
    turn = {
        **assistant("yes"),
        "id": 3,
        "model": "m-1",
        "draft": "well it may be",
        "cites": [1],
        "name": "a b c",
    }
    assert unread_keys(Example([ASK], ([turn],)), "{{ m.content }}") == ["cites", "draft"]
    assert unread_keys(Example([ASK], ([turn],)), "{{ m.content }}{{ m.cites }}") == ["draft"]
    assert unread_keys(Example("a", ("b",)), "") == []


# Roles at rendering

CRITIC = {"role": "critic", "content": "no"}


def test_a_role_that_the_template_does_not_mention_is_refused():
    with pytest.raises(UserError) as error:
        chat_renderer(byte_tokenizer(chats.CHATML))([ASK, CRITIC], False)
    assert str(error.value) == (
        "message 1: unknown role 'critic': the chat template does not mention it\n"
        "  fix: use one of system, developer, user, assistant, tool, or a chat template that knows 'critic'"
    )


def test_a_role_that_the_template_knows_is_written():
    template = (
        "{% for m in messages if m.role != 'critic' or true %}{{ m.role }}:{{ m.content }} {% endfor %}"
    )
    assert chat_renderer(byte_tokenizer(template))([ASK, CRITIC], False) == "user:Is it? critic:no "


# Nothing said

YES, BLANK = assistant("yes"), assistant(" \n\t")
SAID = {
    "text": (Example("", ("a",)), ""),
    "blank text": (Example("", (" \n",)), "empty text"),
    "completion": (Example("a", ("b",)), ""),
    "blank completion": (Example("a", (" ",)), "empty completion"),
    "no-break spaces": (Example("a", ("\u00a0\u3000",)), "empty completion"),
    "one of a pair": (Example("a", ("b", "")), "empty completion"),
    "prompt alone": (Example("a", ()), ""),
    "chat": (Example("", ([ASK, BLANK, ASK, YES],)), ""),
    "chat that ends blank": (Example("", ([ASK, YES, ASK, BLANK],)), "empty completion"),
    "chat without an answer": (Example("", ([ASK],)), ""),
    "no messages": (Example("", ([],)), "empty completion"),
    "blank answer": (Example([ASK], ([BLANK],)), "empty completion"),
    "a call": (Example([ASK], ([{"role": "assistant", "tool_calls": [CALL]}],)), ""),
    "reasoning": (Example([ASK], ([{**assistant(""), "reasoning_content": "hm"}],)), ""),
    "one of a pair of chats": (Example([ASK], ([YES], [BLANK])), "empty completion"),
}


@pytest.mark.parametrize("case", SAID)
def test_nothing_said(case):
    example, why = SAID[case]
    assert nothing_said(example) == why
