"""What an option is: its sentence, type, unit and default, what it goes with, and what TRL calls it.

Everything is read from the source of the configs, the losses' docstrings and the tables beside this file,
without importing torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from burnish.engine.compat import OWN_DEFAULTS
from burnish.engine.inherited import WORKS
from burnish.engine.ranges import UNITS, range_of
from burnish.errors import UserError, nearest
from burnish.pipeline.chosen import default_of, spell
from burnish.pipeline.docstrings import Said, table_said
from burnish.pipeline.fields import Field
from burnish.pipeline.foreign.tables import lookup, written
from burnish.pipeline.methods import METHODS
from burnish.pipeline.needs import NEEDS, RIVALS
from burnish.pipeline.unknown import methods_with
from burnish.pipeline.values import alternatives, describe

LOSS_TABLES = {
    ("sft", "loss_type"): ("burnish.losses.likelihood", "LIKELIHOOD_LOSSES"),
    ("reward", "loss_type"): ("burnish.methods.reward", "REWARD_LOSSES"),
    ("dpo", "loss_type"): ("burnish.losses.mixture", "PREFERENCE_LOSSES"),
    ("dpo", "f_divergence_type"): ("burnish.losses.divergence", "DIVERGENCES"),
    ("kto", "loss_type"): ("burnish.losses.unpaired", "UNPAIRED_LOSSES"),
    ("cpo", "loss_type"): ("burnish.losses.reference_free", "CPO_LOSSES"),
    ("tpo", "loss_type"): ("burnish.losses.reference_free", "TPO_LOSSES"),
}
"""The functions behind the choices of an option."""

BURNISH_ONLY = frozenset(
    "as_chats attribute_weights attributes bad_row_budget columns divergence_temperature dynamic_beta "
    "early_stopping_patience end_last_turn match_generation_prompt "
    "eval_dataset_name focal_gamma last_turn_only_loss length_penalty margin_offset on_bad_row "
    "ordinal_levels positive_penalty row_function sample_max_new_tokens sample_prompts sample_steps tier "
    "token_metrics tokens_per_forward".split()
)
"""Options that TRL has not."""

ASIDE = {
    "learning_rate": "an adapter takes about ten times the rate of full fine-tuning",
    "per_device_train_batch_size": "a step has gradient_accumulation_steps times as many on every device",
    "gradient_accumulation_steps": "a step has so many per_device_train_batch_size on every device",
    "max_length": "truncation_mode says what becomes of longer rows",
    "truncation_mode": "max_length says what is too long",
    "tokens_per_forward": "how a step is cut never changes its result, only memory and time",
    "max_steps": "it replaces num_train_epochs",
    "eval_strategy": "rows to evaluate on: eval_dataset_name, test_split_size, or dataset_test_split",
    "test_split_size": "rows with the same prompt stay on one side",
    "eval_steps": "where it is unset, logging_steps",
    "early_stopping_patience": "load_best_model_at_end then saves the best model in place of the last",
    "packing": "packs are filled up to max_length, and the batch size counts packs",
    "dtype": "what is computed with is bf16's business",
    "bf16": "what is stored is dtype's business",
    "lora_alpha": "lora_alpha / lora_r scales the adapter's output; lora_alpha / sqrt(lora_r) in rsLoRA",
    "lora_r": "lora_alpha / lora_r scales the adapter's output",
    "beta": "the higher, the closer the policy stays to where it started (in gkd: the divergence)",
    "loss_weights": "one weight for each of loss_type",
}
"""What options have to do with each other beyond the tables of `needs.py`."""

EXAMPLES = {
    "model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "dataset_name": "rows.jsonl",
    "datasets": "[{path: rows.jsonl}, {path: more.jsonl, weight: 0.5}]",
    "eval_dataset_name": "held-out.jsonl",
    "test_split_size": "0.1",
    "output_dir": "runs/mine",
    "columns": "{question: ticket, chosen: good, rejected: bad}",
    "lora_target_modules": "[all-linear]",
    "loss_weights": "[1, 0.5]",
    "max_steps": "1000",
    "eval_steps": "100",
    "warmup_steps": "0.03",
    "report_to": "tensorboard",
    "ordinal_levels": "[0, 1, 2, 3, 4]",
    "attributes": "[helpfulness, correctness]",
    "attribute_weights": "[0.5, 0.5]",
    "chat_template_path": "template.jinja",
    "deepspeed": "zero2.json",
}


TOPICS = {
    "batch_size": (
        "per_device_train_batch_size",
        "A step has per_device_train_batch_size x gradient_accumulation_steps x devices examples: rows of "
        "SFT, pairs of DPO and reward models. How many fit at once is not its business: a step is cut into "
        "forwards of at most tokens_per_forward tokens, with the same result.",
    ),
    "qlora": (
        "load_in_4bit",
        "QLoRA is load_in_4bit: true with use_peft: true (extra `quantization`). bnb_4bit_quant_type is nf4; "
        "use_bnb_nested_quant quantizes the scales too.",
    ),
    "early_stopping": (
        "early_stopping_patience",
        "Training stops where early_stopping_patience evaluations in a row are no better than the best one "
        "by metric_for_best_model; in Python also transformers' EarlyStoppingCallback.",
    ),
    "lora": (
        "use_peft",
        "LoRA is use_peft: true. lora_r, lora_alpha, lora_dropout and lora_target_modules say what the "
        "adapter is like; it takes about ten times the learning rate of full fine-tuning.",
    ),
}
"""What people ask for by the name of the matter: the option to begin with, and a sentence."""


@dataclass(frozen=True)
class Choice:
    """A value that an option can have; of losses with their formula, source and use."""

    value: str
    formula: str = ""
    source: str = ""
    use: str = ""


@dataclass(frozen=True)
class Explanation:
    """`defaults` are by method; `trl` says what TRL's option of the name is here, and why."""

    name: str = ""  # empty for another tool's option without counterpart; `called` says why
    help: str = ""
    type: str = ""
    unit: str = ""
    range: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    goes_with: list[str] = field(default_factory=list)
    trl: str = ""
    yaml: str = ""
    flag: str = ""
    called: str = ""  # how it was asked for, where that is another tool's name
    more: list[str] = field(default_factory=list)  # what else to ask

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def explain(key: str, method: str = "") -> Explanation:
    """The explanation of `beta` or `dpo.beta`. Raises `UserError`: unknown, or without counterpart."""
    asked, _, name = key.strip().lstrip("-").replace("-", "_").rpartition(".")
    method = method or asked
    if method and method not in METHODS:
        raise UserError(f"there is no method '{method}'.{nearest(method, METHODS)}", where=key)
    having = methods_with(name)
    if not having and name in TOPICS:
        option, sentence = TOPICS[name]
        return replace(explain(option, method), called=sentence)
    if not having:
        return of_another_tool(name, method)
    if method and method not in having:
        raise UserError(f"'{name}' is an option of {written(having)}, not of {method}", where=key)
    return explanation(name, [method] if method else having)


def of_another_tool(name: str, method: str) -> Explanation:
    found = lookup(name)
    if found is None:
        every = {option for each in METHODS.values() for option in each.fields()}
        values = [place for place in VALUE_PLACES if name in choices_at(*place)]
        named = [".".join(place) for place in values]
        hint = f" It is a value of {written(named)}." if named else nearest(name, every)
        fix = "`burnish dpo --help-all` lists all options of a method"
        raise UserError(f"there is no option '{name}'.{hint}", fix=fix)
    tools, entry = found
    whose = f"{written(tools)}'s '{name}'" if tools else f"'{name}'"
    if not entry.ours:
        word = "has no counterpart" if entry.needed else "needs no counterpart"
        return Explanation(called=f"{whose} {word} here: {entry.note}")
    called = f"{whose} is called {entry.ours} here" + (f": {entry.note}" if entry.note else "")
    known = explain(entry.ours, method if method in methods_with(entry.ours) else "")
    return replace(known, called=called)


def explanation(name: str, methods: list[str]) -> Explanation:
    fields = {method: METHODS[method].fields()[name] for method in methods}
    first = next(iter(fields.values()))
    defaults = {method: default_of(each) for method, each in fields.items()}
    allowed = {str(range_of(method, name) or "") for method in methods}
    sentences = dict.fromkeys(each.help for each in fields.values())
    value = EXAMPLES.get(name) or example(first, defaults[methods[0]])
    differing = len({each.choices for each in fields.values()}) > 1 or (
        len(methods) > 1 and any((method, name) in LOSS_TABLES for method in methods)
    )
    return Explanation(
        name=name,
        help=first.help if len(sentences) == 1 else "It is another one in each method.",
        type=describe(first.annotation) or "text",
        unit=UNITS.get(name, ""),
        range=allowed.pop() if len(allowed) == 1 else "",
        defaults=defaults,
        choices=[] if differing else list(choices_of(methods[0], first)),
        methods=methods,
        goes_with=list(goes_with(name, methods)),
        trl=standing(first, methods),
        yaml=f"{name}: {value}",
        flag=f"--{name} {as_words(value)}",
        more=[f"burnish explain {method}.{name}" for method in methods] if differing else [],
    )


def choices_of(method: str, option: Field) -> Iterator[Choice]:
    """The choices of an option, those of losses with what their docstrings say."""
    said = table_said(*LOSS_TABLES[method, option.name]) if (method, option.name) in LOSS_TABLES else {}
    for value in option.choices:
        found = said.get(value, Said("", "", ""))
        yield Choice(value, found.formula, found.source, found.use)


VALUE_PLACES = tuple(LOSS_TABLES)


def choices_at(method: str, name: str) -> tuple[str, ...]:
    return METHODS[method].fields()[name].choices


def goes_with(name: str, methods: list[str]) -> Iterator[str]:
    for need in NEEDS:
        if need.option == name and any(map(need.of, methods)):
            of = f" ({', '.join(need.methods)})" if need.methods and len(methods) > 1 else ""
            yield f"read with {need.other}: {' or '.join(map(spell, need.values))}{of}"
    readers: dict[str, list[str]] = {}
    for need in NEEDS:
        if need.other == name and any(map(need.of, methods)):
            readers.setdefault(" or ".join(map(spell, need.values)), []).append(need.option)
    for value, options in readers.items():
        yield f"{name}: {value} is what {', '.join(options)} {'goes' if len(options) == 1 else 'go'} with"
    for pair in RIVALS:
        if name in pair:
            yield f"in place of {pair[1 - pair.index(name)]}; only one of the two is given"
    if name in ASIDE:
        yield ASIDE[name]
    elif WORKS.get(name):
        yield WORKS[name]


def standing(option: Field, methods: list[str]) -> str:
    """What became of TRL's option of this name."""
    for word in ("No effect", "Refused", "Own default"):
        if option.help.startswith(f"{word}: "):
            return option.help[0].lower() + option.help[1:].rstrip(".")
    if option.name in OWN_DEFAULTS:
        return f"own default: {OWN_DEFAULTS[option.name]}"
    if option.name in BURNISH_ONLY or (option.name == "loss_type" and methods == ["reward"]):
        return "TRL has no such option"
    return "the same name and meaning"


def example(option: Field, default: Any) -> str:
    """A value to write: the default, or one of its kind."""
    if option.choices and default in (None, "", []):
        return option.choices[0]
    if default is None or default == "" or default is False or default == []:
        kinds = alternatives(option.annotation)
        written = {"bool": "true", "int": "1", "float": "0.1", "dict": "{key: value}"}
        return next((written[kind] for kind in kinds if kind in written), "name")
    return f"[{', '.join(map(spell, default))}]" if isinstance(default, list) else spell(default)


def as_words(value: str) -> str:
    """A value of YAML as the words of a flag: `[a, b]` gives `a b`, a mapping is quoted JSON."""
    if value.startswith(("[{", "{")):
        import json

        import yaml

        return f"'{json.dumps(yaml.safe_load(value))}'"
    return value.strip("[]").replace(", ", " ")
