"""Which turns of a chat are trained, and in which rendering of it.

A template may leave out of the whole chat what the model wrote at the time: the reasoning of earlier turns.
Such a turn is trained in a row of its own, the chat cut after it, where the template still writes everything:

    whole chat    <user>one<assistant>two<user>three<assistant><think>so</think>four     trains: four
    cut           <user>one<assistant><think>hm</think>two                                trains: two

The same goes for a turn before which the whole chat lacks a part of the generation prompt (`<think>`): the
model will be asked for it with another text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from burnish.data.example import Message
from burnish.data.preparation.options import PreparationOptions
from burnish.data.text.marks import BEGIN_OF_REASONING
from burnish.data.text.seams import shape
from burnish.data.text.template import Conversation, Span
from burnish.errors import UserError

OFF_PROMPT = "the chat template writes another text before a trained turn than the generation prompt"
COMPOSED = "the chat template never writes reasoning; it stands where generation has it, after the prompt"
UNENDED = (
    "the chat template writes no end of turn after the last message, so that none is trained (end_last_turn)"
)


@dataclass(frozen=True)
class Passage:
    """A rendering, and what is trained in it."""

    conversation: Conversation
    spans: list[Span] | None  # None: everything
    warnings: tuple[str, ...] = ()
    composed: str = ""  # the text where it is not the template's alone: up to the last turn it is

    @property
    def text(self) -> str:
        return self.composed or self.conversation.text

    def completion_start(self, turn: int) -> int:
        """The character where the completion begins, which is with message `turn`."""
        if self.composed and self.spans and turn == self.conversation.count - 1:
            return self.spans[0][0]
        if 0 < turn < self.conversation.count:
            return self.conversation.start(turn)
        return len(self.text) * (turn > 0)

    def ended(self, as_next: bool) -> Passage:
        """With the token of the next role, where an answer ends the chat and the template ends no turn.

        Without `as_next`, a warning says so.
        """
        conversation, text, spans = self.conversation, self.text, self.spans
        trained = spans is None or (len(spans) > 0 and spans[-1][1] == len(text))
        if conversation.messages[-1]["role"] != "assistant" or not trained or not conversation.unended:
            return self
        marker = conversation.next_role if as_next else ""
        if not marker:
            return replace(self, warnings=(*self.warnings, UNENDED))
        if spans is not None:
            spans = [*spans[:-1], (spans[-1][0], len(text) + len(marker))]
        return replace(self, spans=spans, composed=text + marker)


def trained_turns(
    prompt: Sequence[Message],
    completion: Sequence[Message],
    options: PreparationOptions,
    prompt_trained: bool,
) -> list[int] | None:
    """The assistant's turns that are trained, by their place in the chat; None: all of the text.

    Flags of a row go before `assistant_only_loss`: the turns flagged true, or else those not flagged false
    (a flag of None is none, but that the row has flags).
    Raises `UserError` if a turn of a prompt is flagged true that is not trained.
    """
    messages = [*prompt, *completion]
    flags = {turn: message["train"] for turn, message in enumerate(messages) if "train" in message}
    if not flags and not options.assistant_only_loss and not options.last_turn_only_loss:
        return None
    if not prompt_trained and any(flags.get(turn) for turn in range(len(prompt))):
        raise UserError(
            "a message of the prompt is to be trained, and prompts are not",
            fix="remove its flag, set completion_only_loss to false, or give the whole chat as messages",
            reason="train on a message of the prompt",
        )
    turns = [turn for turn, message in enumerate(messages) if message["role"] == "assistant"]
    if not prompt_trained:
        turns = [turn for turn in turns if turn >= len(prompt)]
    if options.last_turn_only_loss:
        turns = turns[-1:]
    chosen = any(flags.values())
    return [turn for turn in turns if (not chosen if flags.get(turn) is None else flags[turn])]


def passages(
    whole: Conversation, turns: list[int] | None, first: int, match_prompt: bool = False
) -> list[Passage]:
    """The renderings in which the turns are trained; the first is the whole chat unless it trains nothing.

    Without `turns` all of the text is, from message `first` on. With `match_prompt`, turns that do not follow
    all of the generation prompt in the whole chat are trained where they do. Raises `UserError` where no
    rendering has the reasoning or the calls of a turn.
    """
    own = whole.turns_of("assistant", first) if turns is None else turns
    elsewhere = _elsewhere(whole, own) if match_prompt else set()
    left = [turn for turn in own if turn in elsewhere or whole.abridges(turn)]
    kept = [turn for turn in own if turn not in left]
    found = []
    if turns is None:
        spans = _without(whole, left) if left else None
        found.append(Passage(whole, spans, _warnings(whole, kept)))
    elif kept or not left:
        found.append(Passage(whole, _spans(whole, kept), _warnings(whole, kept)))
    while left:
        last = left[-1]
        cut = whole.cut_after(last)
        kept = [turn for turn in left if turn == last or turn not in elsewhere or _follows_prompt(cut, turn)]
        kept = [turn for turn in kept if not cut.abridges(turn)]
        if last in kept:
            found.append(Passage(cut, _spans(cut, kept), _warnings(cut, kept)))
        else:
            kept = [last]
            found.append(_composed(cut, last))
        left = [turn for turn in left if turn not in kept]
    return found


def _follows_prompt(conversation: Conversation, turn: int) -> bool:
    """Whether a turn follows the generation prompt, as far as can be told."""
    try:
        return conversation.follows_prompt(turn)
    except UserError:
        return False


def _elsewhere(whole: Conversation, turns: Sequence[int]) -> set[int]:
    """The turns that follow the generation prompt only in the chat that is cut after them."""
    found, never = set(), set()
    for turn in turns:
        if turn == whole.count - 1 or _follows_prompt(whole, turn):
            continue
        kind = shape(whole.messages, turn - 1), shape(whole.messages, turn)
        if kind in never:  # a rendering for every turn would be for nothing
            continue
        cut = whole.cut_after(turn)
        if _follows_prompt(cut, turn) and not cut.abridges(turn):
            found.add(turn)
        else:
            never.add(kind)
    return found


def _warnings(conversation: Conversation, turns: Sequence[int]) -> tuple[str, ...]:
    return () if all(_follows_prompt(conversation, turn) for turn in turns) else (OFF_PROMPT,)


def _composed(cut: Conversation, turn: int) -> Passage:
    """A turn as generation has it, where the template leaves its reasoning out and the prompt opens it.

    Raises `UserError` where the prompt does not, or where the template leaves out something else.
    """
    what, prompt = cut.abridges(turn), cut.prompt(turn)
    said = cut.as_generated(turn)
    if what != "reasoning" or not said or not prompt.rstrip().endswith(BEGIN_OF_REASONING):
        raise _abridged(turn, what)
    text = prompt + said
    return Passage(cut, [(len(prompt), len(text))], (COMPOSED,), text)


def _abridged(turn: int, what: str) -> UserError:
    ways = "use a chat template that writes it, or remove it from the rows"
    if what == "content":
        ways = "use a chat template that writes it, or make it a message of its own before the calls"
    return UserError(
        f"the chat template leaves out the {what} of message {turn}"
        + (", which has tool calls" if what == "content" else ""),
        fix=ways,
        reason=f"the chat template leaves out {what}",
    )


def _spans(conversation: Conversation, turns: Sequence[int]) -> list[Span]:
    return sorted(span for turn in turns for span in conversation.spans(turn))


def _without(conversation: Conversation, turns: Sequence[int]) -> list[Span]:
    """All of the text but these turns."""
    edges = [0, *(edge for span in _spans(conversation, turns) for edge in span), len(conversation.text)]
    return list(zip(edges[::2], edges[1::2], strict=True))
