"""Any conversation, in any family's template: trained as it should be, or refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import permutations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.data.example import TokenizedExample
from burnish.data.reading.formats import LANGUAGE
from burnish.data.text.beginnings import ANSWER as PLACEHOLDER
from burnish.data.text.control import control_tokens
from burnish.data.text.dialect import for_template
from burnish.data.text.render import chat_renderer
from burnish.data.text.tokenize import tokenize
from burnish.errors import UserError
from tests.data.chats import assistant, system, user
from tests.data.families import FAMILIES, RESULT, WEATHER, Family, calls, thinking
from tests.data.test_masks import ASSISTANT_ONLY

# Conversations

MARKS = ("<think>", "</think>", "<tool_call>", PLACEHOLDER)
PIECES = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Co", "Cn")), max_size=12),
    st.sampled_from(
        ["", " ", "\n\n", " yes\n", "I am fine.", "{'a': 1}", "ü 🙂", "e\u0301", '"', "<b>", "[x]"]
    ),
)
CONTROL = st.sampled_from(
    sorted({token for family in FAMILIES.values() for token in family.control.split()} | {"<unk>"})
)
CONTENT = st.lists(PIECES, min_size=1, max_size=3).map("".join)
TRAPS = st.lists(st.one_of(PIECES, CONTROL, st.sampled_from(MARKS)), min_size=1, max_size=4).map("".join)


@st.composite
def conversations(draw: Any, family: Family, contents: Any) -> dict[str, Any]:
    knows = family.knows.split()
    messages = [system(draw(contents))] if "system" in knows and draw(st.booleans()) else []
    tools = "tools" in knows and draw(st.booleans())
    for _ in range(draw(st.integers(1, 3))):
        messages.append(user(draw(contents)))
        if tools and draw(st.booleans()):
            arguments = {"city": draw(contents), "days": draw(st.integers(0, 3))}
            call = calls()
            call["tool_calls"][0]["function"]["arguments"] = arguments
            messages += [_reasoned(draw, knows, call, contents), {**RESULT, "content": draw(contents)}]
        messages.append(_reasoned(draw, knows, assistant(draw(contents)), contents))
    return {"messages": messages, **({"tools": [WEATHER]} if tools else {})}


def _reasoned(draw: Any, knows: list[str], message: dict[str, Any], contents: Any) -> dict[str, Any]:
    return thinking(message, draw(contents)) if "reasoning" in knows and draw(st.booleans()) else message


# What must hold


def runs(example: TokenizedExample, tokenizer: Any, trained: bool) -> list[str]:
    """The trained, or the untrained, runs of an example, decoded."""
    found: list[list[int]] = [[]]
    for token, mask in zip(example.completions[0], example.trained[0], strict=True):
        if mask == trained:
            found[-1].append(token)
        elif found[-1]:
            found.append([])
    return [tokenizer.decode(run) for run in found if run]


def written(said: str, text: str) -> bool:
    """Whether a text has what is said, without its white space around, as it is or within JSON."""
    said = said.strip()
    return said in text or json.dumps(said, ensure_ascii=False)[1:-1] in text


def says(message: dict[str, Any]) -> Iterator[str]:
    yield from re.split("</?think>", message["content"])  # templates take these out and write their own
    yield message.get("reasoning_content", "")
    for call in message.get("tool_calls", ()):
        yield call["function"]["name"]
        yield call["function"]["arguments"]["city"]


def ends_of(family: Family, last: bool) -> tuple[str, ...]:
    """How a trained turn may end, and whether it is the last of its row matters."""
    match family.name:
        case "falcon":
            return ("",)
        case "glm4" | "glm4_5":
            return ("",) if last else ("<|user|>", "<|observation|>")
        case "gpt_oss":
            return ("<|return|>", "<|call|>") if last else ("",)
        case "phi3":
            return (family.end + "<|endoftext|>",) if last else (family.end,)
    return (family.end,)


def check(family: Family, row: dict[str, Any], examples: list[TokenizedExample], tokenizer: Any) -> None:
    pool = []
    for example in examples:
        trained, ids = runs(example, tokenizer, True), example.completions[0]
        pool += trained
        for place, run in enumerate(trained):
            assert run.endswith(ends_of(family, place == len(trained) - 1 and example.trained[0][-1])), run
        if family.bos is not None:
            assert ids[:2] != [tokenizer.bos_token_id] * 2
    untrained = "\0".join(runs(examples[0], tokenizer, False))
    turns = []
    for message in row["messages"]:
        if message["role"] == "assistant":
            turns.append(list(says(message)))
        else:
            assert written(message["content"], untrained), (message, untrained)
    assert len(pool) == len(turns)
    # Of one row the runs are in order. Where turns have rows of their own, some order fits.
    orders = permutations(pool) if len(examples) > 1 else [pool]
    assert any(
        all(all(written(said, run) for said in turn) for turn, run in zip(turns, order, strict=True))
        for order in orders
    ), (turns, pool)


def rendered(row: dict[str, Any], tokenizer: Any) -> str:
    render = chat_renderer(tokenizer, row.get("tools"))
    return render(for_template(row["messages"], tokenizer, render), False)


FAMILY = st.sampled_from(list(FAMILIES.values()))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), family=FAMILY)
def test_any_conversation_is_trained_turn_by_turn(data, family):
    tokenizer = family.tokenizer("bytes")
    row = data.draw(conversations(family, CONTENT))
    (examples,) = tokenize([LANGUAGE(row)], tokenizer, ASSISTANT_ONLY)
    if isinstance(examples, UserError):
        return
    check(family, row, examples, tokenizer)
    if not any("reasoning_content" in message for message in row["messages"]):
        whole = rendered(row, tokenizer)
        assert [e.completions[0] for e in examples] == [tokenizer.encode(whole, add_special_tokens=False)]


@settings(max_examples=100, deadline=None)
@given(data=st.data(), family=FAMILY)
def test_text_like_control_tokens_adds_none(data, family):
    tokenizer = family.tokenizer("bytes")
    row = data.draw(conversations(family, TRAPS))
    (examples,) = tokenize([LANGUAGE(row)], tokenizer, ASSISTANT_ONLY)
    if isinstance(examples, UserError):
        return
    check(family, row, examples, tokenizer)
    special = set(tokenizer.convert_tokens_to_ids(family.control.split()))
    control = control_tokens(tokenizer)
    hidden = {"messages": control.hide_messages(LANGUAGE(row).completions[0]), "tools": row.get("tools")}
    if not any("reasoning_content" in message for message in row["messages"]):
        harmless = tokenizer.encode(rendered(hidden, tokenizer), add_special_tokens=False)
        found = [token for token in examples[0].completions[0] if token in special]
        assert found == [token for token in harmless if token in special]
