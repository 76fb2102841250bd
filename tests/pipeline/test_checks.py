"""Broken configurations are refused before anything is loaded, and what is said tells how to mend them."""

import json
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import goldens
import pytest

from burnish.engine.ranges import RANGES, Range
from burnish.errors import UserError
from burnish.pipeline import run
from burnish.pipeline.checks import RULES, check_settings, divides, positions
from burnish.pipeline.chosen import spell
from burnish.pipeline.methods import METHODS
from burnish.pipeline.needs import NEEDS
from burnish.pipeline.settings import Setting, layered, overlaid, parse_document, read_document, resolve

BROKEN = goldens.cases("broken.yaml")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a model of 512 positions."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"max_position_embeddings": 512}')
    return tmp_path


def said(method, config, folder, **options):
    (folder / "run.yaml").write_text(config + "\nmodel_name_or_path: model\n")
    method = METHODS[method]
    try:
        settings = read_document("run.yaml").settings()
        values = resolve(settings, method.fields(), f"burnish {method.name} --help-all")
        return "\n".join(f"warning: {each}" for each in check_settings(method, settings, values, **options))
    except UserError as error:
        return f"error: {error}"


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_said(name, here):
    case = BROKEN[name]
    found = said(case["method"], case["config"], here)
    goldens.check("broken.yaml", name, "says", found)
    assert found.startswith(("error: run.yaml:", "warning: ")) and max(map(len, found.splitlines())) < 250
    assert "\n  fix: " in found or found.startswith("warning")


def test_every_rule_has_a_broken_configuration(here):
    speaking = set()
    for case in BROKEN.values():
        for rule in RULES:
            if speaks(rule, case, here):
                speaking.add(rule)
    assert speaking == set(RULES)


def speaks(rule, case, folder):
    from burnish.pipeline.chosen import Chosen

    method = METHODS[case["method"]]
    (folder / "run.yaml").write_text(case["config"] + "\nmodel_name_or_path: model\n")
    settings = read_document("run.yaml").settings()
    try:
        values = resolve(settings, method.fields(), "")
    except UserError:
        return False
    try:
        return bool(list(rule(Chosen(method, settings, values))))
    except UserError:
        return True


FINE = {
    "sft": "use_peft: true\nlearning_rate: 2e-4\nlora_r: 8\nload_in_4bit: true\nbnb_4bit_quant_type: fp4",
    "dpo": "eval_strategy: steps\neval_steps: 100\nsave_steps: 500\nload_best_model_at_end: true\n"
    "max_steps: -1\nnum_train_epochs: 2\nwarmup_steps: 0.1\ndiscopop_tau: 0.05\nsync_ref_model: false",
    "kto": "per_device_train_batch_size: 1\ngradient_accumulation_steps: 4",
    "gkd": "beta: 0",
    "cpo": "loss_type: simpo\nsimpo_gamma: 1.5",
    "reward": "learning_rate: 1e-5",
}


@pytest.mark.parametrize("method", FINE)
def test_what_is_right_is_not_spoken_of(method, here):
    assert said(method, f"{FINE[method]}\nmax_length: 512", here) == ""


def test_the_adapter_of_the_model_is_an_adapter_too(here):
    (here / "model" / "config.json").unlink()
    (here / "model" / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": "base"})
    )
    assert said("sft", "learning_rate: 2e-4", here) == ""
    assert "2e-3" not in said("sft", "learning_rate: 2e-4", here)
    assert "an adapter" in said("sft", "learning_rate: 2e-3", here)


def test_of_a_model_that_is_yet_to_be_trained_it_is_said_whether_it_has_an_adapter(here):
    (here / "model" / "config.json").unlink()
    assert said("sft", "learning_rate: 2e-4", here, adapter=True) == ""
    assert said("sft", "learning_rate: 2e-4", here, adapter=False) != ""


@dataclass(frozen=True)
class Ready:
    """As much of a prepared stage as the order of stages is decided by."""

    model: SimpleNamespace
    follows: str | None = None
    uses: dict = field(default_factory=dict)
    continues: bool = False


def test_a_pipeline_says_it_of_its_stages(monkeypatch):
    text = "stages:\n- {name: a, method: sft, model: m, use_peft: true}\n- {name: b, method: dpo, model: a}\n"
    text += "- {name: c, method: reward, model: a}\n- {name: d, method: sft, model: m}\n"
    pipeline = run.read_pipeline(parse_document(text + "- {name: e, method: dpo, model: d}\n", "p.yaml"))
    asked = {}

    def prepare(stage, *, model_comes_later, adapter):
        asked[stage.name] = adapter
        model = SimpleNamespace(use_peft="use_peft" in stage.settings, model_name_or_path="m")
        return Ready(model)

    monkeypatch.setattr(run.Stage, "prepare", prepare)
    monkeypatch.setattr(run, "shape_of", lambda model: {})
    monkeypatch.setattr(run, "wired", lambda ready, found, known: replace(ready, continues=found is not None))
    pipeline.prepare()
    assert asked == {"a": None, "b": True, "c": False, "d": None, "e": False}


def test_flags_are_named_as_flags():
    settings = {
        "lora_r": Setting("8", "--lora_r"),
        "model_name_or_path": Setting("m", "--model_name_or_path"),
    }
    with pytest.raises(UserError) as caught:
        check_settings(METHODS["sft"], settings, {"lora_r": 8, "model_name_or_path": "m"})
    assert "--lora_r: " in str(caught.value) and "add --use_peft true" in str(caught.value)
    settings = {"lora_r": Setting("8", "--set sft.lora_r"), "model_name_or_path": Setting("m", "a.yaml:1")}
    with pytest.raises(UserError, match=r"add --set sft\.use_peft=true"):
        check_settings(METHODS["sft"], settings, {"lora_r": 8, "model_name_or_path": "m"})


# Tables


def test_needs_and_ranges_are_of_options_that_exist():
    of = {method.name: method.fields() for method in METHODS.values()}
    for need in NEEDS:
        fields = [of[method] for method in need.methods or of if need.option in of[method]]
        assert fields, need.option
        for found in fields:
            assert need.other in found, need
            assert not found[need.other].choices or set(need.values) <= set(found[need.other].choices), need
    assert set(RANGES) <= {name for fields in of.values() for name in fields}


@pytest.mark.parametrize("method", METHODS)
def test_defaults_are_in_their_ranges_and_need_nothing(method):
    assert check_settings(METHODS[method], {}, {}) == []
    from burnish.engine.ranges import range_of
    from burnish.pipeline.chosen import default_of

    for name, option in METHODS[method].fields().items():
        allowed, value = range_of(method, name), default_of(option)
        assert allowed is None or value is None or allowed.holds(value), name


def test_losses_read_the_options_that_the_table_says():
    """By the signatures of the losses themselves."""
    from inspect import signature

    from burnish.losses.mixture import PREFERENCE_LOSSES
    from burnish.losses.reference_free import CPO_LOSSES, TPO_LOSSES
    from burnish.methods.reward import REWARD_LOSSES

    tables = {"dpo": PREFERENCE_LOSSES, "cpo": CPO_LOSSES, "tpo": TPO_LOSSES, "reward": REWARD_LOSSES}
    for need in NEEDS:
        if need.other != "loss_type" or need.option in ("attributes", "ordinal_levels", "cpo_alpha"):
            continue
        (method,) = need.methods
        readers = {name for name, loss in tables[method].items() if need.option in signature(loss).parameters}
        assert readers == set(need.values) & set(tables[method]), need.option


@pytest.mark.parametrize(
    ("allowed", "inside", "outside", "words"),
    [
        (Range(above=0), [1e-9, 5], [0, -1], "above 0"),
        (Range(least=1, special=-1), [1, -1], [0, -2], "at least 1, or -1"),
        (Range(least=0, below=0.5), [0, 0.4], [0.5, -0.1], "at least 0 and below 0.5"),
        (Range(above=0, most=1), [1], [0, 1.1], "above 0 and at most 1"),
    ],
)
def test_ranges(allowed, inside, outside, words):
    assert all(map(allowed.holds, inside)) and not any(map(allowed.holds, outside)) and str(allowed) == words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-6, "1e-6"),
        (2.5e-5, "2.5e-5"),
        (0.0002, "2e-4"),
        (0.1, "0.1"),
        (True, "true"),
        (None, "null"),
        (["a"], "a"),
    ],
)
def test_values_are_spelled_as_in_yaml(value, text):
    assert spell(value) == text


def test_what_divides():
    assert divides(100, 500) and divides(0.1, 0.3) and not divides(200, 500) and not divides(500, 100)


def test_positions_are_found_in_configs(tmp_path):
    def wrote(folder, name, value):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(json.dumps(value))
        return tmp_path / folder

    base = wrote("base", "config.json", {"n_positions": 64})
    assert positions(base) == 64
    adapter = {"peft_type": "LORA", "base_model_name_or_path": str(base)}
    assert positions(wrote("a", "adapter_config.json", adapter)) == 64
    assert positions(wrote("v", "config.json", {"text_config": {"max_position_embeddings": 8}})) == 8
    assert positions(wrote("n", "config.json", {})) is None and positions("org/name") is None


# What replaces what


def of(where, **values):
    return {name: Setting(value, where) for name, value in values.items()}


def test_a_setting_above_replaces_its_rival_below():
    below = of("a.yaml:1", num_train_epochs="3", dataset_name="a", lora_r="8")
    assert set(overlaid(below, of("--x", max_steps="5"))) == {"max_steps", "dataset_name", "lora_r"}
    assert set(overlaid(below, of("--x", max_steps="-1"))) == {*below, "max_steps"}
    assert set(overlaid(below, of("--x", use_peft="false"))) == {
        "num_train_epochs",
        "dataset_name",
        "use_peft",
    }
    assert set(overlaid(below, of("--x", use_peft="true"))) == {*below, "use_peft"}


def test_flags_are_above_the_file_and_the_file_above_those_it_extends():
    own = of("base.yaml:4", num_train_epochs="3") | of("top.yaml:2", max_steps="5")
    assert set(layered({}, own, "top.yaml")) == {"max_steps"}
    own = of("top.yaml:2", max_steps="5") | of("--set sft.num_train_epochs", num_train_epochs="3")
    assert set(layered({}, own, "top.yaml")) == {"num_train_epochs"}
    assert set(layered(of("top.yaml:1", num_train_epochs="1"), {}, "top.yaml")) == {"num_train_epochs"}
