"""What a GGUF file says, read back and compared with what was trained.

Where llama-cpp-python is installed, the file is run by llama.cpp itself. Else its tensors are read and run by
Transformers, where it knows the architecture; else nothing was run, and the outcome says so.
"""

from __future__ import annotations

import copy
import importlib.util
import io
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.errors import require_package
from burnish.export.probe import Reading, read, rendered_chats
from burnish.export.stack import Stack
from burnish.export.verify import Verification, compare_rendered, difference, in_words
from burnish.models.merged import merged

MOST_KL = {"F32": 1e-5, "F16": 1e-3, "BF16": 1e-2, "Q8_0": 2e-2}
"""The largest mean KL a token (nats) that rounding to these may cause; others are reported only."""
MOST_ERROR = {"F32": 1e-6, "F16": 1e-3, "BF16": 4e-3, "Q8_0": 1e-2}
"""The largest error of a tensor, relative to its size (root mean squares)."""
ORDINARY = (1, 6)
"""Kinds of tokens in a GGUF file that texts are made of: normal ones and bytes."""


def verify_gguf(stack: Stack, path: Path, quantization: str) -> Verification:
    """Compare tokens, template, end tokens, weights and log-probabilities. Nothing is changed or removed."""
    outcome = Verification(stack.folder, str(path.parent), quantization, "its metadata alone")
    tokenizer = stack.tokenizer()
    fields = _fields(outcome, path)
    if fields is None:
        return outcome
    if stack.base_in_words:
        outcome.add("base", None, stack.base_in_words)
    _compare_tokens(outcome, fields, tokenizer)
    _compare_kinds(outcome, fields, tokenizer)
    _compare_template(outcome, fields, tokenizer)
    _compare_end(outcome, fields, tokenizer)
    whole = merged(stack.load())
    trained = read(whole, tokenizer, "causal")
    weights = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    del whole
    if importlib.util.find_spec("llama_cpp") is not None:
        _run_by_llama_cpp(outcome, path, trained, quantization)
    _run_by_transformers(outcome, path, weights, trained, quantization)
    return outcome


def _fields(outcome: Verification, path: Path) -> Any:
    """A function from the name of a metadata field to its value; None where the file cannot be read."""
    require_package("gguf", "gguf", "comparing a GGUF file", where=str(path))
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
    except Exception as error:  # a damaged file may raise anything
        outcome.add("reads", False, f"it cannot be read ({type(error).__name__}: {error})")
        return None
    return lambda name: field.contents() if (field := reader.get_field(name)) is not None else None


def _compare_tokens(outcome: Verification, fields: Callable, tokenizer: Any) -> None:
    found = fields("tokenizer.ggml.tokens") or []
    own = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    added = {index: str(token) for index, token in tokenizer.added_tokens_decoder.items()}
    other = [
        index
        for index, token in enumerate(own)
        if token is not None
        and (
            index >= len(found)
            or _plain(found[index]) not in (_plain(token), _plain(added.get(index, token)))
        )
    ]
    what = f"{len(found):,} for the {len(own):,} of the tokenizer"
    if other:
        index = other[0]
        there = repr(found[index]) if index < len(found) else "nothing"
        what += f"; {len(other)} differ, the first is {index}: {there}, not {own[index]!r}"
    outcome.add("tokens", not other, what)


def _compare_kinds(outcome: Verification, fields: Callable, tokenizer: Any) -> None:
    """Whether control tokens are that in the file too, else llama.cpp reads them as the letters of a text.

    Compared are those that the tokenizer has a use for, or its chat template writes.
    """
    kinds = fields("tokenizer.ggml.token_type") or []
    template, used = str(tokenizer.chat_template or ""), set(tokenizer.all_special_ids)
    special = {
        index: str(token)
        for index, token in tokenizer.added_tokens_decoder.items()
        if token.special and (index in used or str(token) in template)
    }
    ordinary = [name for index, name in special.items() if index >= len(kinds) or kinds[index] in ORDINARY]
    if ordinary:
        names = ", ".join(ordinary[:3]) + " ..." * (len(ordinary) > 3)
        what = f"{len(ordinary)} of {len(special)} are ordinary text in the file: {names}"
        outcome.add("control tokens", False, what)
    else:
        outcome.add("control tokens", True, f"{len(special)} are control tokens in the file too")


def _plain(token: str) -> str:
    return token.replace("\u2581", " ")  # the converter writes the sign for a space as one in added tokens


def _compare_template(outcome: Verification, fields: Callable, tokenizer: Any) -> None:
    found = fields("tokenizer.chat_template")
    if tokenizer.chat_template is None:
        outcome.add("chat template", None if found is None else False, "there is none to compare with")
        return
    other = copy.deepcopy(tokenizer)
    other.chat_template = found
    compare_rendered(outcome, rendered_chats(tokenizer), rendered_chats(other))


def _compare_end(outcome: Verification, fields: Callable, tokenizer: Any) -> None:
    end, own = fields("tokenizer.ggml.eos_token_id"), tokenizer.eos_token_id
    ends = [end, fields("tokenizer.ggml.eot_token_id")]
    name = tokenizer.convert_ids_to_tokens(int(end)) if end is not None else "nothing"
    outcome.add(
        "generation ends", own is None or own in ends, f"at {name}, and training at {tokenizer.eos_token}"
    )


def _run_by_llama_cpp(outcome: Verification, path: Path, trained: Reading, quantization: str) -> None:
    import numpy
    from llama_cpp import Llama

    outputs = []
    try:
        model = Llama(str(path), n_ctx=512, n_batch=512, logits_all=True, verbose=False)
        for ids in trained.ids:
            model.reset()
            model.eval(ids)
            scores = torch.from_numpy(numpy.array(model.scores[: len(ids)]))
            outputs.append(scores.float().log_softmax(-1))
    except Exception as error:  # an older llama.cpp than the file, for one
        outcome.add("run by llama.cpp", None, f"it could not be run ({type(error).__name__}: {error})")
        return
    rows = trained.outputs[0].shape[1]
    reading = Reading(trained.ids, [output[:, :rows] for output in outputs])
    outcome.compared_by = "logits of llama.cpp"
    _compare_readings(outcome, "run by llama.cpp", trained, reading, quantization)


def _run_by_transformers(
    outcome: Verification, path: Path, weights: dict[str, Tensor], trained: Reading, quantization: str
) -> None:
    """Dequantize the file's tensors into the model that Transformers makes of its metadata."""
    from transformers import AutoModelForCausalLM

    ran = outcome.compared_by != "its metadata alone"
    try:
        with redirect_stderr(io.StringIO()):  # a bar that cannot be switched off
            model: Any = AutoModelForCausalLM.from_pretrained(
                str(path.parent), gguf_file=path.name, dtype=torch.float32
            ).eval()
    except Exception as error:  # what it cannot read it says in many ways
        what = f"Transformers cannot read this one ({str(error).strip().splitlines()[0][:160]})"
        further = "" if ran else "; weights were not compared: install llama-cpp-python to have it run"
        outcome.add("weights", None, what + further)
        return
    _compare_weights(outcome, weights, model.state_dict(), quantization)
    if ran:
        return
    outcome.compared_by = "logits of its tensors, dequantized and run by Transformers"
    with torch.no_grad():
        outputs = [model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1) for ids in trained.ids]
    rows = trained.outputs[0].shape[1]
    reading = Reading(trained.ids, [output[:, :rows] for output in outputs])
    _compare_readings(outcome, "run by Transformers", trained, reading, quantization)


def _compare_weights(
    outcome: Verification, expected: dict[str, Tensor], found: dict[str, Tensor], quantization: str
) -> None:
    """Every tensor by its error relative to its own size."""
    errors = {}
    for name, tensor in expected.items():
        other = found.get(name)
        if other is None or other.shape != tensor.shape:
            outcome.add("weights", False, f"{name} is missing or has another shape")
            return
        size = float(tensor.float().pow(2).mean().sqrt()) or 1.0
        errors[name] = float((tensor.float() - other.float()).pow(2).mean().sqrt()) / size
    worst = max(errors, key=lambda name: errors[name])
    most = MOST_ERROR.get(quantization)
    what = f"{len(errors)} tensors, read back; the largest relative error is {errors[worst]:.2g} ({worst})"
    outcome.add("weights", None if most is None else errors[worst] <= most, what)


def _compare_readings(
    outcome: Verification, name: str, trained: Reading, reading: Reading, quantization: str
) -> None:
    found = difference(trained, reading, causal=True)
    outcome.differences["in all"] = found
    most = MOST_KL.get(quantization)
    ok = None if most is None else found.kl is not None and found.kl <= most
    outcome.add(name, ok, f"{quantization}, against what was trained in float32: {in_words(found)}")
