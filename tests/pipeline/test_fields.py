"""Fields read from source are those of the classes themselves."""

import ast
import dataclasses
import importlib

import pytest

from burnish.pipeline.fields import class_fields
from burnish.pipeline.methods import METHODS, SHARED

CLASSES = [*SHARED, *((method.module, f"{method.prefix}Config") for method in METHODS.values())]


@pytest.mark.parametrize(("module", "name"), CLASSES)
def test_names_defaults_and_help_are_those_of_the_class(module, name):
    real = {field.name: field for field in dataclasses.fields(getattr(importlib.import_module(module), name))}
    read = class_fields(module, name)
    assert set(read) == set(real)
    for key, field in real.items():
        assert ast.dump(ast.parse(read[key].annotation)), key
        assert evaluated(read[key].default) == default_of(field), key
        if read[key].owner != "TrainingArguments":
            assert read[key].choices == tuple(field.metadata.get("choices", ())), key
        stated = " ".join(field.metadata["help"].split()).rstrip(".").replace("%%", "%")
        assert read[key].help == stated + ".", key


def default_of(field):
    made = field.default_factory() if field.default is dataclasses.MISSING else field.default
    return getattr(made, "value", made)


def evaluated(default):
    return eval(default, {"__builtins__": {"list": list, "dict": dict}})
