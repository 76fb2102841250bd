"""Models are found, named and told apart before one of them is loaded."""

import shutil

import pytest
import torch

from burnish.comparison.candidate import candidates, distinct_names, find
from burnish.errors import UserError


def test_names_tell_paths_apart():
    assert distinct_names(["runs/sft", "runs/dpo"]) == ["sft", "dpo"]
    assert distinct_names(["a/sft", "b/sft"]) == ["a/sft", "b/sft"]
    assert distinct_names(["a/sft", "a/sft"]) == ["a/sft (1)", "a/sft (2)"]
    assert distinct_names(["HuggingFaceTB/SmolLM2", "runs/sft/"]) == ["SmolLM2", "sft"]


def test_the_content_is_that_of_the_files_and_of_the_base(place, tmp_path):
    one = find("one", str(place / "one"))
    shutil.copytree(place / "one", tmp_path / "copy")
    assert find("copy", str(tmp_path / "copy")).content == one.content
    (tmp_path / "copy" / "run.json").write_text("{}")
    assert find("copy", str(tmp_path / "copy")).content == one.content
    (tmp_path / "copy" / "chat_template.jinja").write_text("{{ messages }}")
    assert find("copy", str(tmp_path / "copy")).content != one.content
    assert find("adapter", str(place / "adapter")).content not in (None, one.content)


def test_an_adapter_is_merged_into_its_base(place):
    one, adapter = candidates([place / "one", place / "adapter"])
    with one.loaded() as base, adapter.loaded() as merged:
        name = "model.layers.0.self_attn.q_proj.weight"
        assert type(base) is type(merged)
        assert not torch.equal(base.get_parameter(name), merged.get_parameter(name))
        assert not base.training and not any(p.requires_grad for p in merged.parameters())


def test_what_is_no_model_is_told_at_once(place, monkeypatch):
    with pytest.raises(UserError, match="Did you mean 'adapter'"):
        find("x", str(place / "adaptor"))
    with pytest.raises(UserError, match="a reward model"):
        find("x", str(place / "reward"))
    with pytest.raises(UserError, match="no such folder, and no model of that name on the hub"):
        find("x", "nobody/nothing")
    with pytest.raises(UserError, match="no model can be read"):
        find("x", str(place))


def test_a_hub_out_of_reach_is_not_asked_again_and_again(monkeypatch):
    from huggingface_hub import constants

    from burnish.models import hub

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    hub.reachable.cache_clear()
    with hub.hub_within_reach("nobody/nothing"):
        assert constants.HF_HUB_OFFLINE is True
    assert constants.HF_HUB_OFFLINE is False
    hub.reachable.cache_clear()
