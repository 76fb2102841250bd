"""The help of a method verb: its options in groups, the common ones first, with type and default."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from burnish.engine.inherited import WORKS
from burnish.pipeline.fields import Field
from burnish.pipeline.methods import Method

TRAINING = (
    "output_dir",
    "max_length",
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
"""Options of the training loop that the short help shows, in this order."""

SHORT = {
    *TRAINING,
    *(
        "model_name_or_path",
        "dtype",
        "use_peft",
        "lora_r",
        "lora_alpha",
        "lora_dropout",
        "lora_target_modules",
    ),
    *("load_in_4bit", "tokens_per_forward"),
}
"""What the short help shows beside the data and the method's own options."""

UNUSED = "Accepted without effect, or refused"

ADAPTER = ("use_peft", "lora_", "use_rslora", "use_dora", "load_in_", "bnb_", "use_bnb_")
"""How the options of adapters and of the quantized base under them begin."""


def group_of(field: Field, method: Method) -> str:
    if field.help.startswith(("No effect", "Refused")):
        return UNUSED
    if field.name in TRAINING:
        return "Training"
    if field.owner == "ModelConfig":
        return "Adapter" if field.name.startswith(ADAPTER) else "Model"
    own = {"ScriptArguments": "Data", f"{method.prefix}Config": method.prefix, "EngineConfig": "Engine"}
    own["ReferenceConfig"] = own["LanguageConfig"] = method.prefix
    return own.get(field.owner, "Trainer")


def grouped_fields(method: Method, everything: bool) -> dict[str, list[Field]]:
    """The method's fields by the title of their group, in the order they are shown."""
    titles = ("Data", "Model", method.prefix, "Training", "Adapter", "Engine", "Trainer", UNUSED)
    groups: dict[str, list[Field]] = {title: [] for title in titles}
    for field in method.fields().values():
        title = group_of(field, method)
        if everything or field.name in SHORT or title in ("Data", method.prefix):
            groups[title].append(field)
    groups["Training"].sort(key=lambda field: TRAINING.index(field.name))
    return {title: fields for title, fields in groups.items() if fields}


def show_help(method: Method, everything: bool) -> None:
    """Print the help; `everything` adds the options that few runs need, and what there is to say of each."""
    console = Console(highlight=False)
    console.print(f"[bold]burnish {method.name}[/] --config FILE.yaml --option value ...\n")
    console.print(method.summary)
    console.print("Every option may stand in the file; a flag overrides the file.")
    for title, fields in grouped_fields(method, everything).items():
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        for field in fields:
            table.add_row(_option(field), _description(field, everything))
        console.print(f"\n[bold]{title}[/]")
        console.print(table)
    if not everything:
        console.print(
            f"\n[bold]burnish {method.name} --help-all[/] shows all {len(method.fields())} options."
        )


def _option(field: Field) -> Text:
    return Text(f"  --{field.name} ").append(short_type(field.annotation), style="dim")


def short_type(annotation: str) -> str:
    """The annotation in a word: `float | None` gives `float`, `dict[str, Any] | str` gives `dict`."""
    kinds = [kind.strip().partition("[")[0] for kind in annotation.split("|")]
    return next((kind for kind in kinds if kind in ("bool", "int", "float", "list", "dict")), "str")


def _description(field: Field, everything: bool) -> Text:
    sentences = field.help.split(". ")
    text = Text(field.help if everything else sentences[0].rstrip(".") + ".")
    if everything and (meaning := WORKS.get(field.name)):
        text.append(f" Here: {meaning}.")
    if field.choices:
        text.append(f" One of {', '.join(field.choices)}.")
    default = field.default.strip("'\"")
    return text.append(f" [{default}]", style="dim") if default not in ("None", "") else text
