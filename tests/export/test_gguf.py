"""A GGUF file holds what was trained, and a wrong one is found out.

The converter here stands in for llama.cpp's, which is run where LLAMA_CPP names a folder of it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from transformers import AddedToken

from burnish.cli import main
from burnish.errors import UserError
from burnish.export.gguf import checked, export_gguf, find_converter
from burnish.export.gguf_verify import _compare_tokens
from burnish.export.verify import Verification
from tests.conftest import save_tiny_model, tiny_tokenizer
from tests.export.test_merge import add_adapter

pytest.importorskip("gguf")
CONVERTER = Path(__file__).parent / "converter.py"


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gguf")
    add_adapter(save_tiny_model(folder / "base"), folder / "lora")
    return folder / "lora"


def found(made) -> dict:
    return {check.name: check.ok for check in made.verification.checks}


@pytest.mark.parametrize(("quantization", "least", "most"), [("f32", 0, 1e-9), ("BF16", 1e-12, 1e-5)])
def test_an_adapter_as_gguf(adapter, tmp_path, quantization, least, most):
    made = export_gguf(
        str(adapter), str(tmp_path / "out"), quantization=quantization, llama_cpp=str(CONVERTER)
    )
    assert made.verification.passed, made.verification.checks
    assert (made.folder / f"lora-{quantization.upper()}.gguf").is_file()
    assert {"tokens", "chat template", "generation ends", "weights"} <= found(made).keys()
    assert made.verification.compared_by.startswith("logits of")
    kl = made.verification.differences["in all"].kl
    assert kl is not None and least <= abs(kl) < most


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("tensor", "weights"),
        ("template", "chat template"),
        ("tokens", "tokens"),
        ("control", "control tokens"),
        ("eos", "generation ends"),
    ],
)
def test_a_wrong_file_is_found_out(adapter, tmp_path, monkeypatch, fault, check):
    monkeypatch.setenv("BREAK", fault)
    made = export_gguf(str(adapter), str(tmp_path / "out"), quantization="f32", llama_cpp=str(CONVERTER))
    assert not made.verification.passed
    assert found(made)[check] is False
    assert (made.folder / "lora-F32.gguf").is_file()  # left there to look at


def test_tokens_that_were_added_and_normalized_are_the_same():
    """A tokenizer that puts a sign for a space before words has one before its added tokens too."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken("<tool>", normalized=True)])
    index = tokenizer.convert_tokens_to_ids("<tool>")
    own = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    file = {"tokenizer.ggml.tokens": [*own[:index], "<tool>"]}
    tokenizer.convert_ids_to_tokens = lambda ids: [*own[:index], "\u2581<tool>"]
    outcome = Verification("", "", "", "")
    _compare_tokens(outcome, file.get, tokenizer)
    file["tokenizer.ggml.tokens"][index] = "<other>"
    _compare_tokens(outcome, file.get, tokenizer)
    assert [check.ok for check in outcome.checks] == [True, False]


def test_ollama(adapter, tmp_path):
    made = export_gguf(
        str(adapter), str(tmp_path / "out"), quantization="q8_0", llama_cpp=str(CONVERTER), ollama=True
    )
    assert found(made)["Modelfile"] is True
    text = (made.folder / "Modelfile").read_text()
    assert text.startswith("FROM ./lora-Q8_0.gguf\n")
    assert "{{ .Content }}<|im_end|>" in text and 'PARAMETER stop "<|im_end|>"' in text


def test_what_is_missing_is_named(adapter, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("LLAMA_CPP", raising=False)
    assert main(["export", str(adapter), "--to", "gguf"]) == 2
    said = capsys.readouterr().err
    assert "convert_hf_to_gguf.py" in said and "git clone" in said and "LLAMA_CPP" in said
    with pytest.raises(UserError, match="is not there"):
        find_converter(str(tmp_path))
    with pytest.raises(UserError, match="Did you mean 'Q4_K_S'"):
        checked("q4_k_n")
    with pytest.raises(UserError, match="llama-quantize was not found"):
        export_gguf(str(adapter), None, quantization="q4_k_m", llama_cpp=str(CONVERTER))
    assert main(["export", str(adapter), "--to", "ollama", "--dtype", "bfloat16"]) == 2
    assert "say --quantization bfloat16" in capsys.readouterr().err


def test_a_converter_that_fails_is_quoted(adapter, tmp_path):
    broken = tmp_path / "convert_hf_to_gguf.py"
    broken.write_text("import a_package_that_is_not_there")
    with pytest.raises(UserError, match="No module named 'a_package_that_is_not_there'") as error:
        export_gguf(str(adapter), str(tmp_path / "out"), llama_cpp=str(tmp_path))
    assert error.value.fix.startswith("pip install a_package_that_is_not_there")
    assert not (tmp_path / "out").exists()


def test_a_reward_model_has_no_place(tmp_path):
    model = save_tiny_model(tmp_path / "reward", model_class="LlamaForSequenceClassification", num_labels=1)
    with pytest.raises(UserError, match="reward model"):
        export_gguf(str(model), None, llama_cpp=str(CONVERTER))


@pytest.mark.skipif("LLAMA_CPP" not in os.environ, reason="LLAMA_CPP names no folder of llama.cpp")
def test_the_real_converter(tmp_path):
    model = Path(os.environ["LLAMA_CPP_MODEL"])
    made = export_gguf(str(model), str(tmp_path / "out"), quantization="q8_0", ollama=True)
    assert made.verification.passed, made.verification.checks
