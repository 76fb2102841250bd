"""The model card: a README.md with what is known of a model, and nothing that is not.

    facts_of(folder) -> Facts -> front matter for the hub, and sections for people

There are no blanks to fill in: a section without facts is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from burnish import __version__, units
from burnish.export.facts import (
    Facts,
    data_of,
    facts_of,
    is_hub_name,
    license_of,
    loss_papers,
    method_words,
)
from burnish.models.adapter_chain import WEIGHTS, chain_of
from burnish.pages.markdown import code, lines_of, linked
from burnish.pipeline.methods import METHODS
from burnish.secrets import hidden, is_secret, without_secrets

CARD = "README.md"
MARK = "burnish"
NO_METRICS = {"step", "epoch", "total_flos", "num_tokens", "learning_rate"}
PLACES = ("output_dir", "logging_dir", "run_name", "report_to")
"""Options that say nothing of the model."""


def write_card(folder: str | Path) -> Path:
    """Write the card of the model in `folder` to its README.md, over what other libraries wrote there."""
    facts = facts_of(folder)
    path = facts.folder / CARD
    path.write_text(card(facts), encoding="utf-8")
    return path


def write_card_of(
    folder: str | Path, *, name: str | None = None, method: Sequence[str], **known: Any
) -> Path:
    """Write the card of a model that a trainer saved in `folder`, as a person's script calls for it.

    `method`: names of the trainer and of its bases; `known`: base, datasets, tags, front (more of the front
    matter), and run, which counts where there is no `run.json`.
    """
    facts = facts_of(folder)
    own = next((each for each in method if each in METHODS), None)
    if not facts.runs and own is not None:
        data = [{"name": each} for each in known["datasets"]]
        run = {"name": own, "method": own, "burnish": __version__, **known["run"]}
        inputs = {"model": {"name": known["base"]}, "data": {"train": data}}
        base = facts.base or known["base"]
        facts = replace(facts, runs=[{**run, "inputs": inputs}], base=base, license=license_of(base))
    front = front_matter(facts)
    front["datasets"] = list(dict.fromkeys([*front.get("datasets", []), *known["datasets"]]))
    front["tags"] = list(dict.fromkeys([*front["tags"], *known["tags"]]))
    path = facts.folder / CARD
    path.write_text(
        card(facts, name=name, front={**{k: v for k, v in front.items() if v}, **known["front"]}),
        encoding="utf-8",
    )
    return path


def card(facts: Facts, *, name: str | None = None, front: Mapping[str, Any] | None = None) -> str:
    """The whole card, without secrets; its title and front matter, if not those of the facts."""
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    template = environment.from_string((Path(__file__).parent / "card.md").read_text(encoding="utf-8"))
    head = yaml.safe_dump(dict(front or front_matter(facts)), sort_keys=False, allow_unicode=True)
    body = template.render({**sections(facts), **({"name": name} if name else {})})
    return f"---\n{head}---\n\n{without_home(hidden(body)).strip()}\n"


def without_home(text: str) -> str:
    """A text with the home folder of whoever trained as `~`."""
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def is_ours(path: Path) -> bool:
    """Whether a README.md is a card that was written here."""
    return path.is_file() and f"\n- {MARK}\n" in path.read_text(encoding="utf-8")[:2000]


def front_matter(facts: Facts) -> dict[str, Any]:
    """What the hub reads. Only names that exist there: a local folder is no base_model."""
    tags = [MARK, *dict.fromkeys(run["method"] for run in facts.runs)]
    if facts.adapter is not None:
        tags.append(str(facts.adapter.get("peft_type", "adapter")).lower())
    if facts.pipeline_tag == "text-classification":
        tags.append("reward-model")
    found: dict[str, Any] = {}
    if facts.license:
        found["license"] = facts.license
    if facts.base_is_public:
        found["base_model"] = facts.base
        found["base_model_relation"] = "adapter" if facts.adapter is not None else "finetune"
    found["library_name"] = "peft" if facts.adapter is not None else "transformers"
    found["pipeline_tag"] = facts.pipeline_tag
    if facts.datasets:
        found["datasets"] = facts.datasets
    return found | {"tags": list(dict.fromkeys(tags))}


def sections(facts: Facts) -> dict[str, Any]:
    """The variables of card.md: Markdown, or an empty string where nothing is known."""
    run, name = facts.run, facts.folder.absolute().name
    return {
        "name": name,
        "summary": summary(facts),
        "usage": usage(facts, name),
        "data": data_table(facts),
        "prepared": prepared_words(facts),
        "run": {"burnish": run.get("burnish", __version__)},
        "training": training_words(run),
        "options": options_table(run),
        "command": run.get("command") or "",
        "metrics": metrics_table(run),
        "compared": compared_table(facts.comparison),
        "lineage": lineage_table(facts),
        "decisions": decisions_list(run),
        "verified": verified_words(facts.verification),
        "licence": license_words(facts),
        "versions": versions_words(run),
        "citation": citation(facts),
    }


def summary(facts: Facts) -> str:
    """What it is, in two sentences."""
    kind = {
        "text-generation": "A language model",
        "text-classification": "A reward model: it scores a text by how good an answer it is",
        "token-classification": "A process reward model: it judges every step of a solution",
    }[facts.pipeline_tag]
    of = f", made from {place_name(facts.base)}" if facts.base else ""
    by = [method_words(run["method"])[0] for run in reversed(facts.runs)]
    how = f" by {' and then '.join(_lower(name) for name in by)}" if by else ""
    form = ""
    if facts.adapter is not None:
        rank = f" of rank {facts.adapter['r']}" if facts.adapter.get("r") else ""
        form = f" This is an adapter{rank}; it needs its base."
    version = facts.run.get("burnish", __version__)
    return f"{kind}{of}{how} with Burnish {version}.{form}"


def usage(facts: Facts, name: str) -> str:
    """A few lines that load and ask it."""
    kinds = {
        "text-generation": "CausalLM",
        "text-classification": "SequenceClassification",
        "token-classification": "TokenClassification",
    }
    kind = kinds[facts.pipeline_tag]
    library = f"from peft import AutoPeftModelFor{kind} as Model" if facts.adapter is not None else ""
    library = library or f"from transformers import AutoModelFor{kind} as Model"
    lines = [
        "from transformers import AutoTokenizer",
        library,
        "",
        f'model = Model.from_pretrained("{name}"{_labels(facts)})',
        f'tokenizer = AutoTokenizer.from_pretrained("{name}")',
        *_padding(facts),
        'chat = [{"role": "user", "content": "..."}]',
    ]
    options = 'return_tensors="pt", return_dict=True'
    if facts.pipeline_tag == "text-generation":
        ask = f"inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, {options})"
        answer = "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=256)[0]))"
        return "\n".join([*lines, ask, answer])
    lines[-1] = lines[-1].replace("]", ', {"role": "assistant", "content": "..."}]')
    ask = f"inputs = tokenizer.apply_chat_template(chat, {options})"
    return "\n".join([*lines, ask, "print(model(**inputs).logits[0])"])


def _labels(facts: Facts) -> str:
    """How many numbers the head gives, which the base of an adapter does not know."""
    if facts.pipeline_tag == "text-generation" or not (facts.folder / WEIGHTS).is_file():
        return ""
    labels = chain_of(facts.folder).labels
    return "" if labels is None else f", num_labels={labels}"


def _padding(facts: Facts) -> list[str]:
    """A reward model finds a text's last token by its padding token, which the base does not know either."""
    if facts.adapter is None or facts.pipeline_tag != "text-classification":
        return []
    return ["model.config.pad_token_id = tokenizer.pad_token_id"]


def data_table(facts: Facts) -> str:
    rows = [
        [place_name(each["name"]), each["split"], number(each.get("rows")), begin(each.get("sha256"))]
        for each in data_of(facts.run)
    ]
    return table(["data", "for", "rows", "sha256 begins"], rows)


def prepared_words(facts: Facts) -> str:
    """What of the rows was trained."""
    sentences = []
    for split, reports in facts.preparation.items():
        for report in reports:
            left_out = (report.get("dropped") or {}).items()
            dropped = "".join(f", {tally['count']:,} left out: {why}" for why, tally in left_out)
            sentences.append(
                f"Of {place_name(str(report['name']))} ({split}), {report['kept']:,} of {report['read']:,} "
                f"rows were used{dropped}; {report['trained_tokens']:,} of their "
                f"{report['tokens']:,} tokens are trained, the longest row has {report['longest']:,}."
            )
    return "\n".join(sentences)


def training_words(run: Mapping[str, Any]) -> str:
    """Method, length and machine of the run, as sentences."""
    if not run:
        return ""
    title, papers = method_words(run["method"])
    named = f" ({', '.join(linked(f'arXiv:{paper}') for paper in papers)})" if papers else ""
    sentences = [f"{title}{named}, {number(run.get('steps'))} steps, seed {run.get('seed')}."]
    machine, measured = run.get("machine") or {}, run.get("measured") or {}
    if machine:
        device = machine.get("device")
        cores = f", {machine['cores']} cores" if machine.get("cores") else ""
        seconds = run.get("seconds")
        took = units.duration(seconds) if is_number(seconds) else "a time that is not known"
        where = f"{machine.get('cpu') or ''}{cores}" if device in (None, "cpu") else str(device)
        sentences.append(f"Trained on {where.strip(', ')} in {took}")
        if measured.get("peak_bytes"):
            sentences[-1] += f", with at most {units.size(measured['peak_bytes'])} of memory"
        sentences[-1] += "."
    return " ".join(sentences)


def options_table(run: Mapping[str, Any]) -> str:
    """The options that were set, beside their defaults."""
    given, defaults = run.get("given") or {}, run.get("defaults") or {}
    shown = without_secrets({k: v for k, v in given.items() if k not in PLACES and not is_secret(k)})
    rows = [[code(name), short(value), short(defaults.get(name))] for name, value in sorted(shown.items())]
    return table(["option", "value", "default"], rows)


def metrics_table(run: Mapping[str, Any]) -> str:
    metrics = {k: v for k, v in (run.get("metrics") or {}).items() if k not in NO_METRICS and is_number(v)}
    names = sorted(metrics, key=lambda name: (not name.startswith("eval_"), name))
    return table(["metric", "value"], [[code(name), f"{metrics[name]:.4g}"] for name in names])


def compared_table(comparison: Mapping[str, Any] | None) -> str:
    """What `burnish compare` measured, with intervals."""
    if not comparison:
        return ""
    names = [model["name"] for model in comparison.get("models", [])]
    rows = [
        [measure["name"], *(interval(found) for found in measure.get("models", []))]
        for measure in comparison.get("measures", [])
    ]
    prompts = comparison.get("prompts") or {}
    of = f"{number(prompts.get('rows'))} held-out prompts of {place_name(str(prompts.get('name')))}"
    words = f"On {of}, with 95 % intervals."
    return f"{words}\n\n{table(['measure', *names], rows)}" if rows else ""


def interval(found: Mapping[str, Any] | None) -> str:
    if not found or found.get("mean") is None:
        return ""
    bounds = [found.get("low"), found.get("high")]
    return f"{found['mean']:.3g}" + (f" [{bounds[0]:.3g}, {bounds[1]:.3g}]" if None not in bounds else "")


def lineage_table(facts: Facts) -> str:
    """The steps from the base to this model, in order."""
    if not facts.runs:
        return ""
    rows = [["", place_name(facts.base or "?"), "", ""]]
    for index, run in enumerate(reversed(facts.runs), start=1):
        data = ", ".join(dict.fromkeys(place_name(e["name"]) for e in data_of(run) if e["split"] == "train"))
        rows.append([str(index), f"{run['name']} ({run['method']})", data, begin(run.get("key"))])
    return table(["step", "model", "data", "run's key begins"], rows)


def decisions_list(run: Mapping[str, Any]) -> str:
    return "\n".join(
        f"- {each['what']}: {each['choice']}, because {each['why']}" for each in run.get("decisions") or []
    )


def verified_words(verification: Mapping[str, Any] | None) -> str:
    """What came of comparing this artefact with what was trained."""
    if not verification:
        return ""
    outcome = "it is the same" if verification["passed"] else "it differs"
    how = f"loaded again and compared with what was trained, by {verification['compared_by']}"
    lines = [f"This artefact was {how}: {outcome}.", ""]
    marks = {True: "ok", False: "differs", None: ""}
    rows = [[check["name"], marks[check["ok"]], check["what"]] for check in verification["checks"]]
    return "\n".join([*lines, table(["check", "", "found"], rows)])


def license_words(facts: Facts) -> str:
    base = place_name(facts.base) if facts.base else "the base model"
    if facts.license:
        return f"{facts.license}, that of {base}. The data may have terms of its own."
    return f"That of {base}, which is not known here; the data may have terms of its own."


def versions_words(run: Mapping[str, Any]) -> str:
    return ", ".join(f"{package} {version}" for package, version in (run.get("versions") or {}).items())


def citation(facts: Facts) -> str:
    """An entry for every paper that the methods and losses of the runs name."""
    papers: dict[str, str] = {}
    for run in facts.runs:
        title, numbers = method_words(run["method"])
        papers |= dict.fromkeys(numbers, title)
        for loss, sources in loss_papers(run["method"], run.get("config") or {}).items():
            papers |= {each: papers.get(each, f"loss {loss} of {title}") for each in sources}
    return "\n\n".join(
        f"@misc{{arxiv.{paper},\n  note = {{{title}}},\n  eprint = {{{paper}}},\n"
        f"  archivePrefix = {{arXiv}},\n  url = {{https://arxiv.org/abs/{paper}}}\n}}"
        for paper, title in papers.items()
    )


# Words


def place_name(name: str) -> str:
    """A hub name as a link; of a path its last part, since a folder of this machine tells nobody anything."""
    if is_hub_name(name):
        return name
    return Path(name).name or name


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table, empty without rows. Pipes and line breaks in cells are harmless."""
    cells = [[" ".join(str(cell).split()) for cell in row] for row in rows]
    return lines_of([head, ["---"] * len(head), *cells]) if cells else ""


def begin(digest: Any) -> str:
    """The first characters of a hash, which are enough to tell it by."""
    return code(str(digest or "")[:16])


def number(value: Any) -> str:
    return f"{value:,}" if is_number(value) else "?"


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def short(value: Any, limit: int = 80) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _lower(title: str) -> str:
    """`Direct preference ...` in the middle of a sentence; a name such as Kahneman stays."""
    return title if title.startswith("Kahneman") else title[:1].lower() + title[1:]
