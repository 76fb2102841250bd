"""What was decided before step 1, and why: one short table.

Open questions (attention tier, token budget, checkpointing, dtype) are answered from the model, the
machine and the data, in this order, and printed.
"""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from burnish import units
from burnish.data.packing import Layout
from burnish.data.preparation.stream import SHUFFLED, PreparedStream
from burnish.data.text.preview import preview
from burnish.engine.ranks import check_launch, least_of
from burnish.engine.rows import first_example
from burnish.errors import UserError
from burnish.models.certify import certify
from burnish.models.forward import inner_model
from burnish.models.fused import fuse
from burnish.models.tiers import LAYOUTS, Tier, row_limit
from burnish.terminal import open_console

if TYPE_CHECKING:
    from burnish.engine.trainer import Engine

MEMORY_SHARE = 0.6
"""Share of the free memory that activations may take."""

CPU_TOKENS = (256, 1024)
CPU_ACTIVATIONS = 0.65e9
"""On CPU a forward has as many tokens as these bytes hold, between the two numbers. Of 135 million weights
that is 830 tokens in bfloat16 and 415 in float32; more take memory and gain 1 to 3 % of a step."""

GPU_TOKENS = 32768

MASK_BYTES = 5
"""Of a pair of tokens: a boolean, and the number that it becomes."""

PREVIEW = 600
"""Characters shown of the first prompt and of each of its completions."""


@dataclass
class Plan:
    """The decisions of a run; `rows` are (name, choice, reason)."""

    tokens_per_forward: int
    parameters_per_token: int  # weights that work on every token, for the count of operations
    layout: Layout = "shared"  # what of a forest is computed, which the budget bounds
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    preview: str = ""  # the first row as text, with the trained parts marked

    def say(self, name: str, choice: str, reason: str = "") -> None:
        self.rows.append((name, choice, reason))

    def show(self) -> None:
        from rich.markup import escape
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for name, choice, reason in self.rows:
            table.add_row(
                f"[bold]{name}[/]", escape(choice) + (f"  [dim]{escape(reason)}[/]" if reason else "")
            )
        console = open_console()
        console.print(table)
        if self.preview:
            console.print("[bold]first row[/]  [dim]trained between ⟦ and ⟧[/]")
            console.print(escape(self.preview), style="dim")


def make_plan(engine: Engine) -> Plan:
    model, args = engine.model, engine.args
    check_launch(engine.accelerator)
    inner = inner_model(model)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    tiers = None if args.tier == "auto" else [args.tier]
    fused = fuse(inner)
    budget = _memory(engine, inner)
    longest = _longest_row(engine)
    certificate = certify(
        model,
        tiers=tiers,
        max_length=args.max_length or longest,
        max_tokens=max(budget.tokens, longest),
        computes_in=engine.compute_dtype,
    )
    if certificate.fails_in:
        args.compat_notes.append(_compute_as_stored(engine, certificate.fails_in))
        budget = _memory(engine, inner)

    budget = _bounded(budget, engine, inner, certificate.tier)

    plan = Plan(budget.tokens, _parameters_per_token(inner), LAYOUTS[certificate.tier])
    plan.say("model", f"{_name(inner)}, {inner.config.model_type}, {units.count(total)} parameters")
    plan.say("trained", f"{units.count(trained)} parameters, {units.share(trained / total)}", _adapter(model))
    _say_data(plan, engine)
    if engine.train_dataset is not None:
        plan.preview = preview(first_example(engine.train_dataset), engine.processing_class, limit=PREVIEW)
    if (ranks := engine.accelerator.num_processes) > 1:
        plan.say("ranks", str(ranks), f"each has 1 of {ranks} parts of every step")
    plan.say("dtype", *_dtype(engine, model))
    plan.say("attention", certificate.tier, "; ".join([certificate.reason, *certificate.notes]))
    plan.say(
        "fused", f"{len(fused)} modules", "norms with a leaner backward; checked against the model's own"
    )
    if line := engine.balance.line():
        plan.say("experts", *line)
    plan.say("micro-batch", f"{budget.tokens:,} tokens", budget.why)
    plan.say("checkpointing", "on" if budget.checkpoint else "off", budget.why_checkpoint)
    if reference := getattr(engine, "reference", None):
        plan.say("reference", reference.kind, reference.why)
    for note in args.compat_notes:
        plan.say("note", note)
    return plan


def _compute_as_stored(engine: Engine, failure: str) -> str:
    """Give up a dtype that the model cannot run in; returns a note. `UserError` if it was asked for."""
    name = str(engine.compute_dtype).removeprefix("torch.")
    if engine.args.bf16:
        raise UserError(
            f"the model's own code cannot compute in {name} with weights in float32: {failure}",
            where="bf16",
            fix="leave bf16 out",
        )
    engine.compute_dtype = None
    return f"computes as its weights are stored: its own code fails in {name} ({failure})"


def _memory(engine: Engine, inner: Any) -> Budget:
    """Token budget and checkpointing, from what a token's activations take and what is free."""
    args = engine.args
    per_token = activation_bytes(inner, engine.compute_dtype)
    budget = token_budget(args, inner.config, per_token, _free_of_all(engine), _longest_row(engine))
    if args.checkpointing_is_open:
        args.activation_checkpointing = args.gradient_checkpointing = budget.checkpoint
    return budget


def _bounded(budget: Budget, engine: Engine, inner: Any, tier: Tier) -> Budget:
    """The budget within what the tier allows: a row's length, and what is kept of every two of its tokens."""
    if tier == "packed" and (limit := row_limit(inner)) < budget.tokens:
        budget = budget._replace(tokens=int(limit), why="as long as a row of this model may be")
    pair = pair_bytes(inner, tier, budget.checkpoint)
    row = _longest_row(engine) if tier == "padded" else None
    fits = tokens_by_pairs(pair, MEMORY_SHARE * _free_of_all(engine) / 2, row)
    if engine.args.tokens_per_forward is None and fits < budget.tokens:
        why = f"attention ({tier}) keeps {pair:,.0f} bytes of every two tokens in a row"
        budget = budget._replace(tokens=fits, why=why)
    return budget


def _free_of_all(engine: Engine) -> int:
    """Bytes that every rank has free: ranks that decide otherwise would run other forwards."""
    free = free_memory(engine.args.device)
    if engine.args.device.type == "cpu":
        free //= int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # its ranks share the memory of a machine
    return least_of(engine.accelerator, free)


def pair_bytes(inner: Any, tier: Tier, checkpoint: bool) -> float:
    """Bytes that are kept of every pair of tokens in a row, beside what a token takes.

    Attention over a forest keeps none. A model's own has a mask, and if it is eager the weights of every
    head, before and after the softmax.
    """
    if tier == "registered":
        return 0.0
    config = inner.config.get_text_config()
    layers = 1 if checkpoint else getattr(config, "num_hidden_layers", 1)
    eager = inner.config._attn_implementation == "eager"
    return MASK_BYTES + 8.0 * eager * layers * getattr(config, "num_attention_heads", 1)


def tokens_by_pairs(pair: float, room: float, row: int | None) -> int:
    """Tokens of a forward that keeps `pair` bytes of every two of a row: of one row, or of rows of `row`."""
    if not pair:
        return sys.maxsize
    return max(1, int(room / (pair * row) if row else math.sqrt(room / pair)))


class Budget(NamedTuple):
    """Tokens of a forward, and whether its layers are checkpointed, with the reasons."""

    tokens: int
    why: str
    checkpoint: bool
    why_checkpoint: str


def token_budget(
    args: Any, config: Any, per_token: float, free: float, longest: int, device: str | None = None
) -> Budget:
    """Where a config leaves them open: as many tokens as fit into a share of the `free` bytes.

    `per_token`: bytes of a token's activations; `longest`: tokens of the longest row; `device`: its type,
    if not that of this machine.
    """
    free *= MEMORY_SHARE
    fits = int(free / per_token)
    checkpoint, why_checkpoint = bool(args.activation_checkpointing), "as asked"
    if args.checkpointing_is_open:
        checkpoint = longest > fits
        needed = f"the longest row takes about {units.size(longest * per_token)} of {units.size(free)}"
        why_checkpoint = needed if checkpoint else f"it fits: {needed}"
    if checkpoint:
        fits *= max(1, getattr(config.get_text_config(), "num_hidden_layers", 1) // 4)
    if args.tokens_per_forward is not None:
        return Budget(args.tokens_per_forward, "as asked", checkpoint, why_checkpoint)
    most = GPU_TOKENS
    if (device or args.device.type) == "cpu":
        fewest, most = CPU_TOKENS
        most = min(most, max(fewest, int(CPU_ACTIVATIONS / per_token)))
    budget = max(1, min(most, fits))
    why = f"about {units.size(budget * per_token)} of activations; the result is the same for any"
    return Budget(budget, why, checkpoint, why_checkpoint)


def _longest_row(engine: Engine) -> int:
    """Tokens of the longest prepared row, with all its completions; of a stream, the most there can be."""
    longest = [report.longest for reports in engine.preparation_reports.values() for report in reports]
    limit = engine.args.max_length
    if isinstance(engine.train_dataset, PreparedStream) and limit is not None:
        longest.append(limit * len(first_example(engine.train_dataset).completions))
    return max(longest, default=limit or 1024)


def activation_bytes(inner: Any, compute_dtype: torch.dtype | None) -> int:
    """About what one token leaves behind for the backward: inputs of every norm, product and gate."""
    config: Any = inner.config.get_text_config()
    hidden = config.hidden_size
    layers = getattr(config, "num_hidden_layers", 12)
    wide = getattr(config, "intermediate_size", None) or 4 * hidden
    wide *= getattr(config, "num_experts_per_tok", None) or 1
    dtype = compute_dtype or next(inner.parameters()).dtype
    bytes_each = torch.finfo(dtype).bits // 8 if dtype.is_floating_point else 2
    return layers * (12 * hidden + 4 * wide) * bytes_each


def free_memory(device: torch.device) -> int:
    """Bytes that can still be had on `device`."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return min(int(line.split()[1]) * 1024, _container_limit())
    return 8 * 2**30


def _container_limit() -> int:
    limit = _read("/sys/fs/cgroup/memory.max").strip()
    return int(limit) if limit.isdigit() else 2**63


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _parameters_per_token(inner: nn.Module) -> int:
    embedded = {id(m.weight) for m in inner.modules() if isinstance(m, nn.Embedding)}
    return sum(p.numel() for p in inner.parameters() if id(p) not in embedded)


def _name(inner: nn.Module) -> str:
    name = getattr(inner.config, "_name_or_path", "")
    return Path(name).name or type(inner).__name__


def _adapter(model: nn.Module) -> str:
    configs = getattr(model, "peft_config", None)
    if not configs:
        return "full fine-tuning"
    config = next(iter(configs.values()))
    return f"{config.peft_type.value} adapter" + _rank(config)


def _rank(config: Any) -> str:
    if hasattr(config, "init_r"):  # AdaLoRA
        return f", rank {config.init_r}, cut to {config.target_r} on average"
    return f", rank {config.r}" if hasattr(config, "r") else ""


def _say_data(plan: Plan, engine: Engine) -> None:
    """For every source: what it was taken for, what became of its rows, and why."""
    for split, reports in engine.preparation_reports.items():
        streamed = split == "train" and isinstance(engine.train_dataset, PreparedStream)
        for report in reports:
            first, *rest = str(report).splitlines()
            if streamed:
                first = f"{report.name}: a stream; rows are read, checked and counted as they come"
            plan.say(f"{split} rows", first)
            if report.format:
                plan.say("", report.format)
            for line in rest:
                plan.say("", line.strip())
        if len(reports) > 1 and not streamed:
            read, kept = (sum(getattr(report, name) for report in reports) for name in ("read", "kept"))
            rows = len(engine.train_dataset) if split == "train" else kept
            plan.say("", f"{kept:,} of {read:,} rows of {len(reports)} sources kept; {rows:,} in an epoch")
    if isinstance(engine.train_dataset, PreparedStream):
        shuffled = engine.train_dataset.shuffle_seed is not None
        order = f"drawn out of {SHUFFLED:,} rows at a time" if shuffled else "as the stream has it"
        plan.say("order", order, "the rows to come are not known")


def _dtype(engine: Engine, model: nn.Module) -> tuple[str, str]:
    def names(dtypes: set[torch.dtype]) -> str:
        return ", ".join(sorted(str(d).removeprefix("torch.") for d in dtypes))

    trained = {p.dtype for p in model.parameters() if p.requires_grad}
    frozen = {p.dtype for p in model.parameters() if not p.requires_grad}
    mixed = engine.args.bf16 is not False and bool(engine.args.fsdp or engine.args.deepspeed)
    computed = "bfloat16" if mixed else names({engine.compute_dtype or next(iter(trained))})
    stored = f"{names(trained)} weights" + (f" on a {names(frozen)} base" if frozen else "")
    if frozen and (bits := getattr(inner_model(model), "quantization_method", None)):
        stored += f" ({bits.value}, which has a dtype of its own for products)"
    if torch.bfloat16 in trained:
        reason = "dtype asks for it; updates below 1/256 of a weight are lost (without dtype they are kept)"
    elif computed == "bfloat16":
        reason = "small updates are kept in float32, products run in bfloat16"
    else:
        reason = "as stored" if engine.compute_dtype is None else "bf16 is off, or 16 bits are slow here"
    return f"computes in {computed}, {stored}", reason
