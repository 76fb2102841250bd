"""Which figures are shown, and how, by value."""

import math

import pytest

from burnish.engine.figures import COLUMNS, chosen, decimals, evaluated, number, sparkline


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.69314, "0.6931"),
        (8.5237, "8.524"),
        (12.5, "12.50"),
        (-123.456, "-123.5"),
        (12345.6, "12,346"),
        (8.4e-07, "8.4e-07"),
        (0.0, "0"),
        (math.nan, "nan"),
        (math.inf, "inf"),
    ],
)
def test_numbers_have_about_four_digits(value, shown):
    assert number(value) == shown


def test_a_column_has_one_number_of_decimals_until_it_is_far_too_wide():
    assert [decimals(3)(value) for value in (1.0, -0.5, -1e-6, 1e6, math.nan)] == [
        "1.000",
        "-0.500",
        "0.000",
        "1,000,000",
        "nan",
    ]


LOGS = {"loss": 0.6, "rewards/margins": 0.1, "grad_norm": 3.0, "learning_rate": 1e-6, "rewards/chosen": 0.2}


def test_columns_give_way_from_the_right():
    assert [column.title for column in chosen(LOGS, 200)] == ["loss", "margin", "grad norm", "lr", "chosen"]
    assert [column.title for column in chosen(LOGS, 41)] == ["loss", "margin", "grad norm", "lr"]
    assert [column.title for column in chosen(LOGS, 40)] == ["loss", "margin", "grad norm"]


def test_an_evaluation_fills_the_columns_of_training():
    logs = {"eval_code_loss": 0.5, "eval_code_rewards/margins": 0.25, "eval_code_runtime": 1.0}
    assert evaluated(logs) == "eval_code_" and evaluated({"loss": 1.0, "eval": 2.0}) is None
    assert [column.of(logs, "eval_code_") for column in COLUMNS[:3]] == ["0.5000", "0.2500", ""]


def test_a_sparkline_goes_from_the_least_to_the_most():
    assert sparkline([7, 0, 3.5, math.nan, 7], 8) == "█▁▅█"
    assert sparkline([1, 2, 3], 2) == "▁█" and sparkline([1, 1], 4) == "▁▁"
    assert sparkline([1], 4) == sparkline([1, 2], 0) == ""
