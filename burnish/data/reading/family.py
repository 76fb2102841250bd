"""A family of formats: what the rows of a kind of method look like, and how each of them is read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from burnish.data.example import Example, TokenizedExample
from burnish.data.reading.messages import LOSS_FLAGS, TRAIN_FLAGS
from burnish.data.reading.readers import COMMON_COLUMNS, Row
from burnish.data.reading.side_columns import MEDIA, SIDE_COLUMNS, with_side_columns
from burnish.errors import UserError, nearest


@dataclass(frozen=True)
class Format:
    """Rows that have all of `columns`, and for which `when` holds, are read by `read`.

    `aliases` say which column stands for which of the reader's names; `optional` columns are read if there.
    """

    name: str
    columns: tuple[str, ...]
    read: Callable[[Row], Example | TokenizedExample]
    optional: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    when: Callable[[Row], bool] = bool
    carries: tuple[str, ...] = ()  # of the columns, those that the objective reads as numbers
    makes: tuple[str, ...] = ()  # such numbers that the reader adds
    sides: bool = True  # whether side columns are read; token ids are complete as they are

    def fits(self, row: Row) -> bool:
        return all(name in row for name in self.columns) and self.when(row)

    def has_something(self, row: Row) -> bool:
        """Whether any of the columns is more than null: rows of several formats have the columns of all."""
        return any(row[name] is not None for name in self.columns)

    @property
    def own(self) -> tuple[str, ...]:
        """Every column that `read` may look at, by the names that a person gives them."""
        names = dict.fromkeys([*self.columns, *self.optional, *self.carries, *COMMON_COLUMNS])
        return tuple(names)

    @property
    def known(self) -> set[str]:
        """The names that a column of the data may be given to be read: those of the reader's, too."""
        return {*self.own, *self.aliases, *(SIDE_COLUMNS if self.sides else ())}


@dataclass(frozen=True)
class Recognition:
    """What the columns of a dataset were taken for."""

    family: str
    format: str
    used: tuple[str, ...]  # the dataset's own names
    unused: tuple[str, ...]
    carried: tuple[str, ...] = ()  # numbers that reach the objective

    def __str__(self) -> str:
        text = f"{self.format}, from columns {', '.join(self.used)}"
        return text + (f"; not used: {', '.join(self.unused)}" if self.unused else "")


@dataclass(frozen=True)
class Family:
    """The formats that a kind of method reads. Calling it reads a row."""

    name: str
    formats: tuple[Format, ...]
    purpose: str = ""  # which methods read it

    def __call__(
        self, row: Row, columns: Mapping[str, str] | None = None, as_chats: bool = False
    ) -> Example | TokenizedExample:
        """Read a row; `as_chats` takes plain texts for the turns of a chat.

        Raises `UserError` naming the column, or the columns expected where none fit.
        """
        row = renamed(row, columns or {})
        found = self.find(row)
        if found is None:
            raise self._no_format(row)
        aliased = renamed(row, found.aliases)
        try:
            example = found.read(aliased)
            if as_chats and isinstance(example, Example):
                example = as_chat(example, has_prompt="prompt" in aliased)
            return with_side_columns(example, row, found.own)
        except UserError as error:
            raise _spelled(error, {**found.aliases, **(columns or {})}) from error.__cause__

    def find(self, row: Row) -> Format | None:
        """The first format that fits; one of whose columns all are null only where no other does."""
        fitting = [each for each in self.formats if each.fits(row)]
        return next((each for each in fitting if each.has_something(row)), next(iter(fitting), None))

    @property
    def of_text(self) -> tuple[Format, ...]:
        """The formats without those of token ids."""
        return tuple(each for each in self.formats if each.sides)

    @cached_property
    def known(self) -> frozenset[str]:
        """Every name of a column that one of the formats reads."""
        return frozenset().union(*(each.known for each in self.formats))

    def recognise(self, row: Row, columns: Mapping[str, str] | None = None) -> Recognition:
        """What a row of these columns is taken for. Raises `UserError` if it is of no format."""
        columns = columns or {}
        check_targets(columns, self.known)
        row = renamed(row, columns)
        found = self.find(row)
        if found is None:
            raise self._no_format(row)
        flags = [name for name in (*TRAIN_FLAGS, *LOSS_FLAGS) if isinstance(row.get(name), list)]
        others = (*found.own, *((*SIDE_COLUMNS, *flags) if found.sides else ()))
        names = list(dict.fromkeys([*found.columns, *(name for name in others if name in row)]))
        unused = [name for name in row if name not in names]
        return Recognition(
            self.name,
            found.name,
            used=tuple(columns.get(name, name) for name in names),
            unused=tuple(unused),
            carried=(*(name for name in found.carries if name in names), *found.makes),
        )

    def _no_format(self, row: Row) -> UserError:
        from burnish.data.reading.meant import no_format  # which knows all families

        return no_format(row, [self])


def as_chat(example: Example, has_prompt: bool) -> Example:
    """A row of plain text as a chat; a text alone stays what it is.

    Raises `UserError` for a pair without a prompt, of which only a guess could say where the question ends.
    """
    if example.is_chat or not (has_prompt or example.splits):
        return example
    if not has_prompt:
        raise UserError(
            "texts of which both begin with the prompt cannot be taken for chats: where it ends is not known",
            where="as_chats",
            fix="give the prompt as a column of its own, or lists of messages",
            reason="plain texts without a prompt column",
        )
    return example.as_chat


def check_targets(columns: Mapping[str, str], known: Collection[str]) -> None:
    """Refuse a name on the left of `columns` that no format reads. Raises `UserError`."""
    for name, own in columns.items():
        if own and name not in known and name not in MEDIA:
            raise UserError(
                f"no format here reads a column '{name}'.{nearest(name, known)}",
                where="columns",
                fix=f"the names on the left are ours: {', '.join(sorted(known))}",
            )


def renamed(row: Row, columns: Mapping[str, str]) -> Row:
    """The row with each of `columns` under the name it stands for; those that stand for nothing are left out.

    Raises `UserError` if one is missing.
    """
    if not columns:
        return row
    missing = [own for own in (own or name for name, own in columns.items()) if own not in row]
    if missing:
        raise UserError(
            f"no column '{missing[0]}'; there is {', '.join(row)}.{nearest(missing[0], row)}",
            where="columns",
            fix="name columns of the data on the right: --columns question=ticket",
            reason=f"no column '{missing[0]}'",
        )
    own = set(columns.values())
    rest = {name: value for name, value in row.items() if name not in own and name not in columns}
    return {**rest, **{name: row[column] for name, column in columns.items() if column}}


def _spelled(error: UserError, columns: Mapping[str, str]) -> UserError:
    """The error with the dataset's own names of columns."""
    where = error.where
    for name, own in columns.items():
        where = where if not own else where.replace(f"'{name}'", f"'{own}'")
    first, space, rest = error.reason.partition(" ")  # reasons begin with the column, where they name one
    reason = (columns.get(first) or first) + space + rest
    return UserError(error.what, where=where, fix=error.fix, reason=reason)
