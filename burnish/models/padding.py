"""The padding token of a model, and whether the model's own forward reads what was trained.

Forests are never padded. But what loads a saved reward model elsewhere (`AutoModelForSequenceClassification`)
finds the last token of a text as the rightmost one that is not the padding token. Where padding is the
end-of-text token, that is the token before the one that was trained; without a padding token, batches are
refused. So a reward model gets a padding token of its own, that texts do not end in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from burnish.errors import UserError
from burnish.models.forward import inner_model
from burnish.models.precision import working_copies
from burnish.models.states import evaluating

if TYPE_CHECKING:
    from burnish.models.load import Task

OWN_TOKEN = "<|pad|>"
"""Added where a tokenizer has nothing of its own to pad with."""

UNUSED = (
    re.compile(r"\W*(finetune_right_)?pad(ding)?(_id)?\W*", re.IGNORECASE),
    re.compile(r".*(reserved|unused|extra_id).*", re.IGNORECASE),
    re.compile(r"\W*(fim|vision)_pad\W*", re.IGNORECASE),
)
"""Names of special tokens that texts do not have, the best to pad with first."""

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
"""How far two runs of one model may be apart, relative to its outputs; 16 bits: `LOOSE`."""
LOOSE = 5e-2


def settle_padding(model: nn.Module, tokenizer: PreTrainedTokenizerBase, task: Task) -> str:
    """Give tokenizer and model the same padding token. What a reward model got, and why, in a sentence.

    A causal model without one pads with its end token, which attention masks tell apart.
    """
    inner = inner_model(model)
    note = ""
    if task == "reward":
        note = _own_padding(inner, tokenizer)
    elif tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    if task != "causal":
        tokenizer.padding_side = "right"  # where positions are counted from the left, as in training
    if task == "reward" or getattr(inner.config, "pad_token_id", None) is None:
        set_padding(inner.config, tokenizer.pad_token_id)
    return note


def set_padding(config: Any, token: int | None) -> None:
    """Write the padding token into a model's config, and into its part for text."""
    config.pad_token_id = config.get_text_config().pad_token_id = token


def _own_padding(inner: Any, tokenizer: PreTrainedTokenizerBase) -> str:
    before = tokenizer.pad_token
    ends = end_tokens(inner.config, tokenizer)
    if before is not None and tokenizer.pad_token_id not in ends:
        return ""
    chosen = _unused_token(tokenizer, ends)
    if chosen is None:
        tokenizer.add_special_tokens({"pad_token": OWN_TOKEN})
        embedding = inner.get_input_embeddings()
        if not isinstance(embedding, nn.Embedding):
            raise UserError(
                "the tokenizer has no token to pad with but the one that texts end in, and the embeddings "
                "that a token of its own would be added to are trained by the adapter",
                where="pad_token",
                fix="add a padding token to the tokenizer and to the model's embeddings, and save both",
            )
        if len(tokenizer) > embedding.weight.shape[0]:
            inner.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    else:
        tokenizer.pad_token = chosen
    was = "it had none" if before is None else f"it was {before}, which texts end in"
    return (
        f"the padding token is now {tokenizer.pad_token} ({was}): a saved reward model reads the last token "
        "that is not padding, and training reads the last one"
    )


def end_tokens(config: Any, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The tokens that a text may end in by tokenizer and config."""
    found = [tokenizer.eos_token_id]
    for part in (config, config.get_text_config()):
        ends = getattr(part, "eos_token_id", None)
        found += ends if isinstance(ends, list) else [ends]
    return {token for token in found if token is not None}


def _unused_token(tokenizer: PreTrainedTokenizerBase, ends: set[int]) -> str | None:
    """A special token of the vocabulary that texts do not have."""
    template = str(tokenizer.chat_template or "")
    special = [
        (index, str(token))
        for index, token in sorted(tokenizer.added_tokens_decoder.items())
        if token.special and index not in (*ends, tokenizer.bos_token_id) and str(token) not in template
    ]
    for pattern in UNUSED:
        if found := next((name for _, name in special if pattern.fullmatch(name)), None):
            return found
    unknown = tokenizer.unk_token
    return unknown if unknown is not None and any(name == unknown for _, name in special) else None


def check_standard_forward(model: nn.Module, tokenizer: PreTrainedTokenizerBase, row: Sequence[int]) -> None:
    """Whether the model's own forward, alone and in a padded batch, reads what training reads.

    `row` is a text as tokens. A reward model reads its last token, a process reward model every one.
    Raises `UserError` where it would be another.
    """
    ids = list(row)
    texts = [ids, ids[len(ids) // 2 :]]
    config = inner_model(model).config
    pad = config.get_text_config().pad_token_id
    with _own_forward(model):
        set_padding(config, None)  # then it is the last token of a text alone
        try:
            trained = [_forward(model, [text])[0] for text in texts]
        finally:
            set_padding(config, pad)
        alone = [_forward(model, [text])[0] for text in texts]
        together = [
            found[: len(each)] for found, each in zip(_padded(model, tokenizer, texts), trained, strict=True)
        ]
    if not _alike(alone, trained):
        name = tokenizer.convert_ids_to_tokens(pad) if pad is not None else "none"
        raise UserError(
            f"a text that ends in {tokenizer.convert_ids_to_tokens(ids[-1])!r} is read at another token by "
            f"the saved model than in training: its padding token is {name!r}",
            where="pad_token",
            fix="give a tokenizer whose pad_token no text ends in",
        )
    if not _alike(together, trained):
        raise UserError(
            "a text in a padded batch gets other numbers from the model's own forward than alone",
            where="pad_token",
            fix=f"give a model that reads an attention mask; its padding is {tokenizer.pad_token!r}",
        )


@contextmanager
def _own_forward(model: nn.Module) -> Iterator[None]:
    """Within this context the model runs as Transformers would run it, in evaluation."""
    was_training = model.training
    model.train()  # bitsandbytes repacks its layers for good at a forward outside of training
    try:
        with torch.no_grad(), evaluating(model), working_copies(inner_model(model)):
            yield
    finally:
        model.train(was_training)


def _padded(model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: list[list[int]]) -> list[Tensor]:
    """What the model says of texts in one batch, as its tokenizer pads them."""
    longest = max(map(len, texts))
    pad = tokenizer.pad_token_id or 0
    rows = [text + [pad] * (longest - len(text)) for text in texts]
    masks = [[1] * len(text) + [0] * (longest - len(text)) for text in texts]
    return list(_forward(model, rows, masks))


def _forward(model: nn.Module, rows: list[list[int]], masks: list[list[int]] | None = None) -> Tensor:
    device = next(model.parameters()).device
    ids = torch.tensor(rows, device=device)
    mask = torch.ones_like(ids) if masks is None else torch.tensor(masks, device=device)
    return model(input_ids=ids, attention_mask=mask).logits


def _alike(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    limit = TOLERANCE.get(expected[0].dtype, LOOSE)
    return all(
        float((a.double() - b.double()).abs().max()) <= limit * (1 + float(b.abs().max()))
        for a, b in zip(found, expected, strict=True)
    )
