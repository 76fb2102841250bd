"""Chat templates in TRL's scripts: rows rendered to text, and a template taken over from another model.

Trainers render chats themselves and find the assistant's turns in the text of any template, so no template
has to be changed for training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.data.example import Message
from burnish.data.text.dialect import for_template
from burnish.data.text.encode import common_prefix
from burnish.data.text.render import chat_renderer
from burnish.errors import UserError
from burnish.models.load import load_tokenizer
from burnish.trl.rows import is_conversational

LAYOUTS = (
    {"messages"},
    {"prompt"},
    {"prompt", "completion"},
    {"prompt", "chosen", "rejected"},
    {"chosen", "rejected"},
    {"prompt", "completion", "label"},
)
"""Columns that rows of chats have."""

ANSWERS = ("completion", "chosen", "rejected")


def apply_chat_template(
    example: Mapping[str, Any], processing_class: Any, tools: list[Any] | None = None, **template_kwargs: Any
) -> dict[str, Any]:
    """The texts of a row of chats: `text` of `messages`, else `prompt` and the answers that follow it.

    A prompt ends with the opening of the assistant's turn; one that ends in an answer is left open, to be
    continued. `chat_template_kwargs` of the row, and `template_kwargs`, go to the template.
    """
    names = {"messages", "prompt", "label", *ANSWERS} & example.keys()
    if names not in LAYOUTS:
        raise UserError(
            f"the row has the columns {', '.join(sorted(names)) or 'of no chat'}",
            where="example",
            fix="give messages; prompt; prompt and completion (and label); or (prompt,) chosen and rejected",
        )
    options = {**(example.get("chat_template_kwargs") or {}), **template_kwargs}

    def text(messages: Any, **flags: Any) -> str:
        return processing_class.apply_chat_template(
            messages, tools=tools or None, tokenize=False, **options, **flags
        )

    made = {"label": example["label"]} if "label" in names else {}
    if "messages" in names:
        return {"text": text(example["messages"]), **made}
    answers = [name for name in ANSWERS if name in names]
    if "prompt" not in names:
        return {name: text(example[name]) for name in answers} | made
    asked = example["prompt"]
    flag = "continue_final_message" if _is_open(asked) else "add_generation_prompt"
    whole = {name: text(asked + example[name]) for name in answers}
    # What a template adds to a prompt alone, such as the opening of its reasoning, is no part of it.
    prompt = text(asked, **{flag: True})
    for each in whole.values():
        prompt = prompt[: common_prefix(prompt, each)]
    return {"prompt": prompt, **{name: whole[name][len(prompt) :] for name in answers}, **made}


def _is_open(messages: list[Mapping[str, Any]]) -> bool:
    """Whether the last message is an answer to be continued."""
    role = messages[-1]["role"]
    if role not in ("user", "tool", "assistant"):
        raise UserError(
            f"the last message is of the role {role!r}, and nobody answers it",
            where="prompt",
            fix="end the prompt with a message of the user",
        )
    return role == "assistant"


def maybe_apply_chat_template(
    example: Mapping[str, Any], processing_class: Any, tools: list[Any] | None = None, **template_kwargs: Any
) -> dict[str, Any]:
    """`apply_chat_template` of a row of chats; any other row as it is."""
    if not is_conversational(example):
        return dict(example)
    return apply_chat_template(example, processing_class, tools, **template_kwargs)


def get_training_chat_template(processing_class: Any = None, tokenizer: Any = None) -> str | None:
    """The tokenizer's own chat template: training needs no other, whatever its markers."""
    found = processing_class if processing_class is not None else tokenizer
    template = getattr(found, "chat_template", None)
    if template is None:
        raise UserError("the tokenizer has no chat template", where="processing_class", fix="give it one")
    return template


def supports_tool_calling(processing_class: Any) -> bool:
    """Whether the chat template writes a tool's call and its result."""
    call = {"type": "function", "function": {"name": "name_7391", "arguments": {"value": "argument_5823"}}}
    chat: list[Message] = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "name": "name_7391", "content": "result_6047"},
    ]
    try:
        render = chat_renderer(processing_class)
        text = render(for_template(chat, processing_class, render), False)
    except UserError:
        return False
    return all(part in text for part in ("name_7391", "argument_5823", "result_6047"))


def clone_chat_template(
    model: Any, tokenizer: Any, source_tokenizer_path: str, resize_to_multiple_of: int | None = 64
) -> tuple[Any, Any, list[int]]:
    """Give a model and its tokenizer the chat template of another tokenizer, with its special tokens and its
    end token.

    Returns model, tokenizer and the ids of the tokens that are new. The embeddings are resized to a multiple
    of `resize_to_multiple_of`, and new ones are untrained. Rows beyond the vocabulary get no tokens.
    """
    source = load_tokenizer(source_tokenizer_path)
    if not source.chat_template:
        raise UserError("the tokenizer has no chat template", where=source_tokenizer_path, fix="name another")
    before = tokenizer.get_vocab()
    tokenizer.chat_template = source.chat_template
    tokenizer.add_tokens(list(source.added_tokens_decoder.values()))
    tokenizer.eos_token = source.eos_token
    added = sorted(place for token, place in tokenizer.get_vocab().items() if token not in before)
    rows = model.get_input_embeddings().weight.shape[0]
    if resize_to_multiple_of is not None or len(tokenizer) > rows:
        model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=resize_to_multiple_of)
    model.config.eos_token_id = tokenizer.eos_token_id
    if model.can_generate():
        model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model, tokenizer, added
