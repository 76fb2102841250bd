"""Text to values, by the annotation of the field."""

import pytest

from burnish.pipeline.values import NotThat, convert, describe, is_flag, is_list

STRATEGY = "IntervalStrategy | str"


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("1e-5", "float", 1e-5),
        ("1", "float", 1.0),
        ("8", "int", 8),
        ("1e3", "int", 1000),
        ("-1", "int", -1),
        ("true", "bool", True),
        ("no", "bool", False),
        ("no", "str | bool", "no"),
        ("no", STRATEGY, "no"),
        ("null", "int | None", None),
        ("None", "Optional[int]", None),
        ("none", "None | str | list[str]", "none"),
        ("auto", "int | str | None", "auto"),
        ("64", "int | str | None", 64),
        ("sigmoid", "list[str]", ["sigmoid"]),
        ("sigmoid, ipo", "list[str]", ["sigmoid", "ipo"]),
        ("0.5,1", "list[float] | None", [0.5, 1.0]),
        ('["a", "b"]', "str | list[str]", ["a", "b"]),
        ('{"dtype": "float32"}', "dict[str, Any] | str | None", {"dtype": "float32"}),
        ("config.json", "dict | str | None", "config.json"),
        ("fp4", "Literal['nf4', 'fp4']", "fp4"),
        ("False", "str | None | Literal[False]", False),
        (["sigmoid", "ipo"], "list[str]", ["sigmoid", "ipo"]),
        ({"a": 1}, "dict[str, Any] | None", {"a": 1}),
        (None, "float | None", None),
    ],
)
def test_converts(text, annotation, value):
    result = convert(text, annotation)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("given", "annotation", "expected"),
    [
        ("fast", "float", "a number"),
        ("1.5", "int", "a whole number"),
        ("nan", "int", "a whole number"),
        ("inf", "int", "a whole number"),
        ("maybe", "bool", "true or false"),
        ("x", "dict | None", "a mapping (JSON) or null"),
        ("{x}", "dict | None", "JSON"),
        ("nf5", "Literal['nf4', 'fp4']", "Did you mean 'nf4'?"),
        (None, "float", "a number"),
        (["a"], "float", "a number"),
        ({"a": 1}, "str", "text"),
        (["a"], "list[float]", "a number"),
    ],
)
def test_says_what_was_expected(given, annotation, expected):
    with pytest.raises(NotThat) as caught:
        convert(given, annotation)
    assert expected in str(caught.value)


def test_kinds_of_fields():
    assert is_flag("bool | None") and not is_flag("float")
    assert is_list("None | str | list[str]") and not is_list("dict[str, Any]")
    assert describe("int | str | None") == "a whole number or text or null"
