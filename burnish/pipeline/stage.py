"""A stage: one method with its settings, checked and prepared first, then trained and saved.

`burnish dpo` is one stage made from flags; a pipeline file has several.
"""

from __future__ import annotations

import dataclasses
import gc
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
        from burnish.models.load import ModelConfig
        from burnish.pipeline.script import ScriptArguments

        values = resolve(self.settings, self.method.fields(), f"burnish {self.method.name} --help-all")
        self._need("model_name_or_path", values, "a model id or folder")
        self._need("dataset_name", values, "a file, a folder or a dataset id")
        values.setdefault("output_dir", default_output(self.method.name, values["model_name_or_path"]))
        script = self._build(ScriptArguments, values)
        model = self._build(ModelConfig, values)
        config = self._build(self.method.config_class(), values)
        config.model_init_kwargs = model.init_kwargs() | (config.model_init_kwargs or {})
        if not model_comes_later:
            check_model(model.model_name_or_path, self._where("model_name_or_path"))
        train = self._rows(script, script.dataset_train_split)
        evaluated = str(getattr(config.eval_strategy, "value", config.eval_strategy)) != "no"
        test = self._rows(script, script.dataset_test_split) if evaluated else None
        return PreparedStage(self.name, self.method, config, model, train, test)

    def _need(self, key: str, values: Mapping[str, Any], what: str) -> None:
        if values.get(key) is None:
            fix = f"give --{key} ({what}), or the same key in the file"
            raise UserError(f"{self.name} has no {key}", fix=fix)

    def _where(self, *keys: str) -> str:
        return next((self.settings[key].where for key in keys if key in self.settings), "")

    def _build(self, config_class: Any, values: Mapping[str, Any]) -> Any:
        """The config from those values that are its fields; what it finds wrong names the setting."""
        names = {f.name for f in dataclasses.fields(config_class)}
        try:
            return config_class(**{key: value for key, value in values.items() if key in names})
        except UserError as error:
            raise UserError(error.what, where=error.where or self._mentioned(error), fix=error.fix) from None
        except ValueError as error:
            raise UserError(str(error), where=self._mentioned(error)) from error

    def _mentioned(self, error: Exception) -> str:
        """Where the setting stands that a message names."""
        text = str(error)
        named = [
            k for k, s in self.settings.items() if k in text or (s.value and str(s.value) in text.split())
        ]
        return self._where(*sorted(named, key=len, reverse=True))

    def _rows(self, script: Any, split: str) -> Any:
        from burnish.data.source import load_source

        try:
            return load_source(script.dataset_name, config=script.dataset_config, split=split)
        except UserError as error:
            place = self._where("dataset_name")
            raise UserError(error.what, where=error.where or place, fix=error.fix) from None


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
        """Train, and save the model to the config's `output_dir`. Memory is freed on return."""
        from burnish.models.load import get_peft_config, get_quantization_config

        started = time.perf_counter()
        trainer = self.method.trainer_class()(
            model=self.model.model_name_or_path,
            args=self.config,
            train_dataset=self.train_dataset,
            eval_dataset=self.eval_dataset,
            peft_config=get_peft_config(self.model),
            quantization_config=get_quantization_config(self.model),
        )
        trainer.train(resume_from_checkpoint=self.config.resume_from_checkpoint)
        trainer.save_model()
        if self.config.push_to_hub:
            trainer.push_to_hub()
        metrics: dict[str, float] = {}
        for entry in trainer.state.log_history:
            metrics |= entry
        steps, seconds = trainer.state.global_step, time.perf_counter() - started
        del trainer
        gc.collect()
        return StageResult(self.name, self.method, Path(self.config.output_dir), steps, seconds, metrics)


def default_output(method: str, model: str) -> str:
    """`runs/<model>-<method>`, for a stage that does not say where its model goes."""
    return str(Path("runs") / f"{Path(model).name}-{method}")


def check_model(name: str, where: str) -> None:
    """Refuse a model path that looks local and is not there. Raises `UserError`."""
    looks_local = name.startswith((".", "/", "~")) or name.count("/") != 1
    if looks_local and not Path(name).expanduser().exists() and ("/" in name or name.startswith(".")):
        raise UserError(f"there is no model folder '{name}'", where=where, fix="check the path")
