"""TRL's paths of methods: `from burnish.experimental.orpo import ORPOConfig, ORPOTrainer`.

The methods themselves are `burnish.ORPOTrainer` and its kin; no file stands behind these paths.
"""

from __future__ import annotations

import sys
from typing import Any

from burnish.trl.names import ABSENT_PATHS, EXPERIMENTAL, TrlPath, missing

__path__: list[str] = []  # a package, so that `import burnish.experimental.orpo` asks here

for _name in (*EXPERIMENTAL, *ABSENT_PATHS):
    _prefix = _name.upper()
    _found = [f"{_prefix}Config", f"{_prefix}Trainer"] if _name in EXPERIMENTAL else []
    sys.modules[f"{__name__}.{_name}"] = globals()[_name] = TrlPath(f"{__name__}.{_name}", _found)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise missing(__name__, name, EXPERIMENTAL)
