"""A stage: one method with its settings, checked and prepared first, then trained and saved.

`burnish dpo` is one stage made from flags; a pipeline file has several.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.errors import UserError
from burnish.pipeline.checks import check_settings
from burnish.pipeline.chosen import Notice
from burnish.pipeline.methods import Method
from burnish.pipeline.settings import Settings, resolve


@dataclass(frozen=True)
class Stage:
    """`name` appears in tables and messages, and later stages refer to it."""

    name: str
    method: Method
    settings: Settings

    def prepare(self, *, model_comes_later: bool = False, adapter: bool | None = None) -> PreparedStage:
        """Build the configs and load the rows; nothing is trained. Raises `UserError`.

        `model_comes_later` says that an earlier stage has yet to write the model, and `adapter` that it will
        have one that goes on training.
        """
        values = resolve(self.settings, self.method.fields(), f"burnish {self.method.name} --help-all")
        self._need("model_name_or_path", values, "a model folder or id")
        if values.get("datasets") is None:
            self._need("dataset_name", values, "a file, a folder or a dataset id")
        values.setdefault("output_dir", default_output(self.method.name, values["model_name_or_path"]))
        notices = check_settings(self.method, self.settings, values, adapter=adapter)

        from burnish.models.load import ModelConfig
        from burnish.pipeline.script import ScriptArguments

        script = self._build(ScriptArguments, values)
        model = self._build(ModelConfig, values)
        config = self._build(self.method.config_class(), values)
        config.model_init_kwargs = model.init_kwargs() | (config.model_init_kwargs or {})
        if not model_comes_later:
            self._check_model(model.model_name_or_path)
        train, evaluation = self._rows(script, config)
        return PreparedStage(
            self.name, self.method, config, model, train, evaluation, script, values, notices=tuple(notices)
        )

    def _need(self, key: str, values: Mapping[str, Any], what: str) -> None:
        if values.get(key) is None:
            raise UserError(f"{self.name} has no {key}", fix=f"give --{key} ({what}), or the key in the file")

    def _build(self, config_class: Any, values: Mapping[str, Any]) -> Any:
        """The config from those values that are its fields; what it finds wrong names the setting."""
        names = {field.name for field in dataclasses.fields(config_class)}
        try:
            return config_class(**{key: value for key, value in values.items() if key in names})
        except UserError as error:
            key = error.where if error.where in self.settings else self._mentioned(error)
            raise self._located(error, key) from None
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

    def _rows(self, script: Any, config: Any) -> tuple[list, list | None]:
        """The rows to train on, and those to evaluate on: of their own, held out, or a split."""
        key = "dataset_name" if script.datasets is None else "datasets"
        if script.dataset_streaming:
            train = self._streams(key, script)
        else:
            train = self._sources(key, script.sources, script.dataset_train_split, script, config)
        if script.test_split_size is not None:
            return self._held_out(train, script.test_split_size, config)
        if script.eval_dataset_name is not None:
            name, split = "eval_dataset_name", script.dataset_test_split
            return train, self._sources(
                name, lambda: [each.for_its_rows() for each in script.evaluation()], split, script, config
            )
        if config.eval_strategy == "no":
            return train, None
        self._refuse_single_files(script.sources())
        return train, self._sources(key, script.sources, script.dataset_test_split, script, config)

    def _streams(self, key: str, script: Any) -> list:
        from burnish.data.sources.mixture import load_streams

        try:
            split, config = script.dataset_train_split, script.dataset_config
            return load_streams(script.sources(), split=split, config=config)
        except UserError as error:
            raise self._located(error, key) from None

    def _sources(
        self, key: str, entries: Callable[[], list], split: str, script: Any, config: Any
    ) -> list[Any]:
        """The rows that a setting names, a source each; the first of each must be of a known format."""
        from burnish.data.sources.mixture import load_mixture
        from burnish.data.sources.rows import check_first

        try:
            sources = load_mixture(entries(), split=split, config=script.dataset_config, seed=config.seed)
        except UserError as error:
            raise self._located(error, key) from None
        for source in sources:
            check_first(source, self.method.trainer_class().reads(config), self._options(config))
        return sources

    def _held_out(self, sources: list, size: float, config: Any) -> tuple[list, list]:
        from burnish.data.sources.holdout import hold_out

        read_row = self.method.trainer_class().reads(config)
        try:
            return hold_out(sources, size, read_row, self._options(config), config.seed)
        except UserError as error:
            raise self._located(error, "test_split_size") from None

    def _options(self, config: Any) -> Any:
        from burnish.engine.rows import preparation_options

        return preparation_options(config, self.method.trainer_class().preparation(config))

    def _refuse_single_files(self, entries: list) -> None:
        """A file has no second split to evaluate on."""
        for entry in entries:
            if entry.is_file:
                alone = UserError(
                    f"{entry.path} is one file, so it has no rows of its own to evaluate on",
                    fix="hold out a part of it (test_split_size: 0.1), give eval_dataset_name, or a folder "
                    "with a train and a test file",
                )
                raise self._located(alone, "eval_strategy")


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
    """A stage whose configs are built and whose rows are loaded.

    `follows` names the earlier stage that its model is from, `uses` those that other options name.
    `continues`: the adapter that it starts from is trained on. `merges`: the dtype in which that adapter is
    merged into its base first ("base": the base's own), empty where it is not. `wiring.py` says which.
    """

    name: str
    method: Method
    config: Any
    model: Any
    train_dataset: Any
    eval_dataset: Any
    script: Any = None
    given: Mapping[str, Any] = field(default_factory=dict)
    follows: str | None = None
    uses: Mapping[str, str] = field(default_factory=dict)
    continues: bool = False
    merges: str = ""
    decisions: tuple[Any, ...] = ()
    notices: tuple[Notice, ...] = ()

    @property
    def output(self) -> Path:
        return Path(self.config.output_dir)

    def run(self, watch: Any = None, checkpoint: str | None = None) -> StageResult:
        """Train, evaluate where there are rows for it, and save to the config's `output_dir`.

        `watch` is a callback that is told of the trainer; `checkpoint` is gone on from, where
        `resume_from_checkpoint` names no other.
        """
        from burnish.models.memory import give_back

        started = time.perf_counter()
        trainer = self._trainer()
        if watch is not None:
            watch.of(trainer)
        named = self.config.resume_from_checkpoint
        trainer.train(resume_from_checkpoint=checkpoint if named is None else named)
        trainer.save_model()
        if self.eval_dataset is not None and not evaluated_at_the_end(trainer.state):
            trainer.evaluate()
        metrics: dict[str, float] = {}
        for entry in trainer.state.log_history:
            metrics |= entry
        steps, seconds = trainer.state.global_step, time.perf_counter() - started
        del trainer
        give_back()
        return StageResult(self.name, self.method, self.output, steps, seconds, metrics)

    def _trainer(self) -> Any:
        from burnish.models.load import get_peft_config, get_quantization_config

        return self.method.trainer_class()(
            model=self.model.model_name_or_path,
            args=self.config,
            train_dataset=self.train_dataset,
            eval_dataset=self.eval_dataset,
            peft_config=None if self.continues else get_peft_config(self.model),
            quantization_config=get_quantization_config(self.model),
        )


def evaluated_at_the_end(state: Any) -> bool:
    """Whether the last step of a run has been evaluated."""
    return any("eval_loss" in entry and entry["step"] == state.global_step for entry in state.log_history)


def default_output(method: str, model: str) -> str:
    """`runs/<model>-<method>`, for a stage that does not say where its model goes."""
    return str(Path("runs") / f"{Path(model).name}-{method}")
