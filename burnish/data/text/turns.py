"""Which turns of a chat are trained, and in which rendering of it.

A template may leave out of the whole chat what the model wrote at the time: the reasoning of earlier turns.
Such a turn is trained in a row of its own, the chat cut after it, where the template still writes everything:

    whole chat    <user>one<assistant>two<user>three<assistant><think>so</think>four     trains: four
    cut           <user>one<assistant><think>hm</think>two                                trains: two
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from burnish.data.example import Message
from burnish.data.preparation.options import PreparationOptions
from burnish.data.text.template import Conversation, Span
from burnish.errors import UserError


@dataclass(frozen=True)
class Passage:
    """A rendering, and what is trained in it."""

    conversation: Conversation
    spans: list[Span] | None  # None: everything


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


def passages(whole: Conversation, turns: list[int] | None, first: int) -> list[Passage]:
    """The renderings in which the turns are trained; the first is the whole chat unless it trains nothing.

    Without `turns` all of the text is, from message `first` on. Raises `UserError` where no rendering has the
    reasoning or the calls of a turn.
    """
    own = whole.turns_of("assistant", first) if turns is None else turns
    left = [turn for turn in own if whole.abridges(turn)]
    if turns is None:
        found = [Passage(whole, _without(whole, left) if left else None)]
    else:
        kept = [turn for turn in turns if turn not in left]
        found = [Passage(whole, _spans(whole, kept))] if kept or not left else []
    while left:
        cut = whole.cut_after(left[-1])
        kept = [turn for turn in left if not cut.abridges(turn)]
        if left[-1] not in kept:
            raise _abridged(left[-1], cut.abridges(left[-1]))
        found.append(Passage(cut, _spans(cut, kept)))
        left = [turn for turn in left if turn not in kept]
    return found


def _abridged(turn: int, what: str) -> UserError:
    ways = "use a chat template that writes it, or remove it from the rows"
    if what == "content":
        ways = "use a chat template that writes it, or make it a message of its own before the calls"
    return UserError(
        f"the chat template leaves out the {what} of message {turn}"
        + (", which has tool calls" if what == "content" else ""),
        fix=f"write it into the content (<think>...</think>), {ways}" if what == "reasoning" else ways,
        reason=f"the chat template leaves out {what}",
    )


def _spans(conversation: Conversation, turns: Sequence[int]) -> list[Span]:
    return sorted(span for turn in turns for span in conversation.spans(turn))


def _without(conversation: Conversation, turns: Sequence[int]) -> list[Span]:
    """All of the text but these turns."""
    edges = [0, *(edge for span in _spans(conversation, turns) for edge in span), len(conversation.text)]
    return list(zip(edges[::2], edges[1::2], strict=True))
