"""Chat templates as pieces, and in Go's template language as Ollama reads it."""

from __future__ import annotations

import pytest

from burnish.errors import UserError
from burnish.export.modelfile import modelfile
from burnish.export.turns import conversations, turns_of
from burnish.export.verify import Verification
from tests.conftest import CHAT_TEMPLATE, tiny_tokenizer
from tests.data.families import FAMILIES
from tests.export import go


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_ollama_says_what_the_template_says(family):
    tokenizer = family.tokenizer("bytes")
    turns = turns_of(tokenizer)
    assert (turns.system is not None) == ("system" in family.knows)
    template = turns.go()
    for chat in conversations(with_system=turns.system is not None):
        expected = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        assert go.render(template, chat, turns.default or "") == expected
        assert turns.render(chat) == expected


def test_pieces_of_chatml():
    turns = turns_of(tiny_tokenizer())
    assert turns.user == ("<|im_start|>user\n", "<|im_end|>\n")
    assert turns.assistant == ("<|im_start|>assistant\n", "<|im_end|>\n")
    assert turns.system == ("<|im_start|>system\n", "<|im_end|>\n")
    assert turns.opening == "<|im_start|>assistant\n" and turns.family == "ChatML"


def test_a_default_system_prompt_becomes_SYSTEM():
    template = (
        "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
        + CHAT_TEMPLATE
    )
    outcome = Verification("trained", "artefact", "Q8_0", "nothing")
    text = modelfile("m.gguf", tiny_tokenizer(template), None, outcome)
    assert 'SYSTEM """Be kind."""' in text
    assert [check.ok for check in outcome.checks] == [True]


@pytest.mark.parametrize(
    "template",
    [
        CHAT_TEMPLATE.replace("message['content']", "message['content'] | upper"),
        CHAT_TEMPLATE + "{{ messages | length }}",
        "{% for message in messages %}{% if not loop.first %}\n{% endif %}{{ message['content'] }}"
        "{% endfor %}{% if messages | length > 2 %} (long){% endif %}",
    ],
)
def test_a_template_that_is_more_than_pieces_is_said(template):
    with pytest.raises(UserError):
        turns_of(tiny_tokenizer(template))
    outcome = Verification("trained", "artefact", "Q8_0", "nothing")
    text = modelfile("m.gguf", tiny_tokenizer(template), None, outcome)
    assert "TEMPLATE" not in text and 'PARAMETER stop "<|im_end|>"' in text
    assert [check.ok for check in outcome.checks] == [False]
    assert "Write one by hand" in outcome.checks[0].what


def test_braces_in_a_template_stay_braces():
    turns = turns_of(tiny_tokenizer(CHAT_TEMPLATE.replace("<|im_start|>", "{{ '{{' }}")))
    chat = [{"role": "user", "content": "Why?"}]
    assert go.render(turns.go(), chat) == "{{user\nWhy?<|im_end|>\n{{assistant\n"
