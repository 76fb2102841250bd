"""One preparation of rows by one library in a process of its own, for `benchmarks.data`.

    python -m benchmarks._preparation SPEC.json RESULT.json

Loading the file and preparing its rows are timed apart; imports, the tokenizer and the model that TRL's
trainer asks for are outside. Memory is anonymous memory (`RssAnon` of /proc/self/status, sampled every
10 ms): pages of mapped files are the kernel's to take back, and are not counted.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FAMILIES = {"sft": "LANGUAGE", "dpo": "PREFERENCE"}
PREFIX = {"sft": "SFT", "dpo": "DPO"}


@dataclass(frozen=True)
class Spec:
    """What to prepare, and how."""

    library: str  # burnish or trl
    method: str
    rows: str  # a JSON-lines file
    model: str  # the folder of the tokenizer
    max_length: int | None = None
    num_proc: int | None = None
    digests: str = ""  # where digests of the token ids are written; empty: nowhere


@dataclass
class Result:
    rows: int = 0
    kept: int = 0
    load_seconds: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0  # child processes included
    peak_bytes: int = 0  # of anonymous memory, above what there was before loading
    tokens: int = 0  # of all branches, each with its prompt; counted where digests are written


def run(spec: Spec) -> Result:
    result = Result()
    prepare = {"burnish": prepare_here, "trl": prepare_in_trl}[spec.library]
    dataset = prepare(spec, result)
    result.kept = len(dataset)
    if spec.digests:
        result.tokens = write_digests(spec, dataset)
    return result


def loaded(result: Result, load: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    dataset = load()
    result.load_seconds = time.perf_counter() - start
    result.rows = len(dataset)
    return dataset


def timed(result: Result, prepare: Callable[[], Any]) -> Any:
    wall, before = time.perf_counter(), os.times()
    prepared = prepare()
    after = os.times()
    result.seconds = time.perf_counter() - wall
    result.cpu_seconds = sum(after[:4]) - sum(before[:4])
    return prepared


def prepare_here(spec: Spec, result: Result) -> Any:
    from transformers import AutoTokenizer

    from burnish.data.preparation.options import PreparationOptions
    from burnish.data.preparation.prepare import prepare
    from burnish.data.reading import formats
    from burnish.data.sources.source import load_source

    tokenizer = AutoTokenizer.from_pretrained(spec.model)
    family = getattr(formats, FAMILIES[spec.method])
    options = PreparationOptions(max_length=spec.max_length, num_proc=spec.num_proc)
    with Peak(result):
        dataset = loaded(result, lambda: load_source(spec.rows))
        return timed(result, lambda: prepare(dataset, family, tokenizer, options)).dataset


def prepare_in_trl(spec: Spec, result: Result) -> Any:
    """Through a trainer, as its users do it, of a model that is next to nothing; only preparation counts."""
    import trl
    from datasets import load_dataset
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(spec.model)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = LlamaConfig(vocab_size=len(tokenizer), **sizes)
    trainer_class = getattr(trl, f"{PREFIX[spec.method]}Trainer")
    ordinary = trainer_class._prepare_dataset
    trainer_class._prepare_dataset = lambda *given: timed(result, lambda: ordinary(*given))
    with tempfile.TemporaryDirectory() as output, Peak(result):
        dataset = loaded(result, lambda: load_dataset("json", data_files=spec.rows, split="train"))
        args = getattr(trl, f"{PREFIX[spec.method]}Config")(
            output_dir=output,
            max_length=spec.max_length,
            dataset_num_proc=spec.num_proc,
            use_cpu=True,
            report_to="none",
        )
        LlamaForCausalLM(config).save_pretrained(output)  # DPO loads it twice
        trainer = trainer_class(output, args=args, train_dataset=dataset, processing_class=tokenizer)
    return trainer.train_dataset


# The same token ids


def write_digests(spec: Spec, dataset: Any) -> int:
    """A digest of every row's token ids, by the number of the row; returns how many tokens there are."""
    digests, tokens = {}, 0
    for row in dataset:
        branches = list(branches_of(spec, row))
        tokens += sum(map(len, branches))
        number = row["row"] if spec.library == "burnish" else row["id"]
        digests[number] = hashlib.blake2b(repr(branches).encode(), digest_size=8).hexdigest()
    Path(spec.digests).write_text(json.dumps(digests), encoding="utf-8")
    return tokens


def branches_of(spec: Spec, row: dict[str, Any]) -> Iterator[list[int]]:
    """The token ids of each completion with its prompt."""
    if spec.library == "burnish":
        for completion in row["completion_ids"]:
            yield row["prompt_ids"] + completion
    elif spec.method == "sft":
        yield row["input_ids"]
    else:
        for name in ("chosen_ids", "rejected_ids"):
            yield row["prompt_ids"] + row[name]


# Memory


class Peak:
    """The most anonymous memory of this process while in the context, above what it began with."""

    def __init__(self, result: Result, every: float = 0.01) -> None:
        self.result, self.every, self.stopped = result, every, threading.Event()
        self.sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> None:
        self.before = anonymous_bytes()
        self.sampler.start()

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.sampler.join()

    def _sample(self) -> None:
        while not self.stopped.wait(self.every):
            self.result.peak_bytes = max(self.result.peak_bytes, anonymous_bytes() - self.before)


def anonymous_bytes() -> int:
    """Linux only; 0 elsewhere."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


if __name__ == "__main__":
    spec_file, result_file = sys.argv[1:]
    found = run(Spec(**json.loads(Path(spec_file).read_text(encoding="utf-8"))))
    Path(result_file).write_text(json.dumps(asdict(found)), encoding="utf-8")
