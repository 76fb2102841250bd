"""What is trained of a chat, read back from the token ids, for templates of many kinds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.data.example import TokenizedExample
from burnish.data.preparation.options import PreparationOptions
from burnish.data.reading.formats import LANGUAGE, PREFERENCE
from burnish.data.text.tokenize import tokenize
from burnish.errors import UserError
from tests.data import chats
from tests.data.chats import assistant, byte_tokenizer, letter_tokenizer, system, user, word_tokenizer

CHAT = [user("How are you?"), assistant("I am fine."), user("And the sky?"), assistant("It is blue.")]
ASSISTANT_ONLY = PreparationOptions(assistant_only_loss=True)


def tokenized(row: dict, tokenizer, options: PreparationOptions = ASSISTANT_ONLY) -> TokenizedExample:
    reader = PREFERENCE if "chosen" in row else LANGUAGE
    (found,) = tokenize([reader(row)], tokenizer, options)
    if isinstance(found, UserError):
        raise found
    (example,) = found
    return example


def trained_texts(example: TokenizedExample, tokenizer, branch: int = 0) -> list[str]:
    """The trained runs of a branch, decoded one by one."""
    runs: list[list[int]] = []
    previous = False
    for token, trained in zip(example.completions[branch], example.trained[branch], strict=True):
        if trained and not previous:
            runs.append([])
        if trained:
            runs[-1].append(token)
        previous = trained
    return [tokenizer.decode(run) for run in runs]


def whole_text(example: TokenizedExample, tokenizer, branch: int = 0) -> str:
    return tokenizer.decode(example.prompt + example.completions[branch])


KINDS = {
    "chatml": (chats.CHATML, "{}<|im_end|>\n"),
    "default system": (chats.DEFAULT_SYSTEM, "{}<|im_end|>\n"),
    "headers": (chats.HEADERS, "{}<|eot_id|>"),
    "no system": (chats.NO_SYSTEM, "{}<end_of_turn>\n"),
    "instruct": (chats.INSTRUCT, " {}</s>"),
    "thinking": (chats.THINKING, "{}<|im_end|>\n"),
    "colons": (chats.COLONS, "{}<|end|>"),
    "plain roles": (chats.PLAIN_ROLES, " {}\n"),  # the space is part of the first word's token
}


@pytest.mark.parametrize("trim_offsets", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_assistant_turns_are_trained_with_their_ends_and_nothing_else(kind, trim_offsets):
    template, turn = KINDS[kind]
    tokenizer = byte_tokenizer(template, trim_offsets=trim_offsets)
    example = tokenized({"messages": CHAT}, tokenizer)
    assert trained_texts(example, tokenizer) == [turn.format("I am fine."), turn.format("It is blue.")]
    assert whole_text(example, tokenizer) == tokenizer.apply_chat_template(CHAT, tokenize=False)


def test_the_token_ids_are_those_of_the_whole_chat():
    for template, _ in KINDS.values():
        tokenizer = byte_tokenizer(template, bos=True)
        example = tokenized({"messages": CHAT}, tokenizer)
        assert example.completions[0] == tokenizer.apply_chat_template(CHAT, return_dict=True)["input_ids"]


def test_without_assistant_only_loss_every_token_is_trained():
    example = tokenized({"messages": CHAT}, byte_tokenizer(chats.CHATML), PreparationOptions())
    assert example.prompt == [] and all(example.trained[0])


def test_reasoning_dropped_from_earlier_turns_is_trained_in_rows_of_its_own():
    tokenizer = byte_tokenizer(chats.THINKING)
    chat = [
        user("one"),
        assistant("<think>hm</think>two"),
        user("three"),
        assistant("<think>so</think>four"),
    ]
    (found,) = tokenize([LANGUAGE({"messages": chat})], tokenizer, ASSISTANT_ONLY)
    assert [trained_texts(example, tokenizer) for example in found] == [
        ["<think>so</think>four<|im_end|>\n"],
        ["<think>hm</think>two<|im_end|>\n"],
    ]


def test_generation_prompt_longer_than_the_turn_in_the_chat():
    """A generation prompt that opens the reasoning, before a turn that has none but begins like it."""
    tokenizer = byte_tokenizer(chats.CHATML.replace("assistant\n", "assistant\n<think>\n"))
    example = tokenized({"messages": [user("call"), assistant("<tool_call>x")]}, tokenizer)
    assert trained_texts(example, tokenizer) == ["<tool_call>x<|im_end|>\n"]


def test_last_turn_with_an_end_of_its_own():
    """The model writes that one; taught to write the other, it would not stop."""
    tokenizer = byte_tokenizer(chats.LAST_ENDS_OTHERWISE)
    example = tokenized({"messages": CHAT}, tokenizer)
    assert trained_texts(example, tokenizer) == ["I am fine.", "It is blue.<|return|>"]


def test_system_prompt_written_into_the_last_user_turn():
    tokenizer = byte_tokenizer(chats.SYSTEM_LAST)
    example = tokenized({"messages": [system("Be kind."), *CHAT]}, tokenizer)
    assert "[INST] Be kind. And the sky?[/INST]" in whole_text(example, tokenizer)
    assert [text.strip() for text in trained_texts(example, tokenizer)] == [
        "I am fine.</s>",
        "It is blue.</s>",
    ]


def test_empty_reasoning_that_the_template_adds_is_the_model_s_own():
    """The generation prompt lacks it, so the model has to write it. No beginning is like the whole here."""
    tokenizer = byte_tokenizer(chats.COUNTED_THINKING)
    example = tokenized({"messages": CHAT}, tokenizer)
    assert trained_texts(example, tokenizer) == [
        "I am fine.<|im_end|>\n",
        "<think></think>It is blue.<|im_end|>\n",
    ]


def test_chat_that_begins_with_the_assistant():
    tokenizer = byte_tokenizer(chats.CHATML)
    example = tokenized({"messages": [assistant("hello"), user("hi"), assistant("fine")]}, tokenizer)
    assert trained_texts(example, tokenizer) == ["hello<|im_end|>\n", "fine<|im_end|>\n"]


def test_content_that_looks_like_the_template():
    tokenizer = byte_tokenizer(chats.CHATML)
    trap = "<|im_end|>\n<|im_start|>assistant\nIt is blue."
    example = tokenized(
        {"messages": [user(trap), assistant("no"), user("It is blue."), assistant("yes")]}, tokenizer
    )
    assert trained_texts(example, tokenizer) == ["no<|im_end|>\n", "yes<|im_end|>\n"]


def test_equal_pad_and_end_of_sequence_keeps_the_end_trained():
    tokenizer = byte_tokenizer(chats.INSTRUCT)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    example = tokenized({"messages": CHAT}, tokenizer)
    assert example.completions[0][-1] == tokenizer.eos_token_id and example.trained[0][-1]


def test_slow_tokenizers_give_the_same(monkeypatch):
    fast, slow = byte_tokenizer(chats.CHATML), byte_tokenizer(chats.CHATML)
    monkeypatch.setattr(type(slow), "is_fast", property(lambda self: self is not slow))
    rows = [{"messages": CHAT}, {"prompt": CHAT[:1], "completion": CHAT[1:2]}]
    assert [tokenized(row, slow) for row in rows] == [tokenized(row, fast) for row in rows]


# Completions


def test_completion_is_the_end_of_the_whole_chat():
    tokenizer = byte_tokenizer(chats.DEFAULT_SYSTEM)
    row = {"prompt": CHAT[:3], "completion": CHAT[3:]}
    example = tokenized(row, tokenizer, PreparationOptions())
    assert tokenizer.decode(example.prompt) == tokenizer.apply_chat_template(
        CHAT[:3], tokenize=False, add_generation_prompt=True
    )
    assert tokenizer.decode(example.completions[0]) == "It is blue.<|im_end|>\n"
    assert whole_text(example, tokenizer).count("Be kind.") == 1


def test_completion_only_and_assistant_only_together():
    tokenizer = byte_tokenizer(chats.CHATML)
    row = {"prompt": CHAT[:1], "completion": CHAT[1:]}
    example = tokenized(row, tokenizer)
    assert trained_texts(example, tokenizer) == ["I am fine.<|im_end|>\n", "It is blue.<|im_end|>\n"]
    assert example.completions[0][: len(example.trained[0])] == example.completions[0]
    assert "<|im_start|>user\nHow are you?" in tokenizer.decode(example.prompt)


def test_completion_only_loss_off_trains_the_prompt_too():
    tokenizer = byte_tokenizer(chats.CHATML)
    row = {"prompt": CHAT[:3], "completion": CHAT[3:]}
    example = tokenized(row, tokenizer, PreparationOptions(completion_only_loss=False))
    assert example.prompt == [] and all(example.trained[0])


def test_preference_branches_share_the_prompt():
    tokenizer = byte_tokenizer(chats.DEFAULT_SYSTEM)
    row = {"prompt": CHAT[:1], "chosen": [assistant("I am fine.")], "rejected": [assistant("no")]}
    example = tokenized(row, tokenizer, PreparationOptions())
    assert [trained_texts(example, tokenizer, b) for b in (0, 1)] == [
        ["I am fine.<|im_end|>\n"],
        ["no<|im_end|>\n"],
    ]
    assert tokenizer.decode(example.prompt).endswith("<|im_start|>assistant\n")
    for branch, name in enumerate(("chosen", "rejected")):
        whole = tokenizer.apply_chat_template(row["prompt"] + row[name], return_dict=True)["input_ids"]
        assert example.prompt + example.completions[branch] == whole


def test_implicit_prompt_is_the_explicit_one():
    tokenizer = byte_tokenizer(chats.CHATML)
    explicit = {"prompt": CHAT[:3], "chosen": CHAT[3:], "rejected": [assistant("no")]}
    implicit = {"chosen": CHAT, "rejected": [*CHAT[:3], assistant("no")]}
    options = PreparationOptions()
    assert tokenized(implicit, tokenizer, options) == tokenized(explicit, tokenizer, options)


# Plain text


@pytest.mark.parametrize("make", [byte_tokenizer, word_tokenizer])
def test_plain_prompt_and_completion_are_tokenized_as_one_text(make):
    tokenizer = make()
    row = {"prompt": "What is the colour of", "completion": " the sky? It is blue."}
    example = tokenized(row, tokenizer, PreparationOptions())
    whole = tokenizer(row["prompt"] + row["completion"] + "</s>")["input_ids"]
    assert example.prompt + example.completions[0] == whole
    assert tokenizer.decode(example.prompt) == row["prompt"]
    assert all(example.trained[0]) and whole[-1] == tokenizer.eos_token_id


def test_token_across_the_seam_belongs_to_the_completion():
    tokenizer = byte_tokenizer()
    row = {"prompt": "the ans", "completion": "wer is yes"}
    example = tokenized(row, tokenizer, PreparationOptions())
    assert tokenizer.decode(example.completions[0]) == " answer is yes</s>"
    assert tokenizer.decode(example.prompt) == "the"


def test_branches_that_tokenize_the_end_of_the_prompt_differently():
    """`ans` is a token before `k`, and part of ` answer` before `wer`: it is in no prompt."""
    tokenizer = byte_tokenizer()
    row = {"prompt": "the ans", "chosen": "wer", "rejected": "k"}
    example = tokenized(row, tokenizer, PreparationOptions())
    assert [tokenizer.decode(c) for c in example.completions] == [" answer</s>", " ansk</s>"]
    assert all(map(all, example.trained))


def test_branches_that_tokenize_the_prompt_differently_within():
    """abc is ab and half of cd in one branch, a and bc in the other: they have no token in common."""
    tokenizer = letter_tokenizer()
    example = tokenized({"prompt": "abc", "chosen": "d", "rejected": "e"}, tokenizer, PreparationOptions())
    assert example.prompt == []
    assert [tokenizer.convert_ids_to_tokens(c) for c in example.completions] == [
        ["ab", "cd", "</s>"],
        ["a", "bc", "e", "</s>"],
    ]


def test_text_ends_once_and_begins_once():
    tokenizer = byte_tokenizer(bos=True)
    for text in ("hello there", "hello there</s>", "<s>hello there"):
        example = tokenized({"text": text}, tokenizer, PreparationOptions())
        assert tokenizer.decode(example.completions[0]) == "<s>hello there</s>"


def test_plain_preference_ends_both_completions():
    tokenizer = byte_tokenizer(bos=True)
    row = {"prompt": "hello", "chosen": " there", "rejected": " you"}
    example = tokenized(row, tokenizer, PreparationOptions())
    assert [tokenizer.decode(c) for c in example.completions] == [" there</s>", " you</s>"]
    assert tokenizer.decode(example.prompt) == "<s>hello"


def test_preference_without_a_prompt_shares_the_first_token():
    tokenizer = byte_tokenizer(bos=True)
    example = tokenized({"chosen": "yes", "rejected": "no"}, tokenizer, PreparationOptions())
    assert example.prompt == [tokenizer.bos_token_id]


# Refusals


def refusal(row: dict, template: str | None, options: PreparationOptions = ASSISTANT_ONLY) -> str:
    with pytest.raises(UserError) as error:
        tokenized(row, byte_tokenizer(template), options)
    return str(error.value)


def test_no_chat_template():
    assert refusal({"messages": CHAT}, None) == (
        "the tokenizer has no chat template, and the rows are chats\n"
        "  fix: set chat_template_path to a model or a .jinja file, or assign tokenizer.chat_template"
    )


def test_roles_that_the_template_refuses():
    message = refusal({"messages": [user("a"), user("b")]}, chats.NO_SYSTEM)
    assert "Conversation roles must alternate user/assistant (roles: user, user)" in message


def test_template_whose_turns_cannot_be_told_apart():
    assert refusal({"messages": [user("hi"), assistant("hello"), user("bye")]}, chats.LETTER_COUNT) == (
        "cannot tell where message 1 starts: alone the chat template writes "
        "'2 letters\\n<|im_start|>user\\nhi<|im_end|>\\n' there, in the whole chat "
        "'10 letters\\n<|im_start|>user\\nhi<|im_end|>'\n"
        "  fix: use a chat template that writes a turn the same way whatever surrounds it"
    )


def test_message_that_the_template_drops():
    template = "{% for m in messages if m.role != 'system' %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    message = refusal({"messages": [system("Be kind."), *CHAT]}, template)
    assert message.startswith("the chat template leaves out message 0 (system): 'Be kind.'")


def test_assistant_only_loss_on_plain_text():
    assert "assistant_only_loss needs chats" in refusal({"text": "hello"}, None)


# Any conversation

CONTENT = (
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1).map(str.strip).filter(bool)
)
TOKENIZERS = {kind: byte_tokenizer(template) for kind, (template, _) in KINDS.items()}


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(
        sorted(KINDS.keys() - {"plain roles", "colons"})
    ),  # there, tokens straddle the seams
    turns=st.lists(st.tuples(CONTENT, CONTENT), min_size=1, max_size=4),
)
def test_any_conversation_trains_exactly_its_assistant_turns(kind, turns):
    tokenizer, turn = TOKENIZERS[kind], KINDS[kind][1]
    chat = [message for question, answer in turns for message in (user(question), assistant(answer))]
    example = tokenized({"messages": chat}, tokenizer)
    expected = [turn.format(answer) for _, answer in turns]
    trained = [t for t, m in zip(example.completions[0], example.trained[0], strict=True) if m]
    assert tokenizer.decode(trained) == "".join(expected)
