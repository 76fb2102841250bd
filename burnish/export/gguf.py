"""GGUF, the format of llama.cpp and Ollama, written by llama.cpp's own converter.

The converter comes with llama.cpp and knows every architecture; it is the person's own, and it is called as
they would call it. What it wrote is read back and compared (`gguf_verify.py`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from burnish.errors import UserError, nearest
from burnish.export.card import write_card
from burnish.export.export import Artefact, Say
from burnish.export.gguf_verify import verify_gguf
from burnish.export.merge import new_folder, require_free, save_whole
from burnish.export.modelfile import modelfile
from burnish.export.stack import Stack, load_whole

CONVERTER = "convert_hf_to_gguf.py"
QUANTIZER = "llama-quantize"
BY_CONVERTER = ("F32", "F16", "BF16", "Q8_0", "TQ1_0", "TQ2_0")
BY_QUANTIZER = (
    "Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_0 Q4_1 Q4_K_S Q4_K_M Q5_0 Q5_1 Q5_K_S Q5_K_M Q6_K IQ4_NL IQ4_XS".split()
)
GET_IT = (
    "git clone --depth 1 https://github.com/ggml-org/llama.cpp, then give its folder with --llama_cpp, or in "
    "the environment as LLAMA_CPP"
)


def export_gguf(
    model: str,
    output: str | None,
    *,
    quantization: str = "BF16",
    llama_cpp: str | None = None,
    ollama: bool = False,
    say: Say = bool,
) -> Artefact:
    """Convert a model, adapters merged in float32, to one GGUF file; with `ollama`, a Modelfile beside it.

    Raises `UserError` where there is no converter, it fails, or the model has no place in the format.
    """
    quantization = checked(quantization)
    converter = find_converter(llama_cpp)
    quantizer = find_quantizer(llama_cpp) if quantization in BY_QUANTIZER else None
    form = "ollama" if ollama else "gguf"
    folder = require_free(output or f"{model.rstrip('/')}-{form}")
    stack = Stack.of(model)
    if stack.task != "causal":
        raise UserError(
            "this is a reward model, and its head has no place in a GGUF file that llama.cpp would use",
            where=model,
            fix="export it with --to safetensors",
        )
    tokenizer = stack.tokenizer()
    name = f"{Path(model).absolute().name}-{quantization}.gguf"
    with new_folder(folder) as partial, tempfile.TemporaryDirectory(prefix="burnish-gguf-") as temporary:
        whole = Path(temporary) / Path(model).absolute().name
        say("merging")
        loaded = load_whole(stack, "float32")
        save_whole(loaded, tokenizer, whole)
        generation = loaded.generation_config
        del loaded
        say(f"converting by {converter}")
        outtype = "F32" if quantizer else quantization
        first = Path(temporary) / "whole.gguf" if quantizer else partial / name
        convert(converter, whole, first, outtype)
        if quantizer:
            say(f"quantizing by {quantizer}")
            _run([str(quantizer), str(first), str(partial / name), quantization], partial / name)
    say("reading it again, and comparing")
    verification = verify_gguf(stack, folder / name, quantization)
    if ollama:
        text = modelfile(name, tokenizer, generation, verification)
        (folder / "Modelfile").write_text(text, encoding="utf-8")
    verification.write(folder)
    write_card(folder)
    return Artefact(folder, form, verification)


def checked(quantization: str) -> str:
    """The name as llama.cpp writes it."""
    name, known = quantization.upper(), (*BY_CONVERTER, *BY_QUANTIZER)
    if name not in known:
        raise UserError(
            f"there is no quantization '{quantization}'.{nearest(name, known)}",
            where="--quantization",
            fix=f"choose one of {', '.join(known)}",
        )
    return name


def find_converter(given: str | None) -> Path:
    """`convert_hf_to_gguf.py`: where --llama_cpp says, else LLAMA_CPP, else on the PATH."""
    for place, source in ((given, "--llama_cpp"), (os.environ.get("LLAMA_CPP"), "LLAMA_CPP")):
        if place:
            path = Path(place).expanduser()
            found = path if path.is_file() else path / CONVERTER
            if not found.is_file():
                raise UserError(f"{CONVERTER} is not there", where=f"{source}={place}", fix=GET_IT)
            return found
    on_path = shutil.which(CONVERTER)
    if on_path is None:
        raise UserError(f"llama.cpp's converter, {CONVERTER}, was not found", where="--to gguf", fix=GET_IT)
    return Path(on_path)


def find_quantizer(given: str | None) -> Path:
    """`llama-quantize`, in the folder of llama.cpp or on the PATH."""
    for place in filter(None, (given, os.environ.get("LLAMA_CPP"))):
        folder = Path(place).expanduser()
        for inside in ("build/bin", "bin", "."):
            found = folder / inside / QUANTIZER
            if found.is_file():
                return found
    on_path = shutil.which(QUANTIZER)
    if on_path is None:
        raise UserError(
            f"the converter does not write this quantization, and {QUANTIZER} was not found",
            where="--quantization",
            fix=f"build llama.cpp (cmake -B build && cmake --build build --target {QUANTIZER}), or choose "
            f"one of {', '.join(BY_CONVERTER)}",
        )
    return Path(on_path)


def convert(converter: Path, model: Path, output: Path, outtype: str) -> None:
    """Call the converter as a person would."""
    command = [sys.executable, str(converter), str(model), "--outfile", str(output)]
    _run([*command, "--outtype", outtype.lower()], output)


def _run(command: list[str], output: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode == 0 and output.is_file():
        return
    said = [line for line in (done.stderr + done.stdout).strip().splitlines() if line.strip()]
    last = said[-1] if said else f"it ended with {done.returncode} and said nothing"
    missing = last.partition("No module named ")[2].strip("'\" ")
    fix = "llama.cpp may be older than the model: update it, and run the converter by hand to see all it says"
    if missing:
        fix = f"pip install {missing}: the converter needs it"
    raise UserError(f"the conversion failed: {last}", where=command[1] if len(command) > 1 else "", fix=fix)
