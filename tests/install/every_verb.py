"""Every verb's help and shortest real run, with the package that is installed: `python every_verb.py FOLDER`.

What `burnish demo --quick` leaves in FOLDER is the input of all others. One process runs them all, so that
torch is imported once; a verb that is missing here is an error. No test of what comes out, only that it does.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path

from burnish.cli import app, main
from burnish.pipeline.methods import METHODS

USER_ERROR = 2
QUESTION = {"prompt": "What is 2 + 2?"}
STEPS = {**QUESTION, "completions": ["2 + 2 is 4.", "So it is 5."], "labels": [True, False]}
ROWS = {
    "kto": [{**QUESTION, "completion": str(n), "label": n == 4} for n in range(2, 6)],
    "bco": [{**QUESTION, "completion": str(n), "label": n == 4} for n in range(2, 6)],
    "tpo": [{**QUESTION, "reference": "It is 4.", "chosen": "4", "rejected": "5"}] * 2,
    "prm": [STEPS, STEPS],
}
"""Rows of the methods that the demo has none for."""

TRAINER = {"output_dir": "trl", "per_device_train_batch_size": 4}


def main_check(folder: Path) -> int:
    commands = [["demo", "--quick", "--output_dir", str(folder)], *help_commands()]
    if failed := [words for words in commands if not works(words)]:
        return report(failed)
    os.chdir(folder)
    failed = [words for words in real_runs(folder) if not works(words)]
    failed += [] if works(["push", "runs/dpo", "nobody/nothing"], expected=USER_ERROR) else [["push"]]
    return report(failed)


def verbs() -> set[str]:
    return {command.name or command.callback.__name__ for command in app.registered_commands}


def help_commands() -> list[list[str]]:
    return [["--help"], ["--version"], *([verb, "--help"] for verb in sorted(verbs()))]


def real_runs(folder: Path) -> list[list[str]]:
    """The shortest real run of every verb, in the folder of the demo."""
    (folder / "trl.yaml").write_text(json.dumps(TRAINER))
    base, dpo = "base", "runs/dpo"
    others = [
        ["env"],
        ["inspect", "pairs.jsonl", "--model", base, "--html", "inspected.html"],
        ["init", "chats.jsonl", "pairs.jsonl", "--model", base, "--output", "own.yaml"],
        ["plan", "own.yaml"],
        ["run", "own.yaml", "--dry_run"],
        ["run", "pipeline.yaml", "--set", f"output_dir={folder}/runs"],
        ["explain", "beta"],
        ["schema", "dpo"],
        ["import", "trl.yaml", "--method", "sft"],
        ["compare", base, dpo, "--prompts", "held_out.jsonl#2", "--max_new_tokens", "4"],
        ["chat", dpo, "--max_new_tokens", "4"],
        ["evaluate-reward", "runs/reward", "held_out_pairs.jsonl", "--html", "reward.html"],
        ["report", "runs"],
        ["merge", "out/sft", "--output", "out/merged"],
        ["export", dpo, "--output", "out/exported"],
        ["card", dpo],
    ]
    runs = [*training_runs(base), *others]
    covered = {"demo", "push"} | {words[0] for words in runs}
    assert covered == verbs(), f"no run of {covered ^ verbs()}"
    return runs


def training_runs(base: str) -> list[list[str]]:
    """One step of every method, with an adapter."""
    runs = []
    for method in METHODS:
        data = Path("chats.jsonl" if method in ("sft", "gkd") else "pairs.jsonl")
        if method in ROWS:
            data = Path(f"{method}.jsonl")
            data.write_text("".join(json.dumps(row) + "\n" for row in ROWS[method]))
        words = [method, "--model_name_or_path", base, "--dataset_name", str(data), "--max_steps", "1"]
        words += ["--output_dir", f"out/{method}", "--use_peft", "--per_device_train_batch_size", "2"]
        runs.append(words + (["--teacher_model_name_or_path", base] if method == "gkd" else []))
    return runs


def works(words: list[str], expected: int = 0) -> bool:
    sys.stdin = io.StringIO("")  # nobody types
    begun = time.monotonic()
    print(f"\n$ burnish {' '.join(words)}", flush=True)
    try:
        code = main(list(words))
    except SystemExit as error:
        code = error.code
    print(f"[{code}, {time.monotonic() - begun:.1f} s]", flush=True)
    return code == expected


def report(failed: list[list[str]]) -> int:
    for words in failed:
        print(f"FAILED: burnish {' '.join(words)}")
    print(f"every verb: {'failed' if failed else 'passed'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main_check(Path(sys.argv[1]).resolve()))
