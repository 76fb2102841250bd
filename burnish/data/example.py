"""Rows as trees: a prompt and its completions, first as text, then as token ids.

row (dict) -> Example -> TokenizedExample -> Forest
              text       token ids           packed tensors
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Message = Mapping[str, Any]
"""One chat message: at least `role` and `content`."""

Text = str | list[Message]
"""A piece of a row: plain text, or a list of chat messages."""


def as_turns(text: Text, role: str) -> list[Message]:
    """A string as one message of `role`; messages as they are."""
    return [{"role": role, "content": text}] if isinstance(text, str) else text


@dataclass(frozen=True)
class Example:
    """A prompt and its completions as text or chat messages, and the columns carried along.

    SFT on a whole text or chat has an empty prompt and one completion; a row for sampling has none.
    """

    prompt: Text
    completions: tuple[Text, ...]
    columns: dict[str, Any] = field(default_factory=dict)  # margin, label, tools, ...
    row: int = -1  # index of the row in its source
    origin: str = ""  # where the row comes from, for messages: `pairs.jsonl, row 17 (id 95)`
    plain: Example | None = None  # what it is for a tokenizer without a chat template, if not refused
    labels: tuple[float, ...] = ()  # one per completion, each of which becomes an example of its own
    steps: tuple[int, ...] = ()  # characters at which a step of the completion ends; only these are trained

    @property
    def alone(self) -> list[Example]:
        """An example for each completion, its label a column."""
        return [
            replace(
                self,
                completions=(self.completions[index],),
                columns=self.columns | {"label": label},
                plain=self.plain and replace(self.plain, labels=self.labels).alone[index],
                labels=(),
            )
            for index, label in enumerate(self.labels)
        ]

    @property
    def as_chat(self) -> Example:
        """Plain texts taken for a chat: the prompt a user's turn, every completion the assistant's."""
        completions = tuple(as_turns(text, "assistant") for text in self.completions)
        return replace(self, prompt=as_turns(self.prompt, "user"), completions=completions)

    @property
    def splits(self) -> bool:
        """Whether there is a seam: a prompt, or completions that must not share one."""
        return bool(self.prompt) or len(self.completions) > 1

    @property
    def is_whole(self) -> bool:
        """Whether it is a text to learn and no more, so that turns may be trained in rows of their own."""
        return len(self.completions) == 1 and not self.steps and "label" not in self.columns

    @property
    def is_chat(self) -> bool:
        """Whether the texts are lists of messages."""
        return any(not isinstance(text, str) for text in (self.prompt, *self.completions))


@dataclass(frozen=True)
class TokenizedExample:
    """The same as token ids. Prompt tokens are never trained; `trained` marks those of each completion.

    `columns` holds numbers that the objective reads (one per example, or one list per completion).
    """

    prompt: list[int]
    completions: list[list[int]]
    trained: list[list[bool]]  # parallel to `completions`
    columns: dict[str, Any] = field(default_factory=dict)
    row: int = -1
    origin: str = ""  # where the row comes from, for messages: `pairs.jsonl, row 17 (id 95)`
    warning: str = ""  # what looks wrong, for the report; several are joined by `joined_warnings`
    dropped: str = ""  # why it is not trained, where its text says so

    @property
    def length(self) -> int:
        """Tokens in the forest: the prompt once, and every completion."""
        return len(self.prompt) + sum(map(len, self.completions))

    @property
    def trained_tokens(self) -> int:
        """Tokens that have a score: trained, and with a token before them to be predicted from."""
        return sum(map(self.trained_in, range(len(self.trained))))

    def trained_in(self, completion: int) -> int:
        """The same of one completion."""
        return sum(self.trained[completion][0 if self.prompt else 1 :])

    @property
    def pairs(self) -> int:
        """Attended (query, key) pairs: `P²/2 + P·ΣC + ΣC²/2`, with the diagonal."""
        prompt = len(self.prompt)
        own = sum(n * (n + 1) // 2 + prompt * n for n in map(len, self.completions))
        return prompt * (prompt + 1) // 2 + own

    def to_row(self) -> dict[str, Any]:
        """The columns this example takes in a prepared dataset."""
        return {
            "prompt_ids": self.prompt,
            "completion_ids": self.completions,
            "completion_mask": self.trained,
            "row": self.row,
            "origin": self.origin,
            **self.columns,
        }

    @staticmethod
    def from_row(row: Mapping[str, Any]) -> TokenizedExample:
        rest = {k: v for k, v in row.items() if k not in PREPARED_COLUMNS}
        return TokenizedExample(
            row["prompt_ids"],
            row["completion_ids"],
            row["completion_mask"],
            rest,
            row.get("row", -1),
            row.get("origin", ""),
        )


CONTROL_TOKENS = "control tokens in the content, encoded as text"
"""A warning of an example, here since inspection, which needs no tokenizer library, knows it too."""


def joined_warnings(warnings: Iterable[str]) -> str:
    """Different warnings of an example as one text, a line for each."""
    return "\n".join(dict.fromkeys(line for warning in warnings for line in warning.splitlines()))


PREPARED_COLUMNS = frozenset({"prompt_ids", "completion_ids", "completion_mask", "row", "origin"})
