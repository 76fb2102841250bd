"""`TrlParser`: a script's dataclasses from its command line and a YAML file (`--config`).

    parser = TrlParser((ScriptArguments, SFTConfig, ModelConfig, DatasetMixtureConfig))
    script_args, training_args, model_args, dataset_args = parser.parse_args_and_config()

The file is read by the library's own reader: an error names the file and the line, `1e-5` is a number, and
`eval_strategy: no` is the word.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from transformers import HfArgumentParser

from burnish.errors import UserError, shorten
from burnish.pipeline.settings import Setting, apply_environment, read_document
from burnish.pipeline.unknown import UnknownKey
from burnish.pipeline.values import WORDS

SHARED_WITH_MIXTURE = {"datasets", "test_split_size"}
"""Fields of `ScriptArguments` that belong to `DatasetMixtureConfig`, where a script has both."""


class _Values(argparse.Namespace):
    """The base takes a value out for the first class that has its field, and then for others that have it."""

    def __delattr__(self, name: str) -> None:
        self.__dict__.pop(name, None)


class TrlParser(HfArgumentParser):
    """Parses command lines, and YAML files whose values are defaults that the command line overrides.

    `dataclass_types`: a dataclass or several; `kwargs` are those of `argparse.ArgumentParser`.
    """

    dataclass_types: list[Any]

    def __init__(self, dataclass_types: Any = None, **kwargs: Any) -> None:
        given = dataclass_types if isinstance(dataclass_types, Iterable) else [dataclass_types]
        classes = [each for each in given if each is not None]
        for each in classes:
            if "config" in each.__dataclass_fields__:
                raise UserError(
                    "the field `config` is taken: --config names the YAML file",
                    where=each.__name__,
                    fix="call the field something else",
                )
        self._left_out = _left_out(classes)
        super().__init__(dataclass_types=classes, **kwargs)

    def _add_dataclass_arguments(self, dtype: Any) -> None:
        self._skipped = self._left_out.get(dtype, set())
        super()._add_dataclass_arguments(dtype)

    def _parse_dataclass_field(self, parser: Any, field: dataclasses.Field) -> None:
        if field.name not in self._skipped:
            HfArgumentParser._parse_dataclass_field(parser, field)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        return super().parse_known_args(args, _Values() if namespace is None else namespace)

    def parse_args_and_config(
        self,
        args: Iterable[str] | None = None,
        return_remaining_strings: bool = False,
        fail_with_unknown_args: bool = True,
        separate_remaining_strings: bool = False,
    ) -> tuple[Any, ...]:
        """The dataclasses, in their order; a namespace of other arguments, where the parser has some.

        `return_remaining_strings` adds the words that nothing takes, those of the file before those of the
        command line (two lists with `separate_remaining_strings`). Otherwise such a word raises `UserError`;
        `fail_with_unknown_args=False` lets those of the file pass. `env` of the file sets the environment.
        """
        words, file = _without_config(list(sys.argv[1:] if args is None else args))
        settings: Mapping[str, Setting] = {}
        if file is not None:
            document = read_document(file)
            apply_environment(document)
            settings = document.settings()
        unread = self._set_defaults(settings)
        if unread and fail_with_unknown_args and not return_remaining_strings:
            raise self._unknown(unread[0], settings[unread[0]])
        *found, of_line = self.parse_args_into_dataclasses(args=words, return_remaining_strings=True)
        if not return_remaining_strings:
            if of_line:
                raise self._unknown_word(of_line)
            return tuple(found)
        of_file = [word for key in unread for word in (f"--{key}", str(settings[key].value))]
        return (*found, of_file, of_line) if separate_remaining_strings else (*found, of_file + of_line)

    def set_defaults_with_config(self, **kwargs: Any) -> list[str]:
        """Make values the defaults, in subparsers too; returns the words of those that nothing takes."""
        unread = self._set_defaults({name: Setting(value, name) for name, value in kwargs.items()})
        return [word for key in unread for word in (f"--{key}", str(kwargs[key]))]

    def parse_args_into_dataclasses(self, args: Any = None, *rest: Any, **kwargs: Any) -> tuple[Any, ...]:
        """As the base does it, the mixture before `ScriptArguments`, which has fields of its names."""
        classes: list[Any] = list(self.dataclass_types)
        order = sorted(range(len(classes)), key=lambda place: classes[place] in self._left_out)
        self.dataclass_types = [classes[place] for place in order]
        try:
            found = list(super().parse_args_into_dataclasses(args, *rest, **kwargs))
        finally:
            self.dataclass_types = classes
        made = dict(zip(order, found, strict=False))
        return (*(made[place] for place in range(len(classes))), *found[len(classes) :])

    def _set_defaults(self, settings: Mapping[str, Setting]) -> list[str]:
        """The keys that no argument takes."""
        return [key for key, setting in settings.items() if not _taken(self, key, setting.value)]

    def _names(self) -> list[str]:
        return [name for name in _names(self) if name != "help"]

    def _unknown(self, key: str, setting: Setting) -> UserError:
        return UnknownKey(key, setting.where, self._names(), "--help", setting.value).error()

    def _unknown_word(self, words: Sequence[str]) -> UserError:
        flag = next((word for word in words if word.startswith("--")), None)
        if flag is None:
            return UserError(
                f"does not belong here: {shorten(words[0])}", fix="write options as --name value"
            )
        name, _, value = flag.partition("=")
        key = name.lstrip("-").replace("-", "_")
        return UnknownKey(key, name, self._names(), "--help", value or None).error()


def _left_out(classes: Sequence[Any]) -> dict[Any, set[str]]:
    """Fields that are no arguments of a class, since another one has them. Raises `UserError`."""
    from burnish.pipeline.script import ScriptArguments
    from burnish.trl.mixture import DatasetMixtureConfig

    mixes = any(issubclass(each, DatasetMixtureConfig) for each in classes)
    left_out = {each: SHARED_WITH_MIXTURE for each in classes if mixes and issubclass(each, ScriptArguments)}
    owner: dict[str, Any] = {}
    for each in classes:
        for name in each.__dataclass_fields__.keys() - left_out.get(each, set()):
            if name in owner:
                raise UserError(
                    f"{owner[name].__name__} and {each.__name__} both have the field `{name}`",
                    fix="rename one of them: it is one argument on the command line",
                )
            owner[name] = each
    return left_out


def _without_config(words: list[str]) -> tuple[list[str], str | None]:
    """The words without `--config FILE`, and the file."""
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag == "--config":
            file = value if equals else next(iter(words[place + 1 :]), "")
            if not file or file.startswith("--"):
                raise UserError("needs a file", where="--config")
            return words[:place] + words[place + (1 if equals else 2) :], file
    return words, None


def _names(parser: argparse.ArgumentParser) -> Iterable[str]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _names(each)
        else:
            yield action.dest


def _taken(parser: argparse.ArgumentParser, key: str, value: Any) -> bool:
    """Whether an argument of the parser, or of a subparser, has this name; its default is then the value."""
    found = False
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= any([_taken(each, key, value) for each in action.choices.values()])  # noqa: C419 (all of them)
        elif action.dest == key:
            action.default, action.required, found = _typed(action, value), False, True
    return found


def _typed(action: argparse.Action, value: Any) -> Any:
    """A text of the file; argparse reads it as a flag's, but for `true`, which is no word."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return WORDS[value.lower()]
    if isinstance(value, str) and action.nargs == "+":
        return [value] if action.type is None else [action.type(value)]  # type: ignore[operator]
    return value
