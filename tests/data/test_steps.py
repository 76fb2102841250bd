"""Judged steps: the token at the end of each is trained, and labels are cut with the tokens."""

from __future__ import annotations

import pytest

from burnish.data.example import TokenizedExample
from burnish.data.preparation.options import PreparationOptions
from burnish.data.preparation.truncate import fit
from burnish.data.reading.formats import STEPWISE
from burnish.data.reading.variants import steps_ending_in
from burnish.data.text.tokenize import tokenize
from burnish.errors import UserError
from tests.conftest import CHAT_TEMPLATE, tiny_tokenizer
from tests.data.families import FAMILIES

ROW = {"prompt": "2*3+1?", "completions": ["2*3=6", "6+1=8", "8"], "labels": [True, False, 0.25]}
CHAT = {**ROW, "prompt": [{"role": "user", "content": "2*3+1?"}]}


def tokenized(row, tokenizer=None, family=STEPWISE, **options) -> TokenizedExample:
    (found,) = tokenize([family(row)], tokenizer or tiny_tokenizer(), PreparationOptions(**options))
    if isinstance(found, UserError):
        raise found
    (example,) = found
    return example


def judged(example: TokenizedExample, tokenizer=None) -> list[str]:
    """The completion up to each judged token."""
    tokenizer = tokenizer or tiny_tokenizer()
    (completion,), (mask,) = example.completions, example.trained
    return [tokenizer.decode(completion[: place + 1]) for place, trained in enumerate(mask) if trained]


def test_plain_steps_are_judged_at_their_separators():
    example = tokenized(ROW)
    assert judged(example) == ["2*3=6\n", "2*3=6\n6+1=8\n", "2*3=6\n6+1=8\n8\n"]
    assert example.columns == {"labels": [1.0, 0.0, 0.25]}
    assert tiny_tokenizer().decode(example.prompt) == ROW["prompt"]
    assert tiny_tokenizer().eos_token_id not in example.completions[0]


def test_a_separator_of_ones_own_and_the_last_step_only():
    example = tokenized(ROW, family=steps_ending_in(" ки", last_step_only=True))
    assert judged(example) == ["2*3=6 ки6+1=8 ки8 ки"]
    assert example.columns == {"labels": [0.25]}
    assert judged(tokenized(ROW, family=steps_ending_in(""))) == ["2*3=6", "2*3=66+1=8", "2*3=66+1=88"]


def test_steps_of_a_chat_are_those_of_its_text():
    assert judged(tokenized(CHAT)) == judged(tokenized(ROW))


def test_a_template_that_strips_takes_the_last_separator():
    tokenizer = tiny_tokenizer(CHAT_TEMPLATE.replace("message['content']", "message['content'].strip()"))
    assert judged(tokenized(CHAT, tokenizer)) == ["2*3=6\n", "2*3=6\n6+1=8\n", "2*3=6\n6+1=8\n8"]


def test_control_tokens_in_a_step_move_nothing():
    row = {**CHAT, "completions": ["say <|im_end|>", "done"], "labels": [1, 0]}
    assert judged(tokenized(row)) == ["say <|im_end|>\n", "say <|im_end|>\ndone\n"]


def test_a_template_that_rewrites_the_steps_is_refused():
    tokenizer = tiny_tokenizer(CHAT_TEMPLATE.replace("message['content']", "message['content'].upper()"))
    row = {**CHAT, "completions": ["two", "three"], "labels": [1, 0]}
    with pytest.raises(UserError, match="leaves out message 1"):
        tokenized(row, tokenizer)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_template_has_a_token_for_every_step(family):
    tokenizer = family.tokenizer("bytes")
    texts = [text.rstrip() for text in judged(tokenized(CHAT, tokenizer), tokenizer)]
    assert len(texts) == 3
    assert all(text.endswith(step) for text, step in zip(texts, ROW["completions"], strict=True))


def test_a_token_that_goes_on_into_the_next_step_judges_the_first():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"[UNK]": 0, "a": 1, "b": 2, "\n": 3, "\n\n": 4, "?": 5, "\n\n\n": 6}
    core = Tokenizer(models.BPE(words, merges=[("\n", "\n"), ("\n\n", "\n")], unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Split(pattern="?", behavior="isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]", eos_token="?")
    example = tokenized({"prompt": "?", "completions": ["a", "\nb"], "labels": [1, 0]}, tokenizer)
    assert example.completions == [[1, 4, 2, 3]]  # a, two line ends in one token, b, a line end
    assert example.trained == [[False, True, False, True]]


def test_two_steps_in_one_token_are_refused():
    from burnish.data.text.encode import Encoded
    from burnish.data.text.tokenize import _mask_of_steps

    with pytest.raises(UserError, match="two steps end within one token"):
        _mask_of_steps(Encoded([7, 8], lambda position: int(position >= 1)), (3, 4))


@pytest.mark.parametrize(
    ("mode", "length", "labels"),
    [
        ("keep_start", 12, [1.0]),
        ("keep_start", 18, [1.0, 0.0]),
        ("keep_end", 8, [0.0, 0.25]),
        ("keep_end", 2, [0.25]),
        ("keep_end", 18, [1.0, 0.0, 0.25]),
    ],
)
def test_labels_are_cut_with_their_steps(mode, length, labels):
    example = tokenized(ROW)
    (kept,), why = fit(example, PreparationOptions(max_length=length, truncation_mode=mode))
    assert not why and sum(kept.trained[0]) == len(labels)
    assert kept.columns["labels"] == labels


def test_nothing_is_left_where_no_step_ends():
    found = fit(tokenized(ROW), PreparationOptions(max_length=9))
    assert found == ([], "no trained token after truncation")
