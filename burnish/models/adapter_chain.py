"""What the folder of an adapter says: the model it stands on, through other adapters, and how it was loaded.

    runs/dpo (adapter) -> runs/sft (adapter) -> SmolLM2-135M (weights)

An adapter is found in a folder, or by its name on the hub (offline: in its cache).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.errors import UserError

ADAPTER = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
RECORD = "trained_on.json"
"""Beside an adapter, where its base was quantized: {"quantization": the config that it was loaded with}."""


@dataclass(frozen=True)
class AdapterChain:
    """A model's `base`, and the folders of the `adapters` on it, the lowest first; none for a whole model.

    `settings` is the topmost adapter's config, `revision` the base's. `quantization` is what the base was
    quantized by while the lowest adapter was trained; None: it was not, or nobody says.
    """

    name: str
    base: str
    revision: str | None = None
    adapters: tuple[Path, ...] = ()
    settings: Mapping[str, Any] | None = None
    quantization: Mapping[str, Any] | None = None

    @property
    def task_type(self) -> str | None:
        """PEFT's name of the topmost adapter's task."""
        return (self.settings or {}).get("task_type")

    @property
    def labels(self) -> int | None:
        """How many labels the head has that was trained with the topmost adapter; None without a head."""
        shapes = adapter_shapes(self.adapters[-1]) if self.adapters else {}
        ends = ("score.weight", "classifier.weight")
        return next((shape[0] for name, shape in shapes.items() if name.endswith(ends)), None)


def chain_of(name: str | Path, **hub: Any) -> AdapterChain:
    """Follow the adapters of a folder down to the base; `hub` are options of the hub, such as `revision`.

    Raises `UserError` where an adapter's config cannot be read, or the adapters lead in a circle.
    """
    place, adapters, revision = str(name), list[Path](), None
    top: dict[str, Any] | None = None
    quantization = None
    while (folder := adapter_folder(place, **(hub if top is None else {}))) is not None:
        if folder in adapters:
            raise UserError(
                "this adapter stands on itself", where=str(folder / ADAPTER), fix="name its base in it"
            )
        adapters.insert(0, folder)
        found = read_settings(folder)
        top, revision = top or found, found.get("revision")
        quantization = _quantization(folder)
        place = base_beside(found, folder)
    return AdapterChain(str(name), place, revision, tuple(adapters), top, quantization)


def adapter_folder(name: str, **hub: Any) -> Path | None:
    """The folder of the adapter of that name: itself, or one in the hub's cache; None for what is none."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder if (folder / ADAPTER).is_file() else None
    if folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        return None
    from transformers.utils import cached_file

    from burnish.models.hub import hub_within_reach

    options = {key: hub[key] for key in ("revision", "token", "cache_dir") if hub.get(key) is not None}
    options |= {f"_raise_exceptions_for_{kind}": False for kind in ("missing_entries", "connection_errors")}
    try:
        with hub_within_reach(name):
            config = cached_file(name, ADAPTER, _raise_exceptions_for_gated_repo=False, **options)
            if config is not None:
                cached_file(name, WEIGHTS, **options)
    except (OSError, ValueError):  # no such name there: loading it as a model says so better
        return None
    return Path(config).parent if config is not None else None


def read_settings(folder: Path) -> dict[str, Any]:
    """An adapter's config. Raises `UserError` where it is none, or names no base or no kind of adapter."""
    path = folder / ADAPTER
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"the adapter's config cannot be read ({error})", where=str(path), fix="write or copy it again"
        ) from error
    if not isinstance(found, dict) or not isinstance(found.get("peft_type"), str):
        raise UserError(
            "this is no config of an adapter: it names no peft_type",
            where=str(path),
            fix="give the folder that training wrote, as PEFT's save_pretrained writes it",
        )
    base = found.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise UserError(
            "the adapter does not say which model it is for",
            where=str(path),
            fix="add base_model_name_or_path",
        )
    return found


def adapter_shapes(folder: Path) -> dict[str, list[int]]:
    """The shapes of the tensors in an adapter's file, read from its header alone. Raises `UserError`."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise UserError(
            "the adapter's weights are missing",
            where=str(path),
            fix="give the folder that training wrote; weights in .bin files are not read",
        )
    header = safetensors_header(path)
    return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}


def safetensors_header(path: Path) -> dict[str, Any]:
    """What a file of safetensors says of its tensors. Raises `UserError` for another file, or a cut one."""
    with path.open("rb") as file:
        start = file.read(512)
        if start.startswith(b"version https://git-lfs"):
            what, fix = "a pointer of Git LFS in place of the weights", "run `git lfs pull` in its repository"
        elif start.lstrip()[:1] == b"<":
            what, fix = "a web page in place of the weights", "download the file again"
        elif not start:
            what, fix = "the file is empty", "copy or download it again"
        else:
            what, fix = "the file is damaged, or no safetensors", "copy or download it again"
            header = _header(file, start, path.stat().st_size)
            if header is not None:
                end = max(
                    (entry["data_offsets"][1] for entry in header.values() if "data_offsets" in entry),
                    default=0,
                )
                size = path.stat().st_size - 8 - struct.unpack("<Q", start[:8])[0]
                if size >= end:
                    return header
                what = f"the file is cut off: {size:,} bytes of weights, and {end:,} were written"
    raise UserError(what, where=str(path), fix=fix)


def _header(file: Any, start: bytes, size: int) -> dict[str, Any] | None:
    if len(start) < 8:
        return None
    (length,) = struct.unpack("<Q", start[:8])
    if length > size - 8:
        return None
    file.seek(8)
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError):
        return None
    entries = (
        [entry for name, entry in header.items() if name != "__metadata__"]
        if isinstance(header, dict)
        else [None]
    )
    return header if all(isinstance(entry, dict) and "data_offsets" in entry for entry in entries) else None


def write_record(folder: str | Path, quantization: Mapping[str, Any] | None) -> None:
    """Keep beside an adapter what its base was quantized by; nothing for a base that was not."""
    path = Path(folder) / RECORD
    if quantization is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(json.dumps({"quantization": dict(quantization)}, indent=2) + "\n", encoding="utf-8")


def quantization_of(model: Any) -> dict[str, Any] | None:
    """The config that a loaded model's weights were quantized by; None where they are plain."""
    found = getattr(model.config, "quantization_config", None)
    return None if found is None else dict(found if isinstance(found, Mapping) else found.to_dict())


def _quantization(folder: Path) -> dict[str, Any] | None:
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))["quantization"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            "what the adapter's base was quantized by cannot be read",
            where=str(path),
            fix="copy it again from the run; without the file the base counts as not quantized",
        ) from error


def base_beside(settings: Mapping[str, Any], folder: Path) -> str:
    """The base by its name, or the folder of that name beside the adapter's files."""
    name = settings["base_model_name_or_path"]
    beside = folder / name
    return str(beside) if not Path(name).expanduser().is_dir() and beside.is_dir() else name
