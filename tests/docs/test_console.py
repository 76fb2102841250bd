"""What counts as the same output."""

from __future__ import annotations

import pytest

from tests.docs.console import agrees, commands_in, settled


def test_commands_are_found_with_what_they_print(tmp_path):
    document = tmp_path / "a.md"
    document.write_text(
        "```bash\nmake demo\nburnish env   # versions\n```\n"
        "```console\n$ burnish plan a.yaml \\\n    --json\nfirst\nsecond\n$ burnish env\n```\n"
        "```python\nimport burnish\n```\n"
    )
    found = [(c.line, c.text, c.printed) for c in commands_in(document)]
    assert found == [
        (3, "burnish env", None),
        (6, "burnish plan a.yaml \\\n    --json", ["first", "second"]),
        (10, "burnish env", []),
        (12, "python - <<'END'\nimport burnish\nEND", None),
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("loss 0.6931  lr 1e-06", "loss 0.7012 lr 2.5e-06"),
        ("saved  runs/dpo  (3 steps, 4 s)", "saved  runs/dpo  (3 steps, 61 s)"),
        ("trained 8 steps in 0:04", "trained 8 steps in 1:12:09"),
        ("time  about 58 s", "time  about 1 min 3 s"),
        ("computed in float32, up to 1,024 rows", "computed in bfloat16, up to 96 rows"),
        ("key 0123456789abcdef", "key fedcba9876543210"),
        ("├────┤", "├──────────┤"),
    ],
)
def test_what_machines_differ_in_is_no_difference(one, other):
    assert settled(one) == settled(other)


@pytest.mark.parametrize(
    ("one", "other"), [("3 rows", "4 rows"), ("runs/dpo", "runs/sft"), ("loss 0.5", "loss"), ("a", "b")]
)
def test_anything_else_is(one, other):
    assert settled(one) != settled(other)


def test_three_dots_stand_for_anything():
    assert agrees(["a", "...", "z"], ["a", "b", "c", "z"])
    assert agrees(["a ... z"], ["a b c z"])
    assert not agrees(["a", "...", "z"], ["a", "b"])
    assert not agrees(["a"], ["a", "b"])
