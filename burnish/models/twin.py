"""A model without weights: its modules and their shapes, made from its config alone.

A twin answers what a model will take before anything of it is loaded: how many weights, in which dtype, which
of them are trained. Its weights are on torch's meta device; `rehearsal.py` runs it.

Of a model with many equal layers a twin of a few is enough: `layers` says how many.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from burnish.models import load
from burnish.models.adapter_chain import chain_of
from burnish.models.checkpoint import read_config
from burnish.models.forward import inner_model
from burnish.models.fused import fuse
from burnish.models.load import Task

WORDS = 1024
"""Rows of the embeddings of a twin that is compared in float32."""

LISTS = (
    "layer_types",
    "mlp_layer_types",
    "attention_layers",
    "no_rope_layers",
    "sliding_window_pattern_list",
)
"""Options of configs that hold an entry for every layer."""


def make_twin(
    name: str,
    task: Task,
    *,
    trained: bool = True,
    fast: bool = True,
    layers: int | None = None,
    **kwargs: Any,
) -> nn.Module:
    """The model that `load_model` would load, without its weights. Raises `UserError` where it would."""
    dtype = kwargs.pop("dtype", None)
    chain = chain_of(name, **load.shared(kwargs))
    base, adapter = chain.base, chain.settings
    kwargs = load.of_base(chain, kwargs) if chain.adapters else kwargs
    config = read_config(base, **load.shared(kwargs))
    load._check_kind(base, config, task, kwargs)
    labels = kwargs.get("num_labels")
    if task in load.NUM_LABELS and not load._has_head(config, task):
        labels = labels or load.NUM_LABELS[task]
    if labels is not None:
        config.num_labels = labels
    if layers is not None:
        config = shortened(config, layers)
    stored = (
        load.stored_dtype(config, trained and adapter is None, fast)
        or load.own_dtype(config)
        or torch.float32
        if dtype in (None, "auto")
        else as_dtype(dtype)
    )
    with torch.device("meta"):
        remote = {"trust_remote_code": True} if kwargs.get("trust_remote_code") else {}
        model = load._LOADERS[task].from_config(config, dtype=stored, **remote)
        if adapter is not None:
            from peft import PeftConfig, get_peft_model

            model = get_peft_model(model, PeftConfig.from_pretrained(str(chain.adapters[-1])))
    return model


def float32_twin(model: Any) -> nn.Module:
    """A few layers of the kind of `model` on its device, in float32 and of few words; weights are random.

    As wide as the model is, so that heads and groups are the same. Raises whatever its modeling file does.
    """
    config = shortened(model.config, min(layer_count(model.config), max(layer_period(model.config), 4)))
    text = config.get_text_config()
    text.vocab_size = min(text.vocab_size, WORDS)
    for each in {id(c): c for c in (config, text)}.values():
        vars(each).pop("quantization_config", None)
        for name, value in [*vars(each).items()]:
            if name.endswith("token_id") and isinstance(value, int) and value >= WORDS:
                setattr(each, name, None)
    device = model.get_input_embeddings().weight.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.device(device):
        torch.manual_seed(0)
        return type(model)(config).float()


def checkpoint_dtype(name: str, **kwargs: Any) -> torch.dtype:
    """The dtype of the weights that lie in the model's folder; of an adapter's, those of its base."""
    return load.own_dtype(read_config(chain_of(name).base, **load.shared(kwargs))) or torch.float32


def as_dtype(asked: str | torch.dtype) -> torch.dtype:
    return getattr(torch, asked.removeprefix("torch.")) if isinstance(asked, str) else asked


def shortened(config: Any, layers: int) -> Any:
    """The config of the same model with the first `layers` layers alone."""
    config = copy.deepcopy(config)
    text = config.get_text_config()
    text.num_hidden_layers = layers
    for name in LISTS:
        if isinstance(values := getattr(text, name, None), list):
            setattr(text, name, values[:layers])
    return config


def layer_count(config: Any) -> int:
    return int(getattr(config.get_text_config(), "num_hidden_layers", 1))


def layer_period(config: Any) -> int:
    """After how many layers their kinds repeat: 1 where all are alike."""
    kinds = getattr(config.get_text_config(), "layer_types", None) or [""]
    for period in range(1, len(kinds)):
        if all(kind == kinds[index % period] for index, kind in enumerate(kinds)):
            return period
    return 1 if len(set(kinds)) == 1 else len(kinds)


def fuse_twin(model: nn.Module) -> list[str]:
    """`fuse` on a twin: its norms, which are vectors, get numbers to be compared by."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            for name, weight in module._parameters.items():
                if weight is not None and weight.is_meta:
                    ones = torch.ones(weight.shape, dtype=weight.dtype)
                    module._parameters[name] = nn.Parameter(ones, requires_grad=weight.requires_grad)
    return fuse(inner_model(model))
