"""Secrets in YAML files, found by the keys that they stand under."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from burnish.secrets import HIDDEN, hidden, is_secret, learn


def learn_secrets(node: yaml.Node) -> None:
    """Keep every secret of a file for `hidden`."""
    for key, value in _secrets(node):
        learn(key, value.value)


def text_without_secrets(text: str) -> str:
    """The text of a YAML file with its comments, and every secret hidden."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    places = [(value.start_mark.index, value.end_mark.index) for _, value in _secrets(node)]
    for start, end in sorted(set(places), reverse=True):
        text = f'{text[:start]}"{HIDDEN}"{text[end:]}'
    return hidden(text)


def _secrets(root: yaml.Node | None) -> Iterator[tuple[str, yaml.ScalarNode]]:
    """Every value below a secret key, with that key; each once, however many aliases lead to it."""
    waiting, seen = [("", root)], set()
    while waiting:
        key, node = waiting.pop()
        if (id(node), bool(key)) in seen:
            continue
        seen.add((id(node), bool(key)))
        if isinstance(node, yaml.MappingNode):
            named = [(str(name.value), value) for name, value in node.value]
            waiting += [(name if is_secret(name) else key, value) for name, value in named]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(key, each) for each in node.value]
        elif isinstance(node, yaml.ScalarNode) and key and node.value:
            yield key, node
