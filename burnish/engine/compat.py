"""What became of each of TRL's options: the same here, the same with another default, no effect, or refused.

Those of transformers that TRL inherits have a table of their own, in the same words (`inherited.py`).

An option that works as in TRL is an ordinary config field. The others are declared below, once: as
fields of a base class that a method's config inherits, each with its standing and the reason. So a
script written for TRL constructs its config unchanged, the help shows the reason, and nothing is
accepted and ignored: `apply_compat` refuses what is refused and reports what has no effect.

    @dataclass
    class DPOConfig(DPOTrlOptions, EngineConfig): ...

Left out: aliases for names that TRL itself has removed; the command line suggests the new ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from burnish.errors import UserError, shorten
from burnish.options import described

Word = Literal["same", "own default", "no effect", "refused"]


@dataclass(frozen=True)
class Standing:
    """What an option is here, and why; `allowed` lists the values beside the default that ask for nothing."""

    word: Word
    because: str = ""
    allowed: tuple[Any, ...] = ()


SAME = Standing("same")


class Stated(str):
    """The help of an option, which carries its standing: argparse takes no other key of the metadata."""

    standing: Standing

    @staticmethod
    def of(standing: Standing) -> Stated:
        text = Stated(f"{standing.word.capitalize()}: {standing.because}.")
        text.standing = standing
        return text


def no_effect(default: Any, because: str, allowed: tuple[Any, ...] = ()) -> Any:
    """A dataclass field for an option that is accepted, reported, and then set back to its default.

    One of `allowed` is not reported: it asks for what is done anyway.
    """
    return described(default, Stated.of(Standing("no effect", because, allowed)))


def refused(default: Any, because: str, allowed: tuple[Any, ...] = ()) -> Any:
    """A dataclass field for an option that may only have its default, or one of `allowed`."""
    return described(default, Stated.of(Standing("refused", because, allowed)))


def own_default(default: Any, because: str, **metadata: Any) -> Any:
    """A dataclass field for an option that works as in TRL and starts from another value."""
    return described(default, Stated.of(Standing("own default", because)), **metadata)


OWN_DEFAULTS = {
    "dataset_text_field": "a column that is named is trained whatever others there are; unset, `text` may be",
    "gradient_checkpointing": "activations are recomputed only where they do not fit",
}
"""Options of TRL's that work here and start from another value."""


@dataclass
class TrlOptions:
    """Options that every TRL config has; `EngineConfig` inherits them."""

    pad_to_multiple_of: int | str | None = no_effect("auto", "every batch is packed without padding")
    pad_token: str | None = no_effect(None, "no batch is padded")
    use_liger_kernel: bool = no_effect(
        False, "the vocabulary projection already runs in chunks, without logits"
    )
    liger_kernel_config: dict[str, bool] | None = no_effect(None, "Liger kernels are not applied")
    no_gradient_checkpointing: bool = described(False, "The same as gradient_checkpointing=False.")
    activation_offloading: bool = refused(False, "activations are not moved to the CPU yet")


@dataclass
class LanguageModelTrlOptions:
    """Options that the configs of language models share."""

    padding_free: bool = no_effect(False, "every batch is packed without padding")
    router_aux_loss_coef: float | None = described(
        None,
        "Weight of the balancing loss of mixtures of experts; 0: none. Unset: the model's own.",
    )


@dataclass
class SFTTrlOptions(LanguageModelTrlOptions):
    """Options of TRL's SFTConfig."""

    packing_strategy: str = refused(
        "bfd", "rows are never cut to fill a pack; truncation_mode='split' splits those that are too long"
    )
    eval_packing: bool | None = no_effect(None, "an evaluation is a mean over all tokens, however batched")
    shuffle_dataset: bool = no_effect(False, "rows are drawn in random order (`train_sampling_strategy`)")
    dataset_kwargs: dict[str, Any] | str | None = refused(
        None,
        "rows with `input_ids` are recognised by their columns",
        allowed=({}, {"skip_prepare_dataset": False}),
    )


@dataclass
class GKDTrlOptions(SFTTrlOptions):
    """Options of TRL's GKDConfig, which is an SFTConfig too."""

    loss_type: str = no_effect("nll", "the loss is the divergence that beta says")
    lmbda: float = own_default(0.0, "rows' own completions are trained; nothing is sampled in training yet")
    seq_kd: bool = refused(False, "the teacher's answers are not sampled in training yet")
    temperature: float = no_effect(0.9, "it is that of sampling; see divergence_temperature")
    max_new_tokens: int = no_effect(128, "nothing is sampled in training yet")


@dataclass
class DPOTrlOptions(LanguageModelTrlOptions):
    """Options of TRL's DPOConfig.

    All of its losses are here by their names. What says something else here than there:

    - `label_smoothing` acts on `sigmoid` too, as in conservative DPO; TRL leaves it out there.
    - `f_divergence_type` goes with losses of the margin (`losses/margin.py`) and `sft`; TRL also takes it
      with `ipo` and `sigmoid_norm`, which divide two scores by two lengths: what is unknown of both stays.
    - `use_weighting` weighs pairs, not the tokens of `sft`.
    - `sft` is a mean over the chosen tokens of a step, `aot` compares all pairs of a step, for any
      `per_device_train_batch_size` and on any number of devices; TRL takes each batch by itself.
    - `sync_ref_model` works with adapters, whose factors are mixed.
    """

    precompute_ref_batch_size: int | None = no_effect(
        None, "the reference scores batches of the token budget"
    )


@dataclass
class KTOTrlOptions(LanguageModelTrlOptions):
    """Options of TRL's KTOConfig."""

    train_sampling_strategy: str = own_default(
        "random",
        "mismatched completions are drawn anew in every step, so rows need no fixed order",
        choices=["random", "sequential"],
    )
    precompute_ref_batch_size: int | None = no_effect(
        None, "the reference scores batches of the token budget"
    )


@dataclass
class GenerationTrlOptions(LanguageModelTrlOptions):
    """Options of TRL's older trainers."""

    max_completion_length: int | None = no_effect(None, "max_length bounds a prompt with its completion")
    generate_during_eval: bool = refused(False, "evaluation does not sample answers")
    is_encoder_decoder: bool | None = refused(
        None, "only decoders, the causal language models, are trained", allowed=(False,)
    )


DENSITY_RATIO = "completions are not weighed by a density ratio of their prompts"


@dataclass
class BCOTrlOptions(GenerationTrlOptions):
    """Options of TRL's BCOConfig."""

    prompt_sample_size: int = refused(1024, DENSITY_RATIO)
    min_density_ratio: float = refused(0.5, DENSITY_RATIO)
    max_density_ratio: float = refused(10.0, DENSITY_RATIO)


@dataclass
class PRMTrlOptions:
    """Options of TRL's PRMConfig, as long as it had one."""

    max_prompt_length: int | None = no_effect(512, "max_length bounds a prompt with its steps")
    max_completion_length: int | None = no_effect(None, "max_length bounds a prompt with its steps")


@dataclass
class ReferenceFreeTrlOptions(GenerationTrlOptions):
    """Options of TRL's ORPOConfig and CPOConfig."""

    padding_value: int | None = no_effect(None, "no batch is padded")


@dataclass
class TPOTrlOptions(LanguageModelTrlOptions):
    """Options of TRL's TPOConfig."""

    pad_to_multiple_of: int | str | None = no_effect(None, "every batch is packed without padding")


TRAINER_ARGUMENTS: dict[str, Standing] = {
    "data_collator": Standing("refused", "batches are packed prefix forests; prepare the rows instead"),
    "compute_loss_func": Standing("refused", "pass a function as the trainer's `loss` instead"),
    "preprocess_logits_for_metrics": Standing("refused", "full logits are never computed"),
    "model_init": Standing("refused", "a model is passed, or named; there is no search over its options"),
    "embedding_func": Standing("refused", DENSITY_RATIO),
    "embedding_tokenizer": Standing("refused", DENSITY_RATIO),
}
"""Constructor arguments of TRL's trainers that are not the same here."""


def standing_of(config_class: type, name: str) -> Standing:
    """What the TRL option `name` is in a config class. Raises `KeyError` where it is no field of it."""
    known = {field.name: field for field in dataclasses.fields(config_class)}
    standing = stated(known[name])
    if standing is SAME and name in OWN_DEFAULTS:
        return Standing("own default", OWN_DEFAULTS[name])
    return standing


def stated(field: dataclasses.Field) -> Standing:
    """What a field says of itself."""
    return getattr(field.metadata.get("help"), "standing", SAME)


def apply_compat(config: Any) -> list[str]:
    """Refuse options that are refused; reset those without effect and return one sentence for each.

    `config` is an instance of a dataclass whose fields may carry a standing. Raises `UserError`.
    """
    notes = []
    for option in dataclasses.fields(config):
        standing = stated(option)
        value = getattr(config, option.name)
        takes = standing.word in ("same", "own default")
        if takes or value == default_of(option) or value in standing.allowed:
            continue
        if standing.word == "refused":
            raise refusal(option.name, value, standing)
        notes.append(f"{option.name}={shorten(value)} has no effect: {standing.because}")
        setattr(config, option.name, default_of(option))
    return notes


def default_of(field: dataclasses.Field) -> Any:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def check_arguments(given: Mapping[str, Any]) -> None:
    """Refuse trainer arguments that TRL has and this library has not. Raises `UserError`."""
    for name, value in given.items():
        if value is not None and name in TRAINER_ARGUMENTS:
            raise refusal(name, value, TRAINER_ARGUMENTS[name])


def refusal(name: str, value: Any, standing: Standing) -> UserError:
    return UserError(f"{name}={shorten(value)} is not supported: {standing.because}", fix=f"leave out {name}")
