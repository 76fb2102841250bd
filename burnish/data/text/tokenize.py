"""Examples to token ids, a batch at a time.

Every branch (prompt and one completion) is one text, tokenized once. The prompt of an example is the tokens
that all its branches have in common, up to where the completions begin. A token that straddles the seam
belongs to the completion; where one branch has such a token, the others' tokens from there on are theirs too,
because branches are compared by the probability of all that follows the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from burnish.data.example import Example, Text, TokenizedExample, joined_warnings
from burnish.data.preparation.options import PreparationOptions
from burnish.data.reading.readers import TEMPLATE_COLUMNS
from burnish.data.text.control import WARNING as CONTROL_WARNING
from burnish.data.text.control import ControlTokens, control_tokens
from burnish.data.text.dialect import NO_TOOLS, for_template, writes_tools
from burnish.data.text.encode import Encoded, common_prefix, encode
from burnish.data.text.render import Render, chat_renderer
from burnish.data.text.template import Conversation, Span
from burnish.data.text.turns import passages, trained_turns
from burnish.errors import UserError


@dataclass(frozen=True)
class Branch:
    """One completion with its prompt, as one text."""

    text: str
    completion: int | None  # character where the completion begins; None: it is all there is
    spans: list[Span] | None  # what may be trained of it; None: all
    renamed: str = ""  # the text for `ControlTokens.encode`, where the content has control tokens
    warning: str = ""
    steps: tuple[int, ...] = ()  # where its steps end; only the tokens there are trained, if there are any

    @property
    def places(self) -> list[int]:
        """Characters that must be found among the tokens."""
        completion = [] if self.completion is None else [self.completion]
        steps = (place for end in self.steps for place in (end - 1, end))
        return [*completion, *(edge for span in self.spans or () for edge in span), *steps]


@dataclass(frozen=True)
class Draft:
    """An example as texts, ready for the tokenizer."""

    example: Example
    branches: list[Branch]
    chat: bool


Drafts = list[list[Draft] | UserError]
"""What came of each example as text, or what is wrong with it."""


def tokenize(
    examples: Sequence[Example], tokenizer: Any, options: PreparationOptions
) -> list[list[TokenizedExample] | UserError]:
    """Tokenize a batch of examples, without truncation: what came of each, or what is wrong with it."""
    drafts = draft_all(examples, tokenizer, options)
    return assemble_all(drafts, encode_all(drafts, tokenizer), tokenizer, options)


def draft_all(examples: Sequence[Example], tokenizer: Any, options: PreparationOptions) -> Drafts:
    control = control_tokens(tokenizer)
    return [_attempt(draft, example, tokenizer, control, options) for example in examples]


def encode_all(drafts: Drafts, tokenizer: Any) -> dict[int, Encoded]:
    """Every branch of every draft, by `id(branch)`; one call of the tokenizer for each kind of text."""
    found = [each for drafted in drafts if isinstance(drafted, list) for each in drafted]
    encoded: dict[int, Encoded] = {}
    for chat in (False, True):
        batch = [b for d in found if d.chat == chat for b in d.branches if not b.renamed]
        texts, places = [b.text for b in batch], [b.places for b in batch]
        results = encode(tokenizer, texts, places, add_special_tokens=not chat)
        encoded |= {id(branch): result for branch, result in zip(batch, results, strict=True)}
    return encoded


def assemble_all(
    drafts: Drafts, encoded: dict[int, Encoded], tokenizer: Any, options: PreparationOptions
) -> list[list[TokenizedExample] | UserError]:
    """Texts with their tokens to examples."""
    given = encoded, tokenizer, options
    return [d if isinstance(d, UserError) else _attempt(_assemble_rows, d, *given) for d in drafts]


def _attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns, or the `UserError` that it raises."""
    try:
        return function(*arguments)
    except UserError as error:
        return error


# Text


def draft(
    example: Example, tokenizer: Any, control: ControlTokens, options: PreparationOptions
) -> list[Draft]:
    """The texts of an example; several where turns need a row of their own. Raises `UserError`."""
    if example.labels:
        return [found for alone in example.alone for found in draft(alone, tokenizer, control, options)]
    if example.plain is not None and not tokenizer.chat_template:
        plain = example.plain
        example = replace(plain, row=example.row, origin=example.origin)
    if not example.completions:
        return [Draft(example, [_prompt_alone(example, tokenizer, control, options)], chat=example.is_chat)]
    if not example.is_chat:
        branches = [_plain_branch(example, text, tokenizer, options) for text in example.completions]
        return [Draft(example, branches, chat=False)]
    rows = [_chat_branches(example, text, tokenizer, control, options) for text in example.completions]
    if len(rows) == 1:
        return [Draft(example, [branch], chat=True) for branch in rows[0]]
    if any(len(row) > 1 for row in rows):
        raise UserError(
            "the chat template leaves out reasoning in a completion of several turns, which cannot be "
            "trained in one row",
            fix="make the last turn the completion and the others the prompt",
            reason="the chat template leaves out reasoning",
        )
    return [Draft(example, [branch for row in rows for branch in row], chat=True)]


def _prompt_alone(
    example: Example, tokenizer: Any, control: ControlTokens, options: PreparationOptions
) -> Branch:
    """A prompt that is to be answered, as the model is asked it."""
    if isinstance(example.prompt, str):
        return Branch(example.prompt, None, None)
    messages, tools, renamed = example.prompt, example.columns.get("tools"), ""
    hides = control.among(messages, tools)
    if hides:
        messages, tools = control.hide_messages(messages), control.hide_tools(tools)
    render = _renderer(example, tokenizer, options, tools)
    text = render(for_template(messages, tokenizer, render), True)
    if hides:
        text, renamed = control.restore(text)
    warnings = [CONTROL_WARNING] if hides else []
    if tools and not writes_tools(tokenizer):
        warnings.append(NO_TOOLS)
    return Branch(text, None, None, renamed, joined_warnings(warnings))


def _renderer(example: Example, tokenizer: Any, options: PreparationOptions, tools: Any) -> Render:
    """The chat template with the arguments of the options, and of the row on top."""
    template_kwargs = {**options.chat_template_kwargs, **example.columns.get("chat_template_kwargs", {})}
    return chat_renderer(tokenizer, tools, **template_kwargs)


def _plain_branch(example: Example, completion: Text, tokenizer: Any, options: PreparationOptions) -> Branch:
    assert isinstance(example.prompt, str) and isinstance(completion, str)
    for name in ("assistant_only_loss", "last_turn_only_loss"):
        if getattr(options, name):
            raise UserError(
                f"{name} needs chats, and this row is plain text",
                fix=f"set {name} to false, or make the rows lists of messages",
            )
    eos = options.eos_token or tokenizer.eos_token or ""
    ending = "" if completion.endswith(eos) or example.steps else eos
    start = len(example.prompt)
    steps = tuple(start + end for end in example.steps)
    text = example.prompt + completion + ending
    return Branch(text, start if example.splits else None, None, steps=steps)


def _chat_branches(
    example: Example, completion: Text, tokenizer: Any, control: ControlTokens, options: PreparationOptions
) -> list[Branch]:
    """The chat as one text, and the turns that are trained elsewhere, each with the chat before it."""
    assert not isinstance(completion, str)
    prompt = [] if isinstance(example.prompt, str) else example.prompt
    messages, tools = [*prompt, *completion], example.columns.get("tools")
    if not messages:
        return [Branch("", None, None)]
    prompt_trained = not prompt or not options.trains_completion_only(example)
    turns = trained_turns(prompt, completion, options.for_completion(example, completion), prompt_trained)
    hides = control.among(messages, tools)
    if hides:
        messages, tools = control.hide_messages(messages), control.hide_tools(tools)
    render = _renderer(example, tokenizer, options, tools)
    whole = Conversation.of(for_template(messages, tokenizer, render), render)
    always = [CONTROL_WARNING] if hides else []
    if tools and not writes_tools(tokenizer):
        always.append(NO_TOOLS)
    match_prompt = options.match_generation_prompt and example.is_whole
    branches = []
    for made in passages(whole, turns, 0 if prompt_trained else len(prompt), match_prompt):
        passage = made.ended(options.end_last_turn)
        text, renamed = passage.text, ""
        if hides:
            text, renamed = control.restore(text)
        start = passage.completion_start(len(prompt)) if example.splits else None
        steps = _steps_in(text, start, completion[-1]["content"], example.steps) if example.steps else ()
        warning = joined_warnings([*always, *passage.warnings])
        branches.append(Branch(text, start, passage.spans, renamed, warning, steps))
    return branches


def _steps_in(text: str, start: int | None, content: str, steps: tuple[int, ...]) -> tuple[int, ...]:
    """Where the steps of the last message end in the rendered chat; a template may strip what it says."""
    written = content if text.find(content, start or 0) >= 0 else content.strip()
    found = text.find(written, start or 0)
    if found < 0:
        raise UserError(
            "the chat template writes the steps in another way than the row",
            fix="use a template that writes contents as they are, or give the prompt as plain text",
            reason="the chat template rewrites the steps",
        )
    before = content.index(written)
    return tuple(found + min(end - before, len(written)) for end in steps)


# Tokens


def _assemble_rows(
    drafts: list[Draft], encoded: dict[int, Encoded], tokenizer: Any, options: PreparationOptions
) -> list[TokenizedExample]:
    return [_assemble(found, encoded, tokenizer, options) for found in drafts]


def _assemble(
    draft: Draft, encoded: dict[int, Encoded], tokenizer: Any, options: PreparationOptions
) -> TokenizedExample:
    example = draft.example
    rows = [
        control_tokens(tokenizer).encode(tokenizer, b.renamed) if b.renamed else encoded[id(b)]
        for b in draft.branches
    ]
    if not example.completions:
        warning = draft.branches[0].warning
        return TokenizedExample(rows[0].ids, [], [], {}, example.row, example.origin, warning)
    starts = [0] * len(rows)
    if options.trains_completion_only(example):
        starts = [_start(row, branch) for row, branch in zip(rows, draft.branches, strict=True)]
    shared = min(starts)
    for row in rows[1:]:
        shared = min(shared, common_prefix(rows[0].ids[:shared], row.ids[:shared]))
    masks = [_mask(row, branch) for row, branch in zip(rows, draft.branches, strict=True)]
    return TokenizedExample(
        rows[0].ids[:shared],
        [row.ids[shared:] for row in rows],
        [mask[shared:] for mask in masks],
        {name: value for name, value in example.columns.items() if name not in TEMPLATE_COLUMNS},
        example.row,
        example.origin,
        joined_warnings(branch.warning for branch in draft.branches),
    )


def _start(row: Encoded, branch: Branch) -> int:
    return 0 if branch.completion is None else row.tokens_before(branch.completion)


def _mask(row: Encoded, branch: Branch) -> list[bool]:
    """What may be trained of the tokens of a branch, prompt and all."""
    if branch.steps:
        return _mask_of_steps(row, branch.steps)
    if branch.spans is None:
        return [True] * len(row.ids)
    mask = [False] * len(row.ids)
    for span_start, span_stop in branch.spans:
        first, last = row.tokens_before(span_start), row.tokens_before(span_stop)
        mask[first:last] = [True] * (last - first)
    return mask


def _mask_of_steps(row: Encoded, ends: tuple[int, ...]) -> list[bool]:
    """The token at the end of every step: the last one of it, or the one that goes on into the next step."""
    tokens = [max(row.tokens_before(end), row.tokens_before(end - 1) + 1) - 1 for end in ends]
    if len(set(tokens)) < len(tokens):
        raise UserError(
            "two steps end within one token, which cannot be judged twice",
            where="column 'completions'",
            fix="choose another step_separator, or join the steps",
            reason="two steps end within one token",
        )
    mask = [False] * len(row.ids)
    for token in tokens:
        mask[token] = True
    return mask
