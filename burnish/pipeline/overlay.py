"""One pipeline file on top of another (`extends`), and `--set` of the command line on top of both.

    extends: base.yaml            # beside this file; its keys hold where this file says nothing
    defaults: {beta: 0.2}         # key by key
    stages:
      - {name: dpo, epochs: 3}    # joined with the stage `dpo` of base.yaml; a new name is added at the end

Nodes keep the file and line they were written on, so a message names the right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from burnish.errors import UserError, nearest
from burnish.pipeline.settings import SHORT_NAMES, Document, Loader, mapping, read_document
from burnish.pipeline.yaml_secrets import learn_secrets, text_without_secrets

MAPPING = "tag:yaml.org,2002:map"
JOINED = ("env", "defaults", "compare")
"""Keys of a pipeline that are joined key by key; stages are joined by name, all else is replaced."""


def read_layers(path: str, assignments: Sequence[str] = (), keys: Sequence[str] = ()) -> Document:
    """A file with those that it extends below it and `assignments` above. Raises `UserError`.

    `assignments` are `stage.key=value`, `defaults.key=value`, `compare.key=value`, or `key=value` for one
    of `keys`.
    """
    document = _extended(path, ())
    node = _node_of(document)
    for assignment in assignments:
        node = _joined(node, _assigned(assignment, node, keys))
    return mapping(path, document.loader, node)


def text_of(document: Document, assignments: Sequence[str] = ()) -> str:
    """The file as it was written, comments too; where others were joined to it, what came of all of them.

    Without secrets.
    """
    text = Path(document.path).read_text(encoding="utf-8")
    as_it_is = not assignments and all(
        place.rpartition(":")[0] == document.path for place in document.places.values()
    )
    if as_it_is and "extends" not in (yaml.safe_load(text) or {}):
        return text_without_secrets(text)
    whole = yaml.serialize(_node_of(document), Dumper=yaml.SafeDumper, allow_unicode=True)
    return text_without_secrets(whole)


def _node_of(document: Document) -> yaml.MappingNode:
    """The mapping of a document; keys keep their places."""
    pairs = [(_key(name, document.places[name]), node) for name, node in document.nodes.items()]
    return yaml.MappingNode(MAPPING, pairs, start_mark=_mark(document.path, 0))


def _key(name: str, place: str) -> yaml.ScalarNode:
    file, _, line = place.rpartition(":")
    mark = _mark(place, 0) if place.startswith("--") else _mark(file, int(line) - 1)
    return yaml.ScalarNode("tag:yaml.org,2002:str", name, start_mark=mark, end_mark=mark)


def _mark(name: str, line: int) -> yaml.Mark:
    return yaml.Mark(name, 0, line, 0, None, 0)


# extends


def _extended(path: str, above: tuple[str, ...]) -> Document:
    document = read_document(path)
    node = document.nodes.pop("extends", None)
    if node is None:
        return document
    place = document.places.pop("extends")
    other = document.plain(node)
    if not isinstance(other, str) or not other:
        raise UserError("extends needs the name of a file", where=place, fix="write extends: base.yaml")
    other = str(Path(path).parent / other)
    chain = (*above, path)
    if Path(other).resolve() in [Path(each).resolve() for each in chain]:
        circle = " → ".join([*chain, other])
        raise UserError(f"the files extend each other in a circle: {circle}", where=place)
    if not Path(other).is_file():
        raise UserError(f"there is no file {other}", where=place, fix="name a file beside this one")
    below = _extended(other, chain)
    return mapping(path, document.loader, _joined(_node_of(below), _node_of(document)))


def _joined(below: yaml.MappingNode, above: yaml.MappingNode) -> yaml.MappingNode:
    """`above` on top of `below`, at the top of a pipeline."""
    found = {key.value: (key, value) for key, value in below.value}
    for key, value in above.value:
        if key.value in found and key.value in JOINED:
            value = _merged(found[key.value][1], value)
        elif key.value in found and key.value == "stages":
            value = _stages(found[key.value][1], value)
        found[key.value] = (key, value)
    return yaml.MappingNode(MAPPING, list(found.values()), start_mark=above.start_mark)


def _merged(below: yaml.Node, above: yaml.Node) -> yaml.Node:
    """Key by key; what is no mapping is replaced, and found to be wrong later."""
    if not isinstance(below, yaml.MappingNode) or not isinstance(above, yaml.MappingNode):
        return above
    own = {_plain_name(key) for key, _ in above.value}
    kept = [(key, value) for key, value in below.value if _plain_name(key) not in own]
    return yaml.MappingNode(MAPPING, kept + above.value, start_mark=above.start_mark)


def _plain_name(key: yaml.Node) -> str:
    name = str(key.value).replace("-", "_")
    return SHORT_NAMES.get(name, name)


def _stages(below: yaml.Node, above: yaml.Node) -> yaml.Node:
    """Stages of the same name are merged, in the place they had; others come after them."""
    if not isinstance(below, yaml.SequenceNode) or not isinstance(above, yaml.SequenceNode):
        return above
    found = {_name(stage, index): stage for index, stage in enumerate(below.value)}
    for index, stage in enumerate(above.value):
        name = _name(stage, -1 - index)
        found[name] = _merged(found[name], stage) if name in found else stage
    return yaml.SequenceNode(above.tag, list(found.values()), start_mark=above.start_mark)


def _name(stage: yaml.Node, otherwise: int) -> str | int:
    """A stage's name, or else its method; what has neither is like no other."""
    pairs = stage.value if isinstance(stage, yaml.MappingNode) else []
    words = {str(key.value): value.value for key, value in pairs}
    return words.get("name") or words.get("method") or otherwise


# --set


def _assigned(assignment: str, node: yaml.MappingNode, keys: Sequence[str]) -> yaml.MappingNode:
    """`dpo.beta=0.2` as a pipeline with nothing else in it."""
    path, equals, text = assignment.partition("=")
    flag, parts = f"--set {path}", path.split(".")
    if not equals or not path or len(parts) > 2 or not all(parts):
        raise UserError(
            f"cannot be read: {assignment!r}",
            where="--set",
            fix="write stage.key=value, defaults.key=value, or key=value for a key at the top of the file",
        )
    value = _value(flag, text)
    learn_secrets(_pair(flag, parts[-1], value))
    if len(parts) == 1:
        settable = [key for key in keys if key not in ("stages", *JOINED, "extends")]
        if path not in settable:
            hint = nearest(path, settable) or f" Those at the top are {', '.join(settable)}."
            raise UserError(f"there is no key '{path}'.{hint}", where=flag, fix="or write stage.key=value")
        return _pair(flag, path, value)
    inner = _pair(flag, parts[1], value)
    if parts[0] in JOINED:
        return _pair(flag, parts[0], inner)
    names = _stage_names(node)
    if parts[0] not in names:
        hint = nearest(parts[0], [*names, *JOINED]) or f" There is {', '.join(names)}."
        raise UserError(f"there is no stage '{parts[0]}'.{hint}", where=flag)
    inner.value.insert(0, (_key("name", flag), _key(parts[0], flag)))
    return _pair(
        flag, "stages", yaml.SequenceNode("tag:yaml.org,2002:seq", [inner], start_mark=_mark(flag, 0))
    )


def _value(flag: str, text: str) -> yaml.Node:
    loader = Loader(text)
    loader.name = flag
    try:
        node = loader.get_single_node()
    except yaml.YAMLError:  # as `a: b: c`, or a bare `%`
        node = None
    if node is None or not isinstance(node, yaml.MappingNode | yaml.SequenceNode | yaml.ScalarNode):
        return yaml.ScalarNode("tag:yaml.org,2002:str", text, start_mark=_mark(flag, 0))
    return node


def _pair(flag: str, key: str, value: yaml.Node) -> yaml.MappingNode:
    return yaml.MappingNode(MAPPING, [(_key(key, flag), value)], start_mark=_mark(flag, 0))


def _stage_names(node: yaml.MappingNode) -> list[str]:
    stages = next((value for key, value in node.value if key.value == "stages"), None)
    items = stages.value if isinstance(stages, yaml.SequenceNode) else []
    return [str(name) for name in (_name(stage, -1) for stage in items) if name != -1]
