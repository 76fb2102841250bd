"""Named configurations of a dataset that lies in a folder here, and the one split of a file.

README.md with `configs:` in its front matter    as the hub has it: config_name, data_files or data_dir
folder/NAME/                                      a folder for every configuration
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from burnish.data.sources.files import is_pattern
from burnish.errors import UserError, nearest

DataFiles = str | Sequence[str] | Mapping[str, str | Sequence[str]]

SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "eval"),
    "test": ("test", "testing"),
}
"""How file names say which split they hold: `rows_val.jsonl`, `test-00000.parquet`."""


def split_of(path: Path) -> str:
    """The split that a file's name, or else its folder's, speaks of; `train` if none does."""
    for part in (path.stem, *reversed(path.parts[:-1])):
        words = re.split(r"[^a-z]+", part.lower())
        for split, names in SPLIT_WORDS.items():
            if any(word in names for word in words):
                return split
    return "train"


def check_split(place: str, files: Sequence[Path], split: str) -> None:
    """Refuse a split of a file, or of files by a pattern, that it is not. Raises `UserError`."""
    if split == "train" or (files and all(split == split_of(Path(path.name)) for path in files)):
        return
    raise UserError(
        f"no split '{split}': what is named as a file has no splits",
        where=place,
        fix="leave the split out, or name the file or the folder that has it",
    )


def in_config(place: str, config: str | None, data_files: DataFiles | None) -> tuple[str, DataFiles | None]:
    """Where the rows of a configuration are: the folder, and the files in it; None: all that it has.

    Names of the hub come back as they are. Raises `UserError` for a configuration that is not there.
    """
    folder = Path(place).expanduser()
    if not folder.is_dir():
        if config is not None and (data_files or folder.is_file() or is_pattern(place)):
            raise _no_config(config, place, [])
        return place, data_files
    if data_files is not None:
        return place, data_files
    known = _declared(folder)
    if config is None and (not known or "default" in known or len(known) == 1):
        config = "default" if "default" in known else next(iter(known), None)
    if config is None and known:
        raise UserError(
            f"the dataset has several configurations: {', '.join(known)}",
            where=place,
            fix="name one: dataset_config (name, among datasets)",
        )
    if config is None:
        return place, None
    if config in known:
        return _place_of(folder, known[config])
    if (folder / config).is_dir():
        return str(folder / config), None
    raise _no_config(
        config, place, [*known, *(each.name for each in sorted(folder.iterdir()) if each.is_dir())]
    )


def _no_config(config: str, place: str, known: list[str]) -> UserError:
    said = f"; there is {', '.join(known)}.{nearest(config, known)}" if known else ": it has none"
    return UserError(
        f"no configuration '{config}'{said}",
        where=place,
        fix="leave dataset_config out, or name one that is there",
    )


def _declared(folder: Path) -> dict[str, Mapping[str, Any]]:
    """The configurations that the front matter of the folder's README names."""
    readme = folder / "README.md"
    if not readme.is_file():
        return {}
    found = re.match(
        r"---\s*\n(.*?)\n---\s*(?:\n|$)", readme.read_text(encoding="utf-8", errors="replace"), re.S
    )
    try:
        matter = yaml.safe_load(found[1]) if found else {}
    except yaml.YAMLError:
        return {}
    configs = matter.get("configs") if isinstance(matter, Mapping) else None
    listed = [each for each in configs or [] if isinstance(each, Mapping) and "config_name" in each]
    return {str(each["config_name"]): each for each in listed}


def _place_of(folder: Path, config: Mapping[str, Any]) -> tuple[str, DataFiles | None]:
    place = str(folder / str(config.get("data_dir", "")))
    files = config.get("data_files")
    if (
        isinstance(files, Sequence)
        and not isinstance(files, str)
        and all(isinstance(f, Mapping) for f in files)
    ):
        return place, {str(each["split"]): each["path"] for each in files}
    return place, files
