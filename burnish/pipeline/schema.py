"""JSON Schema (draft 2020-12) of a pipeline file, or of the file of one method, for editors.

An editor that knows it completes keys and values, shows what each is, and underlines what does not exist:

    # yaml-language-server: $schema=pipeline.schema.json
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from burnish.engine.ranges import UNITS, range_of
from burnish.pipeline.chosen import default_of
from burnish.pipeline.comparing import OPTIONS
from burnish.pipeline.fields import Field
from burnish.pipeline.methods import METHODS, Method
from burnish.pipeline.run import TOP_KEYS
from burnish.pipeline.settings import SHORT_NAMES
from burnish.pipeline.values import alternatives

DRAFT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

NAMES: Schema = {"type": ["string", "array"], "items": {"type": "string"}}
KINDS = {"int": "integer", "float": "number", "str": "string"}

TOP: Mapping[str, Schema] = {
    "env": {
        "type": "object",
        "description": "Environment variables to set, before anything is loaded.",
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    },
    "output_dir": {
        "type": "string",
        "description": "Folder of the run; every stage writes to a folder of its own name below it. "
        "Unset: runs/<name of the file>.",
    },
    "extends": {
        "type": "string",
        "description": "Another pipeline file, beside this one; its keys hold where this file says nothing.",
    },
    "stages": {
        "type": "array",
        "minItems": 1,
        "description": "What is trained, in order.",
        "items": {"$ref": "#/$defs/stage"},
    },
    "defaults": {
        "$ref": "#/$defs/defaults",
        "description": "Options for every stage whose method has them.",
    },
    "compare": {
        "type": "object",
        "description": "What answers the same prompts after the stages, and what measures it.",
        "properties": {
            "prompts": {"type": "string", "description": "Held-out rows of any format; DATA#200 draws 200."},
            "models": NAMES
            | {"description": "Stages, folders or hub ids; base: what the first starts from."},
            "score": NAMES | {"description": "A function, file.py:name, or several."},
            "reward": {"type": "string", "description": "A stage that trains a reward model, or its folder."},
            **{name: {"type": KINDS.get(kind, ["object", "string"])} for name, kind in OPTIONS.items()},
        },
        "additionalProperties": False,
    },
}
"""The keys at the top of a pipeline."""


def schema_of(name: str) -> Schema:
    """The schema of `pipeline`, or of a method's config file."""
    return pipeline_schema() if name == "pipeline" else method_schema(METHODS[name])


def method_schema(method: Method) -> Schema:
    """Of the file that `burnish dpo --config FILE` reads."""
    options = {field.name: option_schema(method.name, field) for field in method.fields().values()}
    return {
        "$schema": DRAFT,
        "title": f"burnish {method.name}",
        "description": method.summary,
        "type": "object",
        "properties": {"env": TOP["env"], **options},
        "additionalProperties": False,
    }


def pipeline_schema() -> Schema:
    """Of the file that `burnish run FILE` reads. What methods share is written once."""
    of = {
        name: {field.name: option_schema(name, field) for field in method.fields().values()}
        for name, method in METHODS.items()
    }
    shared = {
        option: schema
        for option, schema in of["sft"].items()
        if all(schemas.get(option) == schema for schemas in of.values())
    }
    stages = {f"stage-{name}": stage_schema(METHODS[name], schemas, shared) for name, schemas in of.items()}
    every = {option: schema for schemas in of.values() for option, schema in schemas.items()}
    defaults = {
        option: reference(option, every[option], shared) if option in shared else loose(every[option])
        for option in every
        if option != "output_dir"
    }
    return {
        "$schema": DRAFT,
        "title": "A pipeline of Burnish",
        "type": "object",
        "properties": {key: TOP.get(key, {}) for key in (*TOP_KEYS, "extends")},
        "anyOf": [{"required": ["stages"]}, {"required": ["extends"]}],
        "additionalProperties": False,
        "$defs": {
            "stage": any_stage(),
            "defaults": {
                "type": "object",
                "properties": {**defaults, **short_names(defaults)},
                "additionalProperties": False,
            },
            **stages,
            **{f"option-{option}": schema for option, schema in shared.items()},
        },
    }


def any_stage() -> Schema:
    """A stage by its method, which is named, or is the stage's own name."""
    return {
        "type": "object",
        "anyOf": [
            {"required": ["method"], "properties": {"method": {"enum": list(METHODS)}}},
            {"required": ["name"], "properties": {"name": {"enum": list(METHODS)}}},
        ],
        "allOf": [{"if": is_of(name), "then": {"$ref": f"#/$defs/stage-{name}"}} for name in METHODS],
    }


def is_of(method: str) -> Schema:
    named = {"required": ["method"], "properties": {"method": {"const": method}}}
    own_name = {"required": ["name"], "properties": {"name": {"const": method}, "method": False}}
    return {"anyOf": [named, own_name]}


def stage_schema(method: Method, options: Mapping[str, Schema], shared: Mapping[str, Schema]) -> Schema:
    properties = {
        option: reference(option, schema, shared)
        for option, schema in options.items()
        if option != "output_dir"
    }
    return {
        "title": method.summary,
        "properties": {
            "name": {"type": "string", "description": "What the stage is called; its folder has this name."},
            "method": {"const": method.name, "description": method.summary},
            **short_names(properties),
            **properties,
        },
        "additionalProperties": False,
    }


def short_names(properties: Mapping[str, Schema]) -> dict[str, Schema]:
    return {short: properties[name] for short, name in SHORT_NAMES.items() if name in properties}


def reference(option: str, schema: Schema, shared: Mapping[str, Schema]) -> Schema:
    return {"$ref": f"#/$defs/option-{option}"} if option in shared else schema


def loose(schema: Schema) -> Schema:
    """Of an option that is another one in another method: what it is for, and any value."""
    return {"description": schema["description"]}


# An option


def option_schema(method: str, field: Field) -> Schema:
    """Type, range, choices, default and description of an option."""
    kinds = alternatives(field.annotation)
    choices: list[Any] = list(field.choices)
    values: list[Schema] = (
        [{"enum": choices}] if choices else [kind for each in kinds for kind in type_schemas(each)]
    )
    values = [with_range(value, method, field.name) for value in values]
    if any(kind == "list" or kind.startswith("list[") for kind in kinds):
        # A single item, or text with commas, is read as a list too.
        items = values[0] if choices else None
        values = [{"type": "array", "items": items}, items] if items else [*values, *listed_alone(kinds)]
    if choices and "None" in kinds:
        values.append({"type": "null"})
    unit = f" Unit: {UNITS[field.name]}." if field.name in UNITS else ""
    schema: Schema = {"description": field.help + unit}
    default = default_of(field)
    if default is not None:
        schema["default"] = default
    unique = [value for index, value in enumerate(values) if value not in values[:index]]
    if unique and {} not in unique:
        schema |= unique[0] if len(unique) == 1 else {"anyOf": unique}
    return schema


SIMPLE: Mapping[str, Schema] = {
    "bool": {"type": "boolean"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "str": {"type": "string"},
    "dict": {"type": "object"},
    "list": {"type": "array"},
    "None": {"type": "null"},
}


def type_schemas(kind: str) -> list[Schema]:
    """One of the types that an annotation allows; any value, where it is a class of Python."""
    if kind in SIMPLE:
        return [dict(SIMPLE[kind])]
    if kind.startswith("list["):
        inner = [schema for each in alternatives(kind[5:-1]) for schema in type_schemas(each)]
        return [{"type": "array", "items": inner[0] if len(inner) == 1 else {"anyOf": inner}}]
    if kind.startswith("Literal["):
        found = ast.literal_eval(kind[7:])
        return [{"enum": list(found) if isinstance(found, list | tuple) else [found]}]
    return [{}]


def listed_alone(kinds: tuple[str, ...]) -> list[Schema]:
    return (
        [{"type": "string"}]
        if any(kind in ("list", "list[str]") for kind in kinds)
        else [{"type": "number"}] * ("list[float]" in kinds)
    )


def with_range(schema: Schema, method: str, name: str) -> Schema:
    """Numbers with the limits that are checked."""
    allowed = range_of(method, name)
    if allowed is None or schema.get("type") not in ("integer", "number"):
        return schema
    limits = {
        "exclusiveMinimum": allowed.above,
        "minimum": allowed.least,
        "exclusiveMaximum": allowed.below,
        "maximum": allowed.most,
    }
    bounded = {**schema, **{key: value for key, value in limits.items() if value is not None}}
    return bounded if allowed.special is None else {"anyOf": [bounded, {"const": allowed.special}]}
