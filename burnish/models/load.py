"""Loading a policy, a reward model or a process reward model, with the dtype as a decision.

Trained weights are stored in float32 (`precision.py` says why, and what is computed with). A frozen
base under an adapter stays in the checkpoint's own dtype, unless that has 16 bits and the machine is slow at
them; the adapter is float32.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from burnish.errors import UserError, require_package
from burnish.models.adapter_chain import WEIGHTS, AdapterChain, adapter_shapes, chain_of
from burnish.models.checkpoint import first_line, read_config, read_weights
from burnish.models.forward import inner_model
from burnish.models.merged import dequantized, merged
from burnish.models.padding import set_padding
from burnish.models.precision import HALF
from burnish.options import described
from burnish.pipeline.unknown import KnownOptions

Task = Literal["causal", "reward", "steps"]


@dataclass
class ModelConfig(KnownOptions):
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
    name: str, task: Task, *, trained: bool = True, fast: bool = True, plain: bool = False, **kwargs: Any
) -> PreTrainedModel:
    """Load a model by folder or hub id. An adapter's gives its base with the adapter, to train on.

    `trained` says that the model's own weights will be trained, `fast` that the machine is fast at 16 bits:
    `stored_dtype` decides by them, unless `dtype` does. The base of an adapter is loaded as in its training:
    with the adapters below it merged, and quantized if it was; `plain` takes the weights that quantized ones
    stand for. Raises `UserError` where there is no such model, it is of another kind, or weights are missing.
    """
    chain = chain_of(name, **shared(kwargs))
    require_task(chain, task)
    if not chain.adapters:
        return _load_whole(name, task, trained, fast, kwargs)
    kwargs = of_base(chain, kwargs)
    if len(chain.adapters) > 1 and kwargs.get("dtype") in (None, "auto"):
        kwargs["dtype"] = torch.float32  # in which adapters are added up
    model: Any = _load_whole(chain.base, task, False, fast, kwargs)
    if plain or len(chain.adapters) > 1:
        model = dequantized(model, chain.base)
    for folder in chain.adapters:
        model = put_on(merged(model), folder)
    if task == "reward" and (chain.adapters[-1] / "tokenizer_config.json").is_file():
        pad = load_tokenizer(str(chain.adapters[-1])).pad_token_id
        set_padding(inner_model(model).config, pad)  # the base's own config knows nothing of it
    return model


def of_base(chain: AdapterChain, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments to load the base of an adapter with: at its revision, and quantized as it was."""
    found = {key: value for key, value in kwargs.items() if key != "revision"}
    if chain.revision:
        found["revision"] = chain.revision
    if chain.labels is not None:
        found.setdefault("num_labels", chain.labels)
    if chain.quantization is not None and "quantization_config" not in found:
        found["quantization_config"] = dict(chain.quantization)
    return found


def require_task(chain: AdapterChain, task: Task) -> None:
    """Raises `UserError` for an adapter of another task."""
    if chain.adapters and chain.task_type not in (None, TASK_TYPES[task]):
        raise UserError(
            f"the adapter is of task {chain.task_type}, and {TASK_TYPES[task]} is needed",
            where=chain.name,
            fix="merge it into its base first (`merge_and_unload`), and start from the merged model",
        )


def _load_whole(name: str, task: Task, trained: bool, fast: bool, kwargs: dict[str, Any]) -> PreTrainedModel:
    dtype = kwargs.pop("dtype", None)
    config = read_config(name, **shared(kwargs))
    _check_kind(name, config, task, kwargs)
    new_head = task in NUM_LABELS and not _has_head(config, task)
    if new_head:
        kwargs.setdefault("num_labels", NUM_LABELS[task])
    if dtype in (None, "auto"):
        fast = fast or "quantization_config" in kwargs  # what is quantized decides by itself
        dtype = stored_dtype(config, trained, fast) or "auto"
    return read_weights(_LOADERS[task], name, {**kwargs, "dtype": dtype}, new_head=new_head)


def put_on(model: Any, folder: Path) -> Any:
    """The model with the adapter of a folder on it, to be trained on.

    Embeddings get the rows of tokens that were added when it was trained. Raises `UserError` where it does
    not fit, or lacks weights.
    """
    from peft import PeftModel

    rows = _rows_of(model, folder)
    if rows > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(rows, mean_resizing=False)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model = PeftModel.from_pretrained(model, str(folder), is_trainable=True)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # what does not fit shows itself in many ways
        raise UserError(
            f"the adapter does not fit the model below it ({first_line(error)})",
            where=str(folder),
            fix="check base_model_name_or_path in its adapter_config.json",
        ) from error
    lost = next((str(each.message) for each in said if "missing adapter keys" in str(each.message)), None)
    if lost is not None:
        raise UserError(
            f"the adapter lacks weights, which would be drawn at random ({lost[:200]})",
            where=str(folder / WEIGHTS),
            fix="give the whole adapter, on the base that it was trained on",
        )
    return model


def _rows_of(model: Any, folder: Path) -> int:
    """How many tokens the embeddings had when an adapter was trained, by its weights and its tokenizer."""
    embedding = model.get_input_embeddings()
    name = next((name for name, module in model.named_modules() if module is embedding), None)
    found = [shape[0] for key, shape in adapter_shapes(folder).items() if key.endswith(f"{name}.weight")]
    if (folder / "tokenizer_config.json").is_file():
        found.append(len(load_tokenizer(str(folder))))
    return max(found, default=0)


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


def load_tokenizer(name: str, **kwargs: Any) -> PreTrainedTokenizerBase:
    try:
        return AutoTokenizer.from_pretrained(name, **kwargs)
    except Exception as error:  # a damaged file may raise anything
        raise UserError(
            f"no tokenizer could be loaded ({first_line(error)})",
            where=name,
            fix="save the tokenizer into the model's folder, or pass `processing_class`",
        ) from error


def shared(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Those arguments that configs, tokenizers and weights are all found by."""
    return {k: kwargs[k] for k in ("revision", "trust_remote_code", "token", "cache_dir") if k in kwargs}
