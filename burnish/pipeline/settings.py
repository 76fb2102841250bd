"""Settings from YAML files: every key with the line it stands on, so that each message can name it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from burnish.errors import UserError, nearest, shorten
from burnish.pipeline.fields import Field
from burnish.pipeline.needs import NEEDS, RIVALS, Need
from burnish.pipeline.values import WORDS, NotThat, convert
from burnish.pipeline.yaml_secrets import learn_secrets


@dataclass(frozen=True)
class Setting:
    """A value as it was given (text, list, mapping or None) and where: `dpo.yaml:3`, or the flag."""

    value: Any
    where: str


Settings = Mapping[str, Setting]

SHORT_NAMES = {"model": "model_name_or_path", "dataset": "dataset_name"}
"""What a stage and a command line may call an option."""


def overlaid(below: Settings, above: Settings) -> dict[str, Setting]:
    """The settings of both; those `above` win, also over what they replace: max_steps over num_train_epochs.

    So a flag, or a stage's own key, says how long to train whatever the file or its defaults say; and with
    use_peft: false or save_strategy: no above, options of adapters or save_steps below are not read.
    """
    says = {name for name, setting in above.items() if str(setting.value) not in ("-1", "None")}
    replaced = {each for pair in RIVALS if set(pair) & says for each in pair}
    replaced |= {need.option for need in NEEDS if need.other in above and not _met(need, above[need.other])}
    return {**{name: setting for name, setting in below.items() if name not in replaced}, **above}


def _met(need: Need, setting: Setting) -> bool:
    """Whether a setting, as it is written, has a value that the need names."""
    given = setting.value if isinstance(setting.value, list) else re.split(r"[ ,]+", str(setting.value))
    yes = [word for word, means in WORDS.items() if means]
    wanted = [word for each in need.values for word in (yes if each is True else [str(each).lower()])]
    return any(str(word).lower() in wanted for word in given)


def layered(defaults: Settings, own: Settings, path: str) -> dict[str, Setting]:
    """Defaults, and a stage's own settings on top; of each, those in the file `path` above those of files it
    extends, and flags above both.
    """
    found: dict[str, Setting] = {}
    for layer in (*_layers(defaults, path), *_layers(own, path)):
        found = overlaid(found, layer)
    return found


def _layers(settings: Settings, path: str) -> list[dict[str, Setting]]:
    of_flags = {name: setting for name, setting in settings.items() if setting.where.startswith("--")}
    of_file = {name: setting for name, setting in settings.items() if setting.where.startswith(f"{path}:")}
    others = {name: settings[name] for name in settings if name not in of_flags and name not in of_file}
    return [others, of_file, of_flags]


class Loader(yaml.SafeLoader):
    """The safe loader, which also reads `1e-5` as a number, as YAML 1.2 does."""


Loader.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


@dataclass(frozen=True)
class Document:
    """The mapping at some place of a YAML file: keys to nodes, with the place of each key.

    Keys may come from several files, where one extends another; each keeps its own file and line.
    """

    path: str
    loader: Loader
    nodes: dict[str, yaml.Node]
    places: dict[str, str]  # of every key: `chat.yaml:3`, or the flag that set it

    def where(self, key: str = "") -> str:
        """The place of a key; of the first one, where the key is not given."""
        return self.places.get(key) or next(iter(self.places.values()), f"{self.path}:1")

    def pop(self, key: str) -> yaml.Node | None:
        return self.nodes.pop(key, None)

    def settings(self) -> dict[str, Setting]:
        """Every key as a setting: a scalar as its text, anything else as plain values."""
        return {
            key.replace("-", "_"): Setting(self.plain(node), self.where(key))
            for key, node in self.nodes.items()
        }

    def plain(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return None if node.tag == "tag:yaml.org,2002:null" else node.value
        try:
            return self.loader.construct_object(node, deep=True)
        except yaml.YAMLError as error:
            raise syntax_error(place_of(node).rpartition(":")[0] or self.path, error) from None

    def below(self, node: yaml.Node, what: str) -> Document:
        """The mapping that a node is. Raises `UserError` if it is none."""
        if not isinstance(node, yaml.MappingNode):
            raise UserError(f"{what} must be a mapping of keys to values", where=place_of(node))
        return mapping(self.path, self.loader, node)


def read_document(path: str) -> Document:
    """The top mapping of a YAML file. Raises `UserError`: missing file, bad syntax, a key given twice."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError("there is no such file", where=path, fix="check the path after --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read ({error})", where=path) from None
    return parse_document(text, path)


def parse_document(text: str, path: str) -> Document:
    """The top mapping of YAML; `path` is what messages call it. Raises `UserError`."""
    loader = Loader(text)
    loader.name = path  # which the marks of nodes carry
    try:
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        raise syntax_error(path, error) from None
    if node is None:
        return Document(path, loader, {}, {})
    learn_secrets(node)
    if not isinstance(node, yaml.MappingNode):
        raise UserError(
            "the file must be a mapping of keys to values", where=path, fix="write `key: value` lines"
        )
    return mapping(path, loader, node)


def mapping(path: str, loader: Loader, node: yaml.MappingNode) -> Document:
    loader.flatten_mapping(node)
    nodes: dict[str, yaml.Node] = {}
    places: dict[str, str] = {}
    for key_node, value_node in node.value:
        key, place = str(key_node.value), place_of(key_node)
        if key in nodes:
            first = places[key].rpartition(":")[2]
            raise UserError(f"'{key}' is given twice, first on line {first}", where=place)
        nodes[key], places[key] = value_node, place
    return Document(path, loader, nodes, places)


def place_of(node: yaml.Node) -> str:
    """`chat.yaml:3`, or the flag that a node was written in."""
    name = str(node.start_mark.name)
    return name if name.startswith("--") else f"{name}:{node.start_mark.line + 1}"


def syntax_error(path: str, error: yaml.YAMLError) -> UserError:
    mark = getattr(error, "problem_mark", None)
    where = f"{path}:{mark.line + 1}" if mark else path
    return UserError(f"this is not valid YAML ({getattr(error, 'problem', None) or error})", where=where)


def named_settings(entry: Document) -> dict[str, Setting]:
    """The settings of a mapping, with `model` and `dataset` written out."""
    settings: dict[str, Setting] = {}
    for key, setting in entry.settings().items():
        name = SHORT_NAMES.get(key, key)
        if name in settings:
            raise UserError(f"'{key}' is given twice, first at {settings[name].where}", where=setting.where)
        settings[name] = setting
    return settings


def apply_environment(document: Document) -> None:
    """Take the `env` section out of a document and set its variables."""
    node = document.pop("env")
    if node is not None:
        for name, setting in document.below(node, "env").settings().items():
            os.environ[name] = "" if setting.value is None else str(setting.value)


def resolve(settings: Settings, fields: Mapping[str, Field], help_command: str) -> dict[str, Any]:
    """Settings as values of the fields' types. Raises `UserError` naming key, place, value and type."""
    values = {}
    for name, setting in settings.items():
        if name not in fields:
            raise unknown_key(name, setting.where, fields, help_command, setting.value)
        values[name] = read_value(setting, fields[name])
    return values


def read_value(setting: Setting, field: Field) -> Any:
    """The setting as a value of the field's type, and one of its choices where it has them."""
    try:
        value = convert(setting.value, field.annotation)
    except NotThat as error:
        what = f"{field.name} is {shorten(setting.value)}, expected {error}"
        raise UserError(what, where=setting.where) from None
    for word in value if isinstance(value, list) else [value]:
        if field.choices and word is not None and word not in field.choices:
            what = f"{field.name} cannot be {shorten(word)}.{nearest(str(word), field.choices)}"
            raise UserError(what, where=setting.where, fix=f"choose one of {', '.join(field.choices)}")
    return value


def unknown_key(
    name: str, where: str, names: Iterable[str], help_command: str, value: Any = None
) -> UserError:
    """An error for a name that is no option: another tool's, another method's, or nearly one of `names`."""
    from burnish.pipeline.unknown import UnknownKey

    return UnknownKey(name, where, list(names), help_command, value).error()
