"""The help of a method verb: its options in groups, the common ones first, with type and default."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from burnish.pipeline.fields import Field
from burnish.pipeline.methods import Method

COMMON = (
    "output_dir",
    "learning_rate",
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "lr_scheduler_type",
    "warmup_steps",
    "eval_strategy",
    "eval_steps",
    "logging_steps",
    "save_strategy",
    "save_steps",
    "report_to",
    "seed",
    "resume_from_checkpoint",
)
"""Options of the Trainer that the short help shows."""

ADAPTER_PREFIXES = ("lora_", "use_peft", "use_rslora", "use_dora")
QUANTIZATION_PREFIXES = ("load_in_", "bnb_", "use_bnb_")


def group_of(field: Field, method: Method) -> str:
    if field.help.startswith(("No effect", "Refused")):
        return "Accepted from TRL"
    if field.owner == "ModelConfig":
        if field.name.startswith(ADAPTER_PREFIXES):
            return "Adapter"
        return "Quantization" if field.name.startswith(QUANTIZATION_PREFIXES) else "Model"
    if field.name in COMMON:
        return "Training"
    titles = {"ScriptArguments": "Data", f"{method.prefix}Config": method.prefix, "EngineConfig": "Engine"}
    return titles.get(field.owner, "Trainer")


def grouped_fields(method: Method, everything: bool) -> dict[str, list[Field]]:
    """The method's fields by the title of their group, in the order they are shown."""
    titles = ["Data", "Model", method.prefix, "Training", "Adapter", "Engine"]
    titles += ["Quantization", "Trainer", "Accepted from TRL"] if everything else []
    groups: dict[str, list[Field]] = {title: [] for title in titles}
    for field in method.fields().values():
        title = group_of(field, method)
        if title in groups:
            groups[title].append(field)
    groups["Training"].sort(key=lambda field: COMMON.index(field.name))
    return {title: fields for title, fields in groups.items() if fields}


def show_help(method: Method, everything: bool) -> None:
    """Print the help; `everything` adds the options that few runs need."""
    console = Console(highlight=False)
    console.print(f"[bold]burnish {method.name}[/] --config FILE.yaml --option value ...\n")
    console.print(method.summary)
    console.print("Every option may stand in the file; a flag overrides the file.")
    for title, fields in grouped_fields(method, everything).items():
        console.print(f"\n[bold]{title}[/]")
        console.print(options_table(fields))
    if not everything:
        count = len(method.fields())
        console.print(f"\n[bold]burnish {method.name} --help-all[/] shows all {count} options.")


def options_table(fields: Iterable[Field]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=34)
    table.add_column()
    for field in fields:
        left = Text(f"  --{field.name} ").append(short_type(field.annotation), style="dim")
        text = Text(field.help).append(f" [{shown(field.default)}]", style="dim")
        table.add_row(left, text)
    return table


def short_type(annotation: str) -> str:
    """The annotation without `None` and names that only say text: `float | None` gives `float`."""
    words = [word.strip() for word in annotation.split("|")]
    kept = [word for word in words if word != "None" and word[0].islower()]
    return "|".join(dict.fromkeys(kept)) or "str"


def shown(default: str) -> str:
    return "default: " + (default.strip("'\"") or "empty") if default != "None" else "default: unset"
