"""A trained model in the form that someone needs, loaded again and compared before it is called done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.errors import UserError, nearest
from burnish.export.card import write_card
from burnish.export.merge import merge_adapter, new_folder, require_free, save_whole
from burnish.export.stack import Stack, dtype_named, load_whole
from burnish.export.verify import Verification, verify

FORMS = ("safetensors", "gguf", "ollama")
Say = Callable[[str], Any]


@dataclass(frozen=True)
class Artefact:
    """A folder that was written, and what came of comparing it."""

    folder: Path
    form: str
    verification: Verification

    @property
    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path.is_file())

    def to_dict(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "form": self.form,
            "bytes": sum(path.stat().st_size for path in self.files),
            "files": {path.name: path.stat().st_size for path in self.files},
            **self.verification.to_dict(),
        }


def merge(adapter: str, output: str | None, dtype: str | None, say: Say = bool) -> Artefact:
    """`burnish merge`: the adapter and its base in one folder, compared with the two apart."""
    folder = require_free(output or f"{adapter.rstrip('/')}-merged")
    say("merging")
    merge_adapter(adapter, folder, dtype)
    return _compared(Stack.of(adapter), folder, "safetensors", say)


def export_safetensors(model: str, output: str | None, dtype: str | None, say: Say = bool) -> Artefact:
    """The whole model in a folder that Transformers, vLLM and others load.

    Stored in `dtype`; None: as a full model is stored, or as an adapter's base is.
    """
    if dtype is not None:
        dtype_named(dtype)
    folder = require_free(output or f"{model.rstrip('/')}-safetensors")
    stack = Stack.of(model)
    say("loading")
    with new_folder(folder) as partial:
        save_whole(load_whole(stack, dtype), stack.tokenizer(), partial)
    return _compared(stack, folder, "safetensors", say)


def _compared(stack: Stack, folder: Path, form: str, say: Say) -> Artefact:
    say("loading it again, and comparing")
    verification = verify(stack, folder)
    verification.write(folder)
    write_card(folder)
    return Artefact(folder, form, verification)


def check_form(form: str) -> None:
    if form not in FORMS:
        raise UserError(
            f"there is no form '{form}'.{nearest(form, FORMS)}",
            where="--to",
            fix=f"choose one of {', '.join(FORMS)}",
        )
