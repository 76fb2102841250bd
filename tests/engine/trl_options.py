"""Writes `trl_options.json`: names and defaults of the options of TRL's configs and trainers.

    python tests/engine/trl_options.py        # with the pinned TRL installed

The tests read the file, so they run without TRL.
"""

import dataclasses
import importlib
import inspect
import json
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")
METHODS = {
    "sft": "SFT",
    "reward": "Reward",
    "dpo": "DPO",
    "kto": "KTO",
    "orpo": "ORPO",
    "cpo": "CPO",
    "tpo": "TPO",
    "gkd": "GKD",
}
EXPERIMENTAL = ("orpo", "cpo", "tpo", "gkd")


def collect() -> dict:
    """For every method: the config fields that TrainingArguments has not or has with another default."""
    import trl
    from transformers import TrainingArguments

    inherited = {field.name: default_of(field) for field in dataclasses.fields(TrainingArguments)}
    facts: dict = {"version": trl.__version__, "config": {}, "trainer": {}}
    for method, prefix in METHODS.items():
        home = importlib.import_module(f"trl.experimental.{method}") if method in EXPERIMENTAL else trl
        options = {f.name: default_of(f) for f in dataclasses.fields(getattr(home, f"{prefix}Config"))}
        own = {k: v for k, v in options.items() if k not in inherited or inherited[k] != v}
        facts["config"][method] = dict(sorted(own.items()))
        facts["trainer"][method] = list(inspect.signature(getattr(home, f"{prefix}Trainer")).parameters)
    return facts


def default_of(field: dataclasses.Field) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


if __name__ == "__main__":
    FILE.write_text(json.dumps(collect(), indent=1) + "\n")
