"""What a run was made from, as one key: equal keys are equal runs.

The key is a hash over the method, the rows, the model to start from, the chat template and every option that
changes the result. Where a stage starts from another one, that one's key stands for the model: so a changed
row changes the keys of all that depends on it, before anything is trained. Versions of packages are written
down beside it and are not in it: an upgrade alone makes nobody train for days again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from burnish.errors import shorten
from burnish.pipeline import hashes
from burnish.pipeline.wiring import MODEL_OPTIONS
from burnish.secrets import is_secret, without_secrets

if TYPE_CHECKING:
    from burnish.pipeline.stage import PreparedStage

NO_PART = (
    "output_dir logging_strategy logging_steps logging_first_step log_on_each_node logging_nan_inf_filter "
    "log_level log_level_replica disable_tqdm report_to run_name project trackio_space_id trackio_bucket_id "
    "trackio_static_space_id include_num_input_tokens_seen token_metrics save_strategy save_steps "
    "save_on_each_node save_total_limit save_only_model enable_jit_checkpoint push_to_hub hub_token "
    "hub_private_repo hub_model_id hub_strategy hub_always_push hub_revision eval_strategy eval_steps "
    "eval_delay eval_on_start per_device_eval_batch_size eval_accumulation_steps eval_do_concat_batches "
    "eval_use_gather_object batch_eval_metrics prediction_loss_only include_for_metrics skip_memory_metrics "
    "dataloader_num_workers dataloader_pin_memory dataloader_persistent_workers dataloader_prefetch_factor "
    "dataloader_multiprocessing_context dataset_num_proc tokens_per_forward tier activation_checkpointing "
    "activation_checkpointing_kwargs gradient_checkpointing gradient_checkpointing_kwargs ddp_backend "
    "ddp_timeout debug do_train do_eval do_predict resume_from_checkpoint ignore_data_skip local_rank "
    "torch_empty_cache_steps restore_callback_states_from_checkpoint model_name_or_path model_revision "
    "chat_template_path dataset_name dataset_config dataset_train_split dataset_test_split datasets "
    "eval_dataset_name test_split_size sample_prompts sample_steps"
).split()
"""Options that change where results go, how often one looks, or how fast it is; or that the rows, the model
and the template stand for. Steps are exact however they are cut, so the token budget is among them."""

MATTERS_WITH_BEST = ("save_strategy", "save_steps", "eval_strategy", "eval_steps", "eval_delay")
"""Options that say which checkpoint is the best one, where it is kept (`load_best_model_at_end`)."""


@dataclass(frozen=True)
class Inputs:
    """What a run is made from. `start` stands for the model: its hash, or the key of the stage before."""

    method: str
    data: Mapping[str, list[dict[str, Any]]]
    model: str
    stage: str | None
    start: str
    template: str
    options: Mapping[str, Any]  # those that change the result

    @property
    def key(self) -> str:
        data = {split: hashes.without_names(entries) for split, entries in self.data.items()}
        return hashes.digest(
            [self.method, data, self.start, self.template, hashes.digest(dict(self.options))]
        )

    def record(self, sha256: str | None) -> dict[str, Any]:
        """As `run.json` has it; `sha256` is that of the model to start from, once it is there."""
        return {
            "data": dict(self.data),
            "model": {"name": self.model, "sha256": sha256, "stage": self.stage, "start": self.start},
            "template": self.template,
            "config": hashes.digest(dict(self.options)),
        }


def inputs_of(prepared: PreparedStage, earlier: Mapping[str, Inputs]) -> Inputs:
    """The inputs of a stage; `earlier` has those of the stages before it by their names."""
    follows = prepared.follows
    model = prepared.model
    template = prepared.config.chat_template_path
    if follows is None:
        start = hashes.hash_model(model.model_name_or_path, model.model_revision)
    else:
        start = earlier[follows].key
    if template is None and follows is not None:
        rendered = earlier[follows].template
    else:
        rendered = hashes.hash_template(model.model_name_or_path, template)
    splits = {"train": prepared.train_dataset, "eval": prepared.eval_dataset or []}
    data = {split: [hashes.rows_entry(source) for source in sources] for split, sources in splits.items()}
    options = options_that_matter(prepared) | used_models(prepared, earlier)
    return Inputs(prepared.method.name, data, model.model_name_or_path, follows, start, rendered, options)


def used_models(prepared: PreparedStage, earlier: Mapping[str, Inputs]) -> dict[str, str]:
    """Options that name a model beside the trained one (a teacher), by what the models hold."""
    found = {}
    for option in MODEL_OPTIONS:
        name = getattr(prepared.config, option, None)
        stage = prepared.uses.get(option)
        if name is not None:
            found[option] = earlier[stage].key if stage is not None else hashes.hash_model(str(name))
    return found


def options_that_matter(prepared: PreparedStage) -> dict[str, Any]:
    """The options that change the result, and how many processes share a batch."""
    options = all_options(prepared)
    left_out = set(NO_PART)
    if options.get("load_best_model_at_end"):
        left_out -= set(MATTERS_WITH_BEST)
    found = {name: value for name, value in options.items() if name not in left_out}
    if options.get("row_function"):
        found["row_function"] = hashes.hash_function(options["row_function"])
    found["processes"] = prepared.config.world_size
    found["continues"] = prepared.continues
    return found


def all_options(prepared: PreparedStage) -> dict[str, Any]:
    """Every option as it was resolved, as JSON can write it; without secrets."""
    found: dict[str, Any] = {}
    for part in (prepared.script, prepared.model, prepared.config):
        for field in dataclasses.fields(part):
            if field.init and not is_secret(field.name):
                found[field.name] = without_secrets(plain(getattr(part, field.name)))
    return found


def plain(value: Any) -> Any:
    """A value of an option as JSON has it; enumerations by their value, objects by their fields."""
    if value is None or isinstance(value, bool | int | float | str):
        return getattr(value, "value", value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(each) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    return str(getattr(value, "value", value))


# What changed


def differences(before: Mapping[str, Any], inputs: Inputs) -> list[str]:
    """What is other than in the run that `before` (a `run.json`) describes, in words; one item each."""
    old, now = before.get("inputs") or {}, inputs.record(None)
    found = []
    if before.get("method") != inputs.method:
        found.append(f"it was trained by {before.get('method')}")
    for split, words in (("train", "rows"), ("eval", "rows to evaluate on")):
        found += _of_rows(words, (old.get("data") or {}).get(split) or [], now["data"][split])
    model = old.get("model") or {}
    if model.get("start") != inputs.start:
        followed = f"'{inputs.stage}', which it starts from, is another run now"
        found.append(followed if inputs.stage else f"the model {inputs.model} is another one")
    if old.get("template") != inputs.template:
        found.append("the chat template is another one")
    if old.get("config") != now["config"]:
        found.append(_of_options(before.get("config") or {}, inputs.options))
    return found or ["its inputs are others"]


def _of_rows(words: str, old: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[str]:
    if hashes.without_names(old) == hashes.without_names(now):
        return []
    if len(old) != len(now):
        return [f"{words} come from {len(now)} sources, not {len(old)}"]
    found = []
    for before, after in zip(old, now, strict=True):
        if hashes.without_names([before]) != hashes.without_names([after]):
            counts = (
                f" ({before['rows']} then, {after['rows']} now)" if before["rows"] != after["rows"] else ""
            )
            found.append(f"{words} of {after['name']} changed{counts}")
    return found


def _of_options(old: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    changed = [
        f"{name} was {shorten(old.get(name), 30)} and is {shorten(value, 30)}"
        for name, value in now.items()
        if name in old and old[name] != value and name not in (*MODEL_OPTIONS, "row_function")
    ]
    return ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if len(changed) > 3 else "") or (
        "an option is another"
    )
