"""A score function for `burnish compare --score examples/score.py:right`.

It is called with the answer of a model and the columns of the row; here a ticket is right if it is the same
JSON object as the expected one.
"""

import json


def right(answer: str, expected: str, **_) -> bool:
    try:
        return json.loads(answer) == json.loads(expected)
    except ValueError:
        return False
