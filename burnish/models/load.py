"""Loading a policy, a reward model or a process reward model, with the dtype as a decision.

Trained weights are stored in float32 (`precision.py` says why, and what is computed with). A frozen
base under an adapter stays in the checkpoint's own dtype, unless that has 16 bits and the machine is slow at
them; the adapter is float32.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from burnish.errors import UserError, nearest, require_package
from burnish.models.precision import HALF
from burnish.options import described
from burnish.progress import own_bars

Task = Literal["causal", "reward", "steps"]


@dataclass
class ModelConfig:
    """Which model, in which dtype, with which adapter. The `model_args` of a script or a command line."""

    model_name_or_path: str | None = described(None, "The model: a folder, or an id on the hub.")
    model_revision: str = described("main", "Version of a model on the hub: a branch, a tag or a commit.")
    dtype: str | None = described(
        "auto",
        "Dtype of stored weights. auto: float32 where they are trained, or where 16 bits are slow; else the "
        "checkpoint's own. Full fine-tuning in bfloat16 loses updates below 1/256 of a weight.",
        choices=["auto", "bfloat16", "float16", "float32"],
    )
    attn_implementation: str | None = described(
        None, "Attention for everything but forests, such as generation. Unset: the model's default."
    )
    use_peft: bool = described(False, "Train a LoRA adapter instead of all weights.")
    lora_r: int = described(16, "Rank of the adapter.")
    lora_alpha: int = described(32, "The adapter's output is scaled by alpha / rank.")
    lora_dropout: float = described(0.05, "Dropout of the adapter's input.")
    lora_target_modules: list[str] | None = described(
        None,
        "Modules that get an adapter. Unset: PEFT's choice for the model; all-linear: every linear layer.",
    )
    lora_target_parameters: list[str] | None = described(
        None, "Parameters that get an adapter, such as experts."
    )
    lora_modules_to_save: list[str] | None = described(None, "Modules that are trained and saved in full.")
    lora_task_type: str | None = described(
        None, "PEFT's task type; always the method's own, another is reported."
    )
    use_rslora: bool = described(False, "Scale the adapter by alpha / sqrt(rank).")
    use_dora: bool = described(False, "Weight-decomposed adapters (DoRA).")
    load_in_8bit: bool = described(
        False, "Load the frozen base in 8 bit (bitsandbytes); with an adapter only."
    )
    load_in_4bit: bool = described(
        False, "Load the frozen base in 4 bit (bitsandbytes); with an adapter only."
    )
    bnb_4bit_quant_type: str = described("nf4", "Number format of 4-bit weights.", choices=["fp4", "nf4"])
    use_bnb_nested_quant: bool = described(False, "Quantize the quantization constants too.")
    bnb_4bit_quant_storage: str | None = described(None, "Dtype in which 4-bit weights are stored.")

    def __post_init__(self) -> None:
        if self.load_in_8bit and self.load_in_4bit:
            raise UserError("load_in_8bit and load_in_4bit are both on", fix="choose one")
        if (self.load_in_8bit or self.load_in_4bit) and not self.use_peft:
            raise UserError(
                "quantized weights cannot be trained", where="load_in_4bit", fix="add use_peft: true"
            )

    def init_kwargs(self) -> dict[str, Any]:
        """The arguments of `load_model` that this config stands for."""
        kwargs: dict[str, Any] = {"revision": self.model_revision}
        if self.dtype not in (None, "auto"):
            kwargs["dtype"] = self.dtype
        if self.attn_implementation:
            kwargs["attn_implementation"] = self.attn_implementation
        return kwargs


def get_peft_config(model_args: ModelConfig) -> Any:
    """The `LoraConfig` that `model_args` asks for, or None."""
    if not model_args.use_peft:
        return None
    from peft import LoraConfig

    targets = model_args.lora_target_modules
    return LoraConfig(
        r=model_args.lora_r,
        lora_alpha=model_args.lora_alpha,
        lora_dropout=model_args.lora_dropout,
        target_modules=targets[0] if targets is not None and len(targets) == 1 else targets,
        target_parameters=model_args.lora_target_parameters,
        modules_to_save=model_args.lora_modules_to_save,
        task_type=model_args.lora_task_type,
        use_rslora=model_args.use_rslora,
        use_dora=model_args.use_dora,
    )


def get_quantization_config(model_args: ModelConfig) -> Any:
    """The `BitsAndBytesConfig` that `model_args` asks for, or None."""
    if not (model_args.load_in_4bit or model_args.load_in_8bit):
        return None
    require_package("bitsandbytes", "quantization", "training in 4 or 8 bit")
    from transformers import BitsAndBytesConfig

    if model_args.load_in_8bit:
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_quant_type=model_args.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=model_args.use_bnb_nested_quant,
        bnb_4bit_quant_storage=model_args.bnb_4bit_quant_storage,
    )


def load_model(
    name: str, task: Task, *, trained: bool = True, fast: bool = True, **kwargs: Any
) -> PreTrainedModel:
    """Load a model by folder or hub id. An adapter's folder gives its base with the adapter, to train on.

    `trained` says that the model's own weights will be trained, `fast` that the machine is fast at 16 bits:
    `stored_dtype` decides by them, unless `dtype` does. Raises `UserError` where there is no such model, or
    it is of another kind.
    """
    dtype = kwargs.pop("dtype", None)
    adapter = adapter_config(name)
    base = base_of(name)
    if adapter is not None and adapter.get("task_type") not in (None, TASK_TYPES[task]):
        raise UserError(
            f"the adapter is of task {adapter['task_type']}, and {TASK_TYPES[task]} is needed",
            where=name,
            fix="merge it into its base first (`merge_and_unload`), and start from the merged model",
        )
    config = _config_of(base, kwargs)
    _check_kind(base, config, task, kwargs)
    if task in NUM_LABELS and not _has_head(config, task):
        kwargs.setdefault("num_labels", NUM_LABELS[task])
    if dtype in (None, "auto"):
        fast = fast or "quantization_config" in kwargs  # what is quantized decides by itself
        dtype = stored_dtype(config, trained and adapter is None, fast) or "auto"
    kwargs["dtype"] = dtype
    model = _from_pretrained(_LOADERS[task], base, kwargs)
    if adapter is None:
        return model
    from peft import PeftModel

    return PeftModel.from_pretrained(model, name, is_trainable=True)


TASK_TYPES: dict[Task, str] = {"causal": "CAUSAL_LM", "reward": "SEQ_CLS", "steps": "TOKEN_CLS"}
NUM_LABELS: dict[Task, int] = {"reward": 1, "steps": 2}
"""How many numbers the head of a new model gives."""
_LOADERS: dict[Task, Any] = {
    "causal": AutoModelForCausalLM,
    "reward": AutoModelForSequenceClassification,
    "steps": AutoModelForTokenClassification,
}
_KINDS: dict[Task, str] = {
    "causal": "causal language model",
    "reward": "model with a classification head",
    "steps": "model with a classification head for every token",
}


def stored_dtype(config: Any, trained: bool, fast: bool) -> torch.dtype | None:
    """The dtype that weights are loaded in where nobody asked for one; None: the checkpoint's own.

    float32 where they are trained, and in place of 16 bits on a machine that is not `fast` at them.
    """
    return torch.float32 if trained or (own_dtype(config) in HALF and not fast) else None


def own_dtype(config: Any) -> torch.dtype | None:
    """The dtype of a checkpoint, if its config says so."""
    own = getattr(config, "dtype", None) or getattr(config.get_text_config(), "dtype", None)
    return getattr(torch, own) if isinstance(own, str) else own


def _has_head(config: Any, task: Task) -> bool:
    """Whether the checkpoint has the head of the task already, with a number of labels of its own."""
    ending = _LOADERS[task].__name__.removeprefix("AutoModel")
    return any(name.endswith(ending) for name in config.architectures or ())


def _check_kind(name: str, config: Any, task: Task, kwargs: dict[str, Any]) -> None:
    if type(config) in _LOADERS[task]._model_mapping:
        return
    if kwargs.get("trust_remote_code") and _LOADERS[task].__name__ in getattr(config, "auto_map", {}):
        return
    raise UserError(
        f"transformers has no {_KINDS[task]} of type '{config.model_type}'",
        where=name,
        fix="give a model that generates text from left to right, such as a Llama or Qwen model",
    )


def base_of(name: str) -> str:
    """The model itself: of an adapter's folder the base that it names."""
    adapter = adapter_config(name)
    return name if adapter is None else adapter["base_model_name_or_path"]


def adapter_config(name: str) -> dict[str, Any] | None:
    """What a folder says of the adapter in it; None where it holds none."""
    path = Path(name) / "adapter_config.json"
    return json.loads(path.read_text()) if path.is_file() else None


def load_tokenizer(name: str, **kwargs: Any) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(name, **kwargs)
    except (OSError, ValueError) as error:
        raise UserError(
            f"no tokenizer could be loaded ({_first_line(error)})",
            where=name,
            fix="save the tokenizer into the model's folder, or pass `processing_class`",
        ) from error


def _config_of(name: str, kwargs: dict[str, Any]) -> Any:
    shared = {k: kwargs[k] for k in ("revision", "trust_remote_code", "token", "cache_dir") if k in kwargs}
    try:
        return AutoConfig.from_pretrained(name, **shared)
    except (OSError, ValueError) as error:
        raise _missing(name, error) from error


def _missing(name: str, error: Exception) -> UserError:
    path = Path(name).expanduser()
    if path.is_dir():
        return UserError(
            f"the folder holds no model that can be read ({_first_line(error)})",
            where=name,
            fix="give a folder with a config.json and weights, as `save_pretrained` writes it",
        )
    near = nearest(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else ""
    return UserError(
        f"no such model: there is no such folder, and the hub did not give it ({_first_line(error)}).{near}",
        where=name,
        fix="check the spelling of the folder, or go online for a model on the hub",
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:160]


def _from_pretrained(loader: Any, name: str, kwargs: dict[str, Any]) -> PreTrainedModel:
    try:
        with own_bars():
            return loader.from_pretrained(name, **kwargs)
    except (OSError, ValueError) as error:
        raise _missing(name, error) from error
