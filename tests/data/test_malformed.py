"""Malformed data, as real files: what is said of each, word by word, in `malformed.yaml`.

After a change of a message, `BURNISH_UPDATE_GOLDENS=1 pytest tests/data/test_malformed.py` writes that file
anew; read the difference as the person would who gets the message.
"""

from __future__ import annotations

import codecs
import gzip
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml

from burnish.data.preparation.options import PreparationOptions
from burnish.data.preparation.prepare import Prepared, prepare
from burnish.data.reading.formats import LANGUAGE, PREFERENCE, STEPWISE, UNPAIRED, Family
from burnish.data.sources.source import load_rows
from burnish.errors import UserError
from tests.data import chats
from tests.data.chats import assistant, byte_tokenizer, system, user

GOLDEN = Path(__file__).parent / "malformed.yaml"
MAX_LINES = 12

ASK, YES, NO = user("Is it?"), assistant("yes"), assistant("no")
CHAT = {"messages": [ASK, YES]}
PAIR = {"prompt": "Is it?", "chosen": " yes", "rejected": " no"}
JUDGED = {"prompt": "Is it?", "completion": " yes", "label": True}
STEPS = {"prompt": "1+1+1?", "completions": ["1+1=2", "2+1=3"], "labels": [True, True]}
IDS = {"input_ids": [5, 6, 7]}
CALL = {"type": "function", "function": {"name": "look", "arguments": {"at": "sky"}}}


@dataclass(frozen=True)
class Case:
    """A file, how it is read, and what of the place every message must name."""

    content: bytes
    place: str = ""  # after the file: `row 1, column 'chosen'`
    family: Family = LANGUAGE
    file: str = "rows.jsonl"
    template: str | None = chats.CHATML
    options: dict[str, Any] = field(default_factory=dict)


def lines(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def chat(*turns: Any, **columns: Any) -> bytes:
    """A good chat, then one of these turns."""
    return lines(CHAT, {"messages": list(turns), **columns})


MESSAGE_1 = "row 1, column 'messages', message 1"

FILES = {
    "0 bytes": Case(b""),
    "only blank lines": Case(b"\n\n  \n"),
    "an empty list": Case(b"[]", file="rows.json"),
    "UTF-16": Case('{"text": "ab"}\n'.encode("utf-16")),
    "UTF-16 without a mark": Case('{"text": "ab"}\n'.encode("utf-16-le")),
    "UTF-32": Case('{"text": "ab"}\n'.encode("utf-32")),
    "Latin-1": Case('{"text": "ab"}\n{"text": "café"}\n'.encode("latin-1"), "line 2"),
    "NUL bytes": Case(b'{"text": "ab"}\n' + b"\0" * 4096 + b"\n", "line 2"),
    "NUL bytes at the end": Case(b'{"text": "ab"}\n' + b"\0" * 512, "line 2"),
    "a truncated last line": Case(b'{"text": "ab"}\n{"text": "the sky is', "line 2"),
    "a comma too many": Case(b'{"text": "ab"}\n{"text": "ab",}\n', "line 2, column"),
    "Python's quotes": Case(b"{'text': 'ab'}\n", "line 1, column"),
    "two objects on a line": Case(b'{"text": "ab"} {"text": "cd"}\n', "line 1, column"),
    "a line break within a string": Case(b'{"text": "a\nb"}\n', "line 1, column"),
    "one object over many lines": Case(b'{\n  "text": "ab"\n}\n', "line 1, column"),
    "a key twice": Case(lines({"text": "ab"}) + b'{"text": "ab", "text": "cd"}\n', "line 2"),
    "half an emoji": Case(b'{"text": "ab"}\n{"text": "so \\ud83d"}\n', "line 2"),
    "nested 100,000 deep": Case(
        b'{"text": "ab"}\n{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "line 2"
    ),
    "a number of 5,000 digits": Case(b'{"text": "ab"}\n{"n": ' + b"9" * 5000 + b"}\n", "line 2"),
    "a string a line": Case(b'{"text": "ab"}\n"hello"\n', "line 2"),
    "a number a line": Case(b"1\n2\n", "line 1"),
    "null on a line": Case(b'{"text": "ab"}\nnull\n', "line 2"),
    "a list a line": Case(b'{"text": "ab"}\n["ab"]\n', "line 2"),
    "a list of strings": Case(b'["ab", "cd"]', "element 0", file="rows.json"),
    "a list with a number": Case(b'[{"text": "ab"}, 5]', "element 1", file="rows.json"),
    "a list without a comma": Case(
        b'[\n{"text": "ab"}\n{"text": "cd"}\n]', "line 3, column 1", file="rows.json"
    ),
    "a list that is cut off": Case(b'[{"text": "ab"},\n{"text": "c', "line 2, column", file="rows.json"),
    "plain text": Case(b"The sky is blue.\n", "line 1, column"),
    "gzip under another name": Case(gzip.compress(b'{"text": "ab"}\n')),
    "gzip that is none": Case(b'{"text": "ab"}\n', file="rows.jsonl.gz"),
    "gzip that is cut off": Case(gzip.compress(lines({"text": "ab"}) * 500)[:-20], file="rows.jsonl.gz"),
    "a ZIP archive": Case(b"PK\x03\x04\x14\x00", file="rows.jsonl"),
    "Parquet that is none": Case(b"no", file="rows.parquet"),
    "Parquet without bytes": Case(b"", file="rows.parquet"),
    "Parquet under another name": Case(b"PAR1\x15\x04\x15"),
    "an unknown suffix": Case(b"<rows/>", file="rows.xml"),
    "CSV: a row too long": Case(b"prompt,completion\na,b\na,b,c\n", "line 3", file="rows.csv"),
    "CSV: a row too short": Case(b"prompt,completion\na,b\na\n", "line 3", file="rows.csv"),
    "CSV: numbers only": Case(b"1,2\n3,4\n", file="rows.csv"),
    "CSV: a header only": Case(b"prompt,completion\n", file="rows.csv"),
    "CSV: a column twice": Case(b"text,text\na,b\n", file="rows.csv"),
    "CSV: quotes that do not end": Case(b'prompt,completion\na,"b\n', "line 2", file="rows.csv"),
    "CSV: Latin-1": Case("prompt,completion\na,café\n".encode("latin-1"), "line", file="rows.csv"),
    "CSV: a label that is none": Case(
        b"prompt,completion,label\na,b,1\na,b,maybe\n", "row 1, column 'label'", UNPAIRED, "rows.csv"
    ),
    "CSV: a margin left empty": Case(
        b"prompt,chosen,rejected,margin\na,b,c,1.5\na,b,c,\n",
        "row 1, column 'margin'",
        PREFERENCE,
        "rows.csv",
    ),
    "CSV with semicolons": Case(b"prompt;completion\na;b\n", file="rows.csv"),
}

COLUMNS = {
    "no known column": Case(lines({"frage": "a", "antwort": "b"})),
    "a column missing": Case(lines({"prompt": "a", "chosen": "b"}), family=PREFERENCE),
    "columns of another name": Case(
        lines({"question": "a", "upvoted": "b", "downvoted": "c"}), family=PREFERENCE
    ),
    "columns in capitals, one of another name": Case(lines({"Prompt": "a", "Continuation": "b"})),
    "rows for another method": Case(lines(CHAT), family=PREFERENCE),
    "pairs for SFT": Case(lines(PAIR)),
    "SFT's rows where labels are needed": Case(lines({"prompt": "a", "completion": "b"}), family=UNPAIRED),
    "a mapping to no column": Case(lines(PAIR), family=PREFERENCE, options={"columns": {"prompt": "promt"}}),
    "a key missing in a row": Case(
        lines(PAIR, {"prompt": "a", "chosen": "b"}), "row 1, column 'rejected'", PREFERENCE
    ),
    "a null": Case(lines(PAIR, {**PAIR, "chosen": None}), "row 1, column 'chosen'", PREFERENCE),
    "a null prompt": Case(lines(PAIR, {**PAIR, "prompt": None}), "row 1, column 'prompt'", PREFERENCE),
    "a number": Case(lines({"text": "ab"}, {"text": 42}), "row 1, column 'text'"),
    "an object": Case(lines({"text": "ab"}, {"text": {"en": "ab"}}), "row 1, column 'text'"),
    "a list of strings for a text": Case(
        lines(PAIR, {**PAIR, "rejected": ["no", "never"]}), "row 1, column 'rejected'", PREFERENCE
    ),
    "a column of one's own name": Case(
        lines({"q": "a", "a": "b"}, {"q": 5, "a": "b"}),
        "row 1, column 'q'",
        options={"columns": {"prompt": "q", "completion": "a"}},
    ),
    "swapped columns": Case(
        lines(JUDGED, {"prompt": "a", "completion": True, "label": "b"}),
        "row 1, column 'completion'",
        UNPAIRED,
    ),
    "a chat and a string": Case(
        lines({"chosen": [ASK, YES], "rejected": "no"}), "row 0, columns 'chosen', 'rejected'", PREFERENCE
    ),
    "a margin that is no number": Case(
        lines({**PAIR, "margin": 1}, {**PAIR, "margin": "big"}), "row 1, column 'margin'", PREFERENCE
    ),
    "a margin that is NaN": Case(
        lines({**PAIR, "margin": 1.0}, {**PAIR, "margin": float("nan")}), "row 1, column 'margin'", PREFERENCE
    ),
    "a margin that is infinite": Case(
        lines({**PAIR, "margin": float("-inf")}), "row 0, column 'margin'", PREFERENCE
    ),
    "a margin that is true": Case(lines({**PAIR, "margin": True}), "row 0, column 'margin'", PREFERENCE),
    "a label that is a score": Case(
        lines(JUDGED, {**JUDGED, "label": 0.75}), "row 1, column 'label'", UNPAIRED
    ),
    "a label that is a word": Case(lines({**JUDGED, "label": "good"}), "row 0, column 'label'", UNPAIRED),
    "a label of -1": Case(lines(JUDGED, {**JUDGED, "label": -1}), "row 1, column 'label'", UNPAIRED),
    "a label that is null": Case(lines(JUDGED, {**JUDGED, "label": None}), "row 1, column 'label'", UNPAIRED),
    "a judged chat that ends with the user": Case(
        lines({"messages": [ASK, YES], "label": 1}, {"messages": [ASK], "label": 1}),
        "row 1, column 'messages'",
        UNPAIRED,
    ),
    "fewer labels than steps": Case(
        lines(STEPS, {**STEPS, "labels": [True]}), "row 1, columns 'completions', 'labels'", STEPWISE
    ),
    "steps in one string": Case(
        lines(STEPS, {**STEPS, "completions": "1+1=2"}), "row 1, column 'completions'", STEPWISE
    ),
    "labels of steps that are words": Case(
        lines(STEPS, {**STEPS, "labels": ["right", "wrong"]}), "row 1, column 'labels'", STEPWISE
    ),
    "token ids that are words": Case(lines(IDS, {"input_ids": ["a", "b"]}), "row 1, column 'input_ids'"),
    "token ids that are fractions": Case(lines(IDS, {"input_ids": [5, 6.5]}), "row 1, column 'input_ids'"),
    "token ids below 0": Case(lines(IDS, {"input_ids": [5, -100]}), "row 1, column 'input_ids'"),
    "token ids beyond the vocabulary": Case(
        lines(IDS, {"input_ids": [5, 99_999]}), "row 1, column 'input_ids'"
    ),
    "labels of token ids: too few": Case(
        lines({**IDS, "labels": [-100, 6, 7]}, {**IDS, "labels": [6]}), "row 1, column 'input_ids'"
    ),
    "a transcript that begins with something else": Case(
        lines({name: f"Note.\n\nHuman: Is it?\n\nAssistant: {name}" for name in ("chosen", "rejected")}),
        "row 0, column 'chosen'",
        PREFERENCE,
    ),
    "template arguments that are no object": Case(
        lines({**CHAT, "chat_template_kwargs": ["thinking"]}), "row 0, column 'chat_template_kwargs'"
    ),
    "template arguments that are no JSON": Case(
        lines({**CHAT, "chat_template_kwargs": "thinking=1"}), "row 0, column 'chat_template_kwargs'"
    ),
    "tools that are no JSON": Case(lines({**CHAT, "tools": "search(query)"}), "row 0, column 'tools'"),
    "tools that are names": Case(lines({**CHAT, "tools": ["search"]}), "row 0, column 'tools'"),
    "tools that are a number": Case(lines({**CHAT, "tools": 3}), "row 0, column 'tools'"),
}

MESSAGES = {
    "messages in a string": Case(lines(CHAT, {"messages": "user: Is it?"}), "row 1, column 'messages'"),
    "messages that are numbers": Case(lines(CHAT, {"messages": 5}), "row 1, column 'messages'"),
    "a message that is a string": Case(chat(ASK, "yes"), MESSAGE_1),
    "a message without a role": Case(chat(ASK, {"content": "yes"}), MESSAGE_1),
    "a message without content": Case(chat(ASK, {"role": "assistant"}), MESSAGE_1),
    "a null content": Case(chat(ASK, {"role": "assistant", "content": None}), MESSAGE_1),
    "content that is a number": Case(chat(ASK, {"role": "assistant", "content": 42}), MESSAGE_1),
    "content that is an object": Case(chat(ASK, {"role": "tool", "content": {"a": 1}}), MESSAGE_1),
    "an image": Case(
        chat(ASK, {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a.png"}}]}),
        MESSAGE_1,
    ),
    "a misspelt role": Case(chat(ASK, {"role": "asistant", "content": "yes"}), MESSAGE_1),
    "ShareGPT's role under another key": Case(chat(ASK, {"role": "gpt", "content": "yes"}), MESSAGE_1),
    "a role of one's own": Case(chat(ASK, {"role": "critic", "content": "no"}, YES), "row 1, message 1"),
    "a role that is a number": Case(chat(ASK, {"role": 1, "content": "no"}), MESSAGE_1),
    "an order that the template refuses": Case(chat(ASK, ASK, YES), "row 1", template=chats.NO_SYSTEM),
    "a system message that the template refuses": Case(
        chat(system("Be calm."), ASK, YES), "row 1", template=chats.NO_SYSTEM
    ),
    "what the template leaves out": Case(
        chat(ASK, {"role": "tool", "content": "blue"}, YES),
        "row 1",
        template="{% for m in messages if m.role != 'tool' %}{{ m.role }}: {{ m.content }}\n{% endfor %}",
    ),
    "no chat template": Case(lines(CHAT), "row 0", template=None),
    "assistant_only_loss of plain text": Case(
        lines({"text": "ab"}), "row 0", options={"assistant_only_loss": True}
    ),
    "a weight of a half": Case(chat(ASK, {**YES, "weight": 0.5}), MESSAGE_1),
    "a flag that is a word": Case(chat(ASK, {**YES, "train": "yes"}), MESSAGE_1),
    "a flag on the user's turn": Case(
        chat({**ASK, "train": True}, YES), "row 1, column 'messages', message 0"
    ),
    "a call that is a string": Case(chat(ASK, {"role": "assistant", "tool_calls": "look"}), MESSAGE_1),
    "a call without a name": Case(
        chat(ASK, {"role": "assistant", "tool_calls": [{"arguments": {}}]}), MESSAGE_1
    ),
    "arguments that are no JSON": Case(
        chat(ASK, {"role": "assistant", "tool_calls": [{"name": "look", "arguments": "{'at': 'sky'}"}]}),
        MESSAGE_1,
    ),
    "ShareGPT's call that is no JSON": Case(
        lines(
            {
                "conversations": [
                    {"from": "human", "value": "Is it?"},
                    {"from": "function_call", "value": "look()"},
                ]
            }
        ),
        "row 0, column 'conversations', message 1",
    ),
    "ShareGPT without a value": Case(
        lines({"conversations": [{"from": "human", "value": "Is it?"}, {"from": "gpt"}]}),
        "row 0, column 'conversations', message 1",
    ),
    "reasoning in a list": Case(chat(ASK, {**YES, "thinking": ["hm"]}), MESSAGE_1),
    "calls that the template leaves out": Case(
        chat(ASK, {"role": "assistant", "content": "", "tool_calls": [CALL]}), "row 1"
    ),
}

MANY = {
    "one bad row in 10,000": Case(
        lines({"text": "ab"}) * 7_321 + lines({"text": None}) + lines({"text": "ab"}) * 2_678,
        "row 7321, column 'text'",
    ),
    "an id of one's own": Case(
        lines({**PAIR, "id": 95}, {**PAIR, "id": 510, "chosen": 5}),
        "row 1 (id 510), column 'chosen'",
        PREFERENCE,
    ),
    "every row bad, in its own way": Case(
        lines(*({**PAIR, name: value} for name in PAIR for value in (None, 5, [1], {"a": 1}, True))),
        "row 0",
        PREFERENCE,
    ),
    "more bad rows than may be skipped": Case(
        lines(*[{"text": "ab"}] * 5, {"text": 1}, {"text": None}),
        "row 5, column 'text'",
        options={"on_bad_row": "skip"},
    ),
    "every completion empty": Case(lines(*[{"prompt": "a", "completion": "  "}] * 3)),
    "every pair equal": Case(lines(*[{**PAIR, "rejected": " yes"}] * 2), family=PREFERENCE),
    "every row too long": Case(lines({"prompt": "ab" * 50, "completion": "c"}), options={"max_length": 8}),
    "an error at a long row": Case(
        lines({"text": "ab"}, {"text": "ab" * 50}),
        "row 1",
        options={"max_length": 8, "truncation_mode": "error"},
    ),
    "a bad row of 5 MB": Case(lines({"text": ["sky " * 1_250_000]}), "row 0, column 'text'"),
}

CASES = FILES | COLUMNS | MESSAGES | MANY


def prepared(case: Case, folder: Path) -> Prepared:
    path = folder / case.file
    path.write_bytes(case.content)
    source = load_rows(path, cache_dir=str(folder / "cache"))
    return prepare(source, case.family, byte_tokenizer(case.template), PreparationOptions(**case.options))


PARSERS_WORDS = re.compile(
    r"(: not JSON: )[^:\n]+|(cut off )\([^)]*\)|(cannot be (?:read as \w+|unpacked): |not CSV: )[^\n]+"
)


def message(case: Case, folder: Path) -> str:
    """What is said, without the folder, and without the words of parsers, which differ between versions."""
    with pytest.raises(UserError) as error:
        prepared(case, folder)
    said = str(error.value).replace(f"{folder}/", "")
    return PARSERS_WORDS.sub(lambda found: f"{''.join(filter(None, found.groups()))}(…)", said)


@pytest.fixture(autouse=True, scope="module")
def quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.fixture(scope="module")
def golden():
    written: dict[str, str] = {}
    known = yaml.safe_load(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    yield known if "BURNISH_UPDATE_GOLDENS" not in os.environ else written
    if written:
        GOLDEN.write_text(_as_yaml({name: written.get(name, known.get(name, "")) for name in CASES}), "utf-8")


def _as_yaml(messages: dict[str, str]) -> str:
    blocks = ["# What is said of malformed data. See test_malformed.py.\n"]
    for name, text in messages.items():
        blocks.append(f"{json.dumps(name)}: |-\n" + "".join(f"  {line}\n" for line in text.splitlines()))
    return "\n".join(blocks)


@pytest.mark.parametrize("name", CASES)
def test_what_is_said(name, golden, tmp_path):
    case = CASES[name]
    found = message(case, tmp_path)
    place, *rest = found.splitlines()
    assert place.startswith(", ".join(filter(None, [case.file, case.place]))), place
    assert len(rest) < MAX_LINES and max(map(len, found.splitlines())) < 400
    assert any(line.startswith("  fix: ") for line in rest), "nothing is said about how to mend it"
    if "BURNISH_UPDATE_GOLDENS" in os.environ:
        golden[name] = found
    assert found == golden[name]


def test_no_message_is_left_over(golden):
    assert set(golden) == set(CASES)


# What looks odd and is fine

ACCEPTED = {
    "a byte order mark": (Case(codecs.BOM_UTF8 + lines({"text": "ab"})), 1),
    "a byte order mark in CSV": (Case(codecs.BOM_UTF8 + b"text\nab\n", file="rows.csv"), 1),
    "CRLF": (Case(b'{"text": "ab"}\r\n{"text": "cd"}\r\n'), 2),
    "CRLF in CSV": (Case(b"text\r\nab\r\ncd\r\n", file="rows.csv"), 2),
    "blank lines": (Case(b'\n\n{"text": "ab"}\n\n{"text": "cd"}\n\n'), 2),
    "no line break at the end": (Case(b'{"text": "ab"}\n{"text": "cd"}'), 2),
    "line separators in a string": (Case('{"text": "a\u2028b\u0085c"}\n'.encode()), 1),
    "an escaped emoji": (Case(b'{"text": "so \\ud83d\\ude00"}\n'), 1),
    "a backslash before ud83d": (Case(b'{"text": "so \\\\ud83d"}\n'), 1),
    "NaN, infinity and huge numbers aside": (
        Case(b'{"text": "ab", "a": NaN, "b": -Infinity, "c": 1e999, "d": %d}\n' % 10**40),
        1,
    ),
    "types that differ aside": (Case(lines({"text": "ab", "n": 1}, {"text": "cd", "n": {"a": []}})), 2),
    "a row of 5 MB": (Case(lines({"text": "sky " * 1_250_000})), 1),
    "gzip": (Case(gzip.compress(lines({"text": "ab"})), file="rows.jsonl.gz"), 1),
    "one object without a list": (Case(b'{"text": "ab"}', file="rows.json"), 1),
    "a NUL that is escaped": (Case(b'{"text": "a\\u0000b"}\n'), 1),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_is_fine(name, tmp_path):
    case, rows = ACCEPTED[name]
    report = prepared(case, tmp_path).report
    assert (report.read, report.kept) == (rows, rows)


def test_an_empty_completion_is_dropped_and_counted(tmp_path):
    good = {"prompt": "a", "completion": "b"}
    case = Case(lines(good, {**good, "completion": ""}, good, {**good, "completion": " \n"}))
    report = prepared(case, tmp_path).report
    assert (report.read, report.kept, report.faults) == (4, 2, {})
    assert report.dropped["empty completion"].rows == [1, 3]


# The same from the command line

COMMANDS = {
    "sft": FILES["UTF-16"],
    "sft --assistant_only_loss": MESSAGES["a message without content"],
    "reward": COLUMNS["a null"],
    "dpo": COLUMNS["columns of another name"],
    "dpo --on_bad_row skip": MANY["every row bad, in its own way"],
}


@pytest.mark.parametrize("words", COMMANDS)
def test_the_command_line_ends_with_the_message_alone(words, tmp_path, tiny_model_dir):
    case = COMMANDS[words]
    (tmp_path / case.file).write_bytes(case.content)
    command = [sys.executable, "-m", "burnish", *words.split(), "--model_name_or_path", str(tiny_model_dir)]
    result = subprocess.run(
        [*command, "--dataset_name", case.file, "--output_dir", "out"],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert result.returncode == 2
    assert ", ".join(filter(None, [case.file, case.place])) in result.stderr and "  fix: " in result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    assert [path.name for path in tmp_path.iterdir()] == [case.file]
