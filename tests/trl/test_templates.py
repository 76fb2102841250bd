"""Chat templates in TRL's scripts."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import burnish
from burnish.errors import UserError
from tests.conftest import CHAT_TEMPLATE, tiny_tokenizer
from tests.trl.test_rows import ASKED, NO, YES

OPEN = "<|im_start|>user\nq<|im_end|>\n"
START = OPEN + "<|im_start|>assistant\n"
TOOLS_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}"
    "{% endfor %}"
)


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


@pytest.mark.parametrize(
    ("row", "made"),
    [
        ({"messages": ASKED + YES, "id": 1}, {"text": START + "yes<|im_end|>\n"}),
        ({"prompt": ASKED}, {"prompt": START}),
        ({"prompt": ASKED, "completion": YES}, {"prompt": START, "completion": "yes<|im_end|>\n"}),
        (
            {"prompt": ASKED, "completion": NO, "label": False},
            {"prompt": START, "completion": "no<|im_end|>\n", "label": False},
        ),
        (
            {"prompt": ASKED, "chosen": YES, "rejected": NO},
            {"prompt": START, "chosen": "yes<|im_end|>\n", "rejected": "no<|im_end|>\n"},
        ),
        (
            {"chosen": ASKED + YES, "rejected": ASKED + NO},
            {"chosen": START + "yes<|im_end|>\n", "rejected": START + "no<|im_end|>\n"},
        ),
        ({"prompt": ASKED + YES}, {"prompt": START + "yes"}),
    ],
)
def test_rows_of_chats_as_texts(tokenizer, row, made):
    assert burnish.apply_chat_template(row, tokenizer) == made
    assert burnish.maybe_apply_chat_template(row, tokenizer) == made


def test_what_a_template_adds_to_a_prompt_alone_is_no_part_of_it():
    thinking = tiny_tokenizer(CHAT_TEMPLATE.replace("assistant\n{% endif", "assistant\n<think>\n{% endif"))
    assert burnish.apply_chat_template({"prompt": ASKED, "completion": YES}, thinking)["prompt"] == START


def test_arguments_of_the_template(tokenizer):
    shouting = tiny_tokenizer("{% if loud %}{{ messages[0].content | upper }}{% else %}quiet{% endif %}")
    row = {"messages": ASKED, "chat_template_kwargs": {"loud": True}}
    assert burnish.apply_chat_template(row, shouting) == {"text": "Q"}
    assert burnish.apply_chat_template({"messages": ASKED}, shouting, loud=True) == {"text": "Q"}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "a"}, "the row has the columns of no chat"),
        ({"prompt": ASKED, "chosen": YES}, "the row has the columns chosen, prompt"),
        ({"prompt": [{"role": "system", "content": "s"}]}, "the last message is of the role 'system'"),
    ],
)
def test_rows_that_are_no_chats(tokenizer, row, said):
    with pytest.raises(UserError) as error:
        burnish.apply_chat_template(row, tokenizer)
    assert said in str(error.value)
    assert burnish.maybe_apply_chat_template({"text": "a"}, tokenizer) == {"text": "a"}


def test_training_needs_no_template_of_its_own(tokenizer):
    assert burnish.get_training_chat_template(tokenizer) == tokenizer.chat_template
    with pytest.raises(UserError, match="the tokenizer has no chat template"):
        burnish.get_training_chat_template(tiny_tokenizer(None))


def test_templates_that_write_tools(tokenizer):
    assert not burnish.supports_tool_calling(tokenizer)
    assert burnish.supports_tool_calling(tiny_tokenizer(TOOLS_TEMPLATE))
    assert not burnish.supports_tool_calling(tiny_tokenizer(None))


def test_a_template_is_taken_over_with_its_tokens(tiny_model_dir, tmp_path):
    source = tiny_tokenizer(TOOLS_TEMPLATE)
    source.add_tokens(["<end>", "<call>"], special_tokens=True)
    source.eos_token = "<end>"
    source.save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    model, tokenizer, added = burnish.clone_chat_template(model, tokenizer, str(tmp_path))
    assert added == [259, 260] and tokenizer.chat_template == TOOLS_TEMPLATE
    assert model.get_input_embeddings().weight.shape[0] == model.config.vocab_size == 320
    assert tokenizer.eos_token_id == model.config.eos_token_id == model.generation_config.eos_token_id == 259
    assert model(torch.tensor([[260]])).logits.shape[-1] == 320
