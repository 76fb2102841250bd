"""A file that was read before is not walked again; one that changed is."""

from __future__ import annotations

import json

import pytest

from burnish.data.sources import jsonl
from burnish.data.sources.jsonl import read_json
from burnish.errors import UserError


def write(file, *rows) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_types_are_learned_once_for_a_file_as_it_is(tmp_path, monkeypatch):
    file = tmp_path / "rows.jsonl"
    write(file, {"a": 1}, {"a": 2, "b": [{"c": "x"}]})
    first = read_json([file], str(tmp_path / "cache"))
    walks = []

    def counted(paths):
        walks.append(paths)
        return survey(paths)

    survey = jsonl._survey
    monkeypatch.setattr(jsonl, "_survey", counted)
    again = read_json([file], str(tmp_path / "cache"))
    assert not walks
    assert again[1] == first[1] == [2]
    assert again[0].to_list() == first[0].to_list() and again[0].features == first[0].features
    write(file, {"a": 1}, {"a": 2.5}, {"a": None})
    changed, counts = read_json([file], str(tmp_path / "cache"))
    assert len(walks) == 1 and counts == [3] and changed["a"][:] == [1.0, 2.5, None]


def test_a_file_that_cannot_be_read_is_walked_each_time(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"a": 1}\nnot json\n')
    for _ in range(2):
        with pytest.raises(UserError, match="line 2"):
            read_json([file])
