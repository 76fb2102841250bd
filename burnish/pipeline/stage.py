"""A stage: one method with its settings, checked and prepared first, then trained and saved.

`burnish dpo` is one stage made from flags; a pipeline file has several.
"""

from __future__ import annotations

import dataclasses
import gc
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.errors import UserError
from burnish.pipeline.methods import Method
from burnish.pipeline.settings import Settings, resolve


@dataclass(frozen=True)
class Stage:
    """`name` appears in tables and messages, and later stages refer to it."""

    name: str
    method: Method
    settings: Settings

    def prepare(self, *, model_comes_later: bool = False) -> PreparedStage:
        """Build the configs and load the rows; nothing is trained. Raises `UserError`.

        `model_comes_later` says that an earlier stage has yet to write the model.
        """
        values = resolve(self.settings, self.method.fields(), f"burnish {self.method.name} --help-all")
        self._need("model_name_or_path", values, "a model folder or id")
        self._need("dataset_name", values, "a file, a folder or a dataset id")
        values.setdefault("output_dir", default_output(self.method.name, values["model_name_or_path"]))

        from burnish.models.load import ModelConfig
        from burnish.pipeline.script import ScriptArguments

        script = self._build(ScriptArguments, values)
        model = self._build(ModelConfig, values)
        config = self._build(self.method.config_class(), values)
        config.model_init_kwargs = model.init_kwargs() | (config.model_init_kwargs or {})
        if not model_comes_later:
            self._check_model(model.model_name_or_path)
        train = self._rows("dataset_name", script.dataset_train_split, script, config)
        return PreparedStage(self.name, self.method, config, model, train, self._eval_rows(script, config))

    def _need(self, key: str, values: Mapping[str, Any], what: str) -> None:
        if values.get(key) is None:
            raise UserError(f"{self.name} has no {key}", fix=f"give --{key} ({what}), or the key in the file")

    def _build(self, config_class: Any, values: Mapping[str, Any]) -> Any:
        """The config from those values that are its fields; what it finds wrong names the setting."""
        names = {field.name for field in dataclasses.fields(config_class)}
        try:
            return config_class(**{key: value for key, value in values.items() if key in names})
        except UserError as error:
            raise self._located(error, self._mentioned(error)) from None
        except ValueError as error:
            raise self._located(UserError(str(error)), self._mentioned(error)) from error

    def _mentioned(self, error: Exception) -> str:
        """The key of the setting that a message names, or whose value it names."""
        words = set(re.findall(r"\w+", str(error)))
        named = [key for key, setting in self.settings.items() if key in words or str(setting.value) in words]
        return max(named, key=len, default="")

    def _located(self, error: UserError, key: str) -> UserError:
        """The error with the place of the setting `key` before its own."""
        place = self.settings[key].where if key in self.settings else ""
        named = place.startswith("--") and error.where == key  # the place is the flag, which says the key
        places = [place] if named else filter(None, [place, error.where])
        return UserError(error.what, where=": ".join(places), fix=error.fix)

    def _check_model(self, name: str) -> None:
        """Refuse the path of a model folder that is not there, long before it would be loaded."""
        if name.startswith((".", "/", "~")) and not Path(name).expanduser().is_dir():
            missing = UserError(f"there is no model folder '{name}'", fix="check the path")
            raise self._located(missing, "model_name_or_path")

    def _eval_rows(self, script: Any, config: Any) -> Any:
        """The rows to evaluate on, or None: a dataset of their own, or a split where evaluation is on."""
        if script.eval_dataset_name is not None:
            return self._rows("eval_dataset_name", script.dataset_test_split, script, config)
        if config.eval_strategy == "no":
            return None
        if Path(script.dataset_name).expanduser().is_file():
            alone = UserError(
                f"{script.dataset_name} is one file, so it has no rows of its own to evaluate on",
                fix="give eval_dataset_name, or a folder with a train and a test file",
            )
            raise self._located(alone, "eval_strategy")
        return self._rows("dataset_name", script.dataset_test_split, script, config)

    def _rows(self, key: str, split: str, script: Any, config: Any) -> Any:
        """The rows that a setting names, of which the first must be of the method's formats."""
        from burnish.data.source import load_source

        name = getattr(script, key)
        try:
            rows = load_source(name, config=script.dataset_config, split=split)
        except UserError as error:
            raise self._located(error, key) from None
        first = dict(rows[0])
        text_field = getattr(config, "dataset_text_field", "text")
        if text_field in first:
            first["text"] = first.pop(text_field)
        try:
            self.method.trainer_class().read_row(first)
        except UserError as error:
            place = ", ".join(filter(None, [f"{name}, first row", error.where]))
            raise UserError(error.what, where=place, fix=error.fix) from None
        return rows


@dataclass(frozen=True)
class StageResult:
    """What a stage left: the folder with the model, and the last value of every metric."""

    name: str
    method: Method
    output: Path
    steps: int
    seconds: float
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class PreparedStage:
    """A stage whose configs are built and whose rows are loaded."""

    name: str
    method: Method
    config: Any
    model: Any
    train_dataset: Any
    eval_dataset: Any

    def run(self) -> StageResult:
        """Train, evaluate where there are rows for it, and save to the config's `output_dir`."""
        started = time.perf_counter()
        trainer = self._trainer()
        trainer.train(resume_from_checkpoint=self.config.resume_from_checkpoint)
        trainer.save_model()
        if self.eval_dataset is not None and not evaluated_at_the_end(trainer.state):
            trainer.evaluate()
        if self.config.push_to_hub:
            trainer.push_to_hub()
        metrics: dict[str, float] = {}
        for entry in trainer.state.log_history:
            metrics |= entry
        steps, seconds = trainer.state.global_step, time.perf_counter() - started
        del trainer
        gc.collect()  # a trainer and its model refer to each other
        return StageResult(self.name, self.method, Path(self.config.output_dir), steps, seconds, metrics)

    def _trainer(self) -> Any:
        from burnish.models.load import get_peft_config, get_quantization_config

        return self.method.trainer_class()(
            model=self.model.model_name_or_path,
            args=self.config,
            train_dataset=self.train_dataset,
            eval_dataset=self.eval_dataset,
            peft_config=get_peft_config(self.model),
            quantization_config=get_quantization_config(self.model),
        )


def evaluated_at_the_end(state: Any) -> bool:
    """Whether the last step of a run has been evaluated."""
    return any("eval_loss" in entry and entry["step"] == state.global_step for entry in state.log_history)


def default_output(method: str, model: str) -> str:
    """`runs/<model>-<method>`, for a stage that does not say where its model goes."""
    return str(Path("runs") / f"{Path(model).name}-{method}")
