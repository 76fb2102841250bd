"""The scripts of `tests/trl/scripts` in TRL and here: do they run, and what is the loss of the first step?

    python -m benchmarks.trl_scripts [NAME ...]

A line for each script: seconds, the first loss of both, and the error where one ends in an error.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPTS = Path(__file__).parents[1] / "tests" / "trl" / "scripts"
LAST = "\nprint('FIRST', next(entry['loss'] for entry in logged if 'loss' in entry))\n"


def run(script: Path, library: str, model: str, folder: Path) -> str:
    """The first loss, or the last line of the error."""
    path = folder / f"{library}_{script.name}"
    path.write_text(script.read_text(encoding="utf-8").replace("from trl", f"from {library}") + LAST)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(path), model, str(folder / library / script.stem)],
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        return f"{seconds:5.1f} s  {done.stderr.strip().splitlines()[-1][:100]}"
    return f"{seconds:5.1f} s  {done.stdout.rpartition('FIRST')[2].strip()}"


def main(names: list[str]) -> None:
    from tests.conftest import save_tiny_model

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = str(save_tiny_model(folder / "model"))
        for script in sorted(SCRIPTS.glob("*.py")):
            if not names or script.stem in names:
                for library in ("trl", "burnish"):
                    print(f"{script.stem:<26}{library:<9}{run(script, library, model, folder)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
