"""The renderings of a chat and of its beginnings, with the places of their parts, each made once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from burnish.data.example import Message
from burnish.data.text.marks import LEVELS, Marks, Part, Rendering
from burnish.data.text.render import Render
from burnish.data.text.seams import Rules
from burnish.errors import UserError

QUESTION: Message = {"role": "user", "content": "?"}
ANSWER = "\N{WHITE SQUARE}completion\N{WHITE SQUARE}"


class Beginnings:
    """Renderings of the first messages of a chat. What was learned of one is kept for the others."""

    def __init__(self, messages: Sequence[Message], render: Render) -> None:
        self.messages = list(messages)
        self.render = render
        self.starts, self.stops = Rules(), Rules()
        self.parts: dict[int, list[Part]] = {}  # of each message, those that are marked
        self._found: dict[tuple[int, bool], Rendering | None] = {}
        self._whole = self._marked()

    def written(self, count: int) -> Rendering:
        """The first messages as the template writes them. Raises `UserError` if it refuses them."""
        if count == len(self.messages):
            return self._whole
        text = self.render(self.messages[:count], False)
        marked = self.closed(count)
        return marked if marked is not None and marked.text == text else Rendering(text)

    def opened(self, count: int) -> Rendering | None:
        """The first messages with the generation prompt after them; None if the template refuses them."""
        return self._of(count, True)

    def closed(self, count: int) -> Rendering | None:
        """The first messages without a generation prompt; None if the template refuses them."""
        return self._whole if count == len(self.messages) else self._of(count, False)

    @cached_property
    def lacks_ends(self) -> bool:
        """Whether the template writes nothing after an answer."""
        try:
            answered = self.render([QUESTION, {"role": "assistant", "content": ANSWER}], False)
        except UserError:
            return False
        return answered.endswith(ANSWER)

    def _marked(self) -> Rendering:
        """The whole chat with as many marks as change nothing else in it."""
        text = self.render(self.messages, False)
        for kinds in LEVELS:
            self._marks = Marks(self.messages, kinds)
            try:
                found = self._marks.read(self.render(self._marks.messages, False))
            except UserError:
                continue
            if found.text == text:
                break
        for part in self._marks.parts:
            self.parts.setdefault(part.message, []).append(part)
        return found

    def _of(self, count: int, opening: bool) -> Rendering | None:
        if count == 0:  # templates do not render an empty chat
            return None
        key = count, opening
        if key not in self._found:
            try:
                marked = self.render(self._marks.messages[:count], opening)
                self._found[key] = self._marks.read(marked)
            except UserError:
                self._found[key] = None
        return self._found[key]
