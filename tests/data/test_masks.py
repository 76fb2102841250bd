"""What is trained of a chat, token by token, in the chat templates of many model families."""

from __future__ import annotations

from itertools import groupby

import pytest

from burnish.data.example import TokenizedExample
from burnish.data.preparation.options import PreparationOptions
from burnish.data.reading.formats import LANGUAGE
from burnish.data.text.preview import CLOSE, OPEN
from burnish.data.text.tokenize import tokenize
from burnish.errors import UserError
from tests.data.families import CHATS, FAMILIES, HERE, KINDS, Family, chats_of

ASSISTANT_ONLY = PreparationOptions(assistant_only_loss=True)
END = "␃"
CASES = [(family, chat) for family in FAMILIES.values() for chat in chats_of(family)]


def examples_of(row: dict, tokenizer, options: PreparationOptions = ASSISTANT_ONLY) -> list[TokenizedExample]:
    (found,) = tokenize([LANGUAGE(row)], tokenizer, options)
    if isinstance(found, UserError):
        raise found
    return found


def marked(example: TokenizedExample, tokenizer) -> str:
    """The text of an example with its trained runs in brackets, from the token ids."""
    tokens = example.prompt + example.completions[0]
    mask = [False] * len(example.prompt) + example.trained[0]
    parts = []
    for trained, run in groupby(zip(tokens, mask, strict=True), key=lambda pair: pair[1]):
        text = tokenizer.decode([token for token, _ in run])
        parts.append(f"{OPEN}{text}{CLOSE}" if trained else text)
    return "".join(parts)


def golden(family: Family) -> dict[str, list[str]]:
    """The rows that come of each chat, as the golden file has them."""
    rows: dict[str, list[str]] = {}
    for section in (HERE / f"{family.name}.txt").read_text(encoding="utf-8").split(END + "\n")[:-1]:
        title, text = section.split("\n--- ", 1)[1].split("\n", 1)
        rows.setdefault(title, []).append(text)
    return rows


def plain(text: str) -> str:
    return text.replace(OPEN, "").replace(CLOSE, "")


def spans(text: str) -> list[tuple[int, int]]:
    """The characters between brackets, counted without these."""
    edges = [len(plain(text[:i])) for i, c in enumerate(text) if c in OPEN + CLOSE]
    return list(zip(edges[::2], edges[1::2], strict=True))


@pytest.mark.parametrize(("family", "chat"), CASES, ids=[f"{f.name}-{c}" for f, c in CASES])
def test_bytes_trained_are_those_of_the_golden_file(family, chat):
    tokenizer = family.tokenizer("bytes")
    found = [marked(example, tokenizer) for example in examples_of(chats_of(family)[chat], tokenizer)]
    assert found == golden(family)[chat]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_every_token_is_trained_as_its_characters_say(family, kind):
    """Ids are those of the whole text, and a token is trained where it ends within a trained part."""
    tokenizer = family.tokenizer(kind)
    for chat, row in chats_of(family).items():
        for example, text in zip(examples_of(row, tokenizer), golden(family)[chat], strict=True):
            whole = tokenizer(plain(text), add_special_tokens=False, return_offsets_mapping=True)
            expected = [
                any(start < end <= stop for start, stop in spans(text)) for _, end in whole["offset_mapping"]
            ]
            assert example.completions[0] == whole["input_ids"]
            for token, want, has in zip(whole["input_ids"], expected, example.trained[0], strict=True):
                assert want == has, (chat, kind, tokenizer.decode(token))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_the_whole_chat_is_rendered_as_the_template_does(family):
    """The golden files show the template's own text, so its shape was reviewed too."""
    tokenizer = family.tokenizer("bytes")
    row = chats_of(family)["turns"]
    assert plain(golden(family)["turns"][0]) == tokenizer.apply_chat_template(row["messages"], tokenize=False)


def test_there_is_a_golden_text_for_every_chat_of_every_family():
    assert {family: list(golden(family)) for family in FAMILIES.values()} == {
        family: list(chats_of(family)) for family in FAMILIES.values()
    }
    assert len(FAMILIES) >= 24 and {needs for needs, _ in CHATS.values()} == {
        "",
        "system",
        "tools",
        "reasoning",
        "thoughts",
    }


def write_golden() -> None:
    """Write all golden files anew, for review: `python -m tests.data.test_masks`."""
    for family in FAMILIES.values():
        tokenizer = family.tokenizer("bytes")
        text = f"{family.name}: the end of a turn is {family.end!r}. {family.note}".rstrip() + "\n"
        for chat, row in chats_of(family).items():
            for example in examples_of(row, tokenizer):
                text += f"\n--- {chat}\n{marked(example, tokenizer)}{END}\n"
        (HERE / f"{family.name}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_golden()
