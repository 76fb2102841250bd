"""The scripts of `tests/trl/scripts` in TRL and here: do they run, and what is the loss of the first step?

    python -m benchmarks.trl_scripts [NAME ...]

A line for each script and library: seconds, and the first loss, or the error.
"""

from __future__ import annotations

import runpy
import sys
import tempfile
import time
from pathlib import Path

SCRIPTS = Path(__file__).parents[1] / "tests" / "trl" / "scripts"


def run(script: Path, library: str, model: str, folder: Path) -> str:
    """Seconds and the first loss, or the error."""
    path = folder / f"{library}_{script.name}"
    path.write_text(script.read_text(encoding="utf-8").replace("from trl", f"from {library}"))
    sys.argv = [str(path), model, str(folder / library / script.stem)]
    started = time.perf_counter()
    try:
        logged = runpy.run_path(str(path), run_name="__main__")["logged"]
        result = f"{next(entry['loss'] for entry in logged if 'loss' in entry):.4f}"
    except Exception as error:  # whatever a script ends in is its result
        result = f"{type(error).__name__}: {error}".splitlines()[0][:100]
    return f"{time.perf_counter() - started:5.1f} s  {result}"


def main(names: list[str]) -> None:
    from tests.conftest import save_tiny_model

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = str(save_tiny_model(folder / "model"))
        for script in sorted(SCRIPTS.glob("*.py")):
            if not names or script.stem in names:
                for library in ("trl", "burnish"):
                    found = run(script, library, model, folder)
                    print(f"{script.stem:<26}{library:<9}{found}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
