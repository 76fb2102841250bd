"""The Modelfile of Ollama, from the model's own chat template, end tokens and generation settings."""

from __future__ import annotations

from typing import Any

from burnish.errors import UserError
from burnish.export.turns import Turns, turns_of
from burnish.export.verify import Verification

SAMPLING = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}
"""Settings of a generation config, and what Ollama calls them."""
GO_ON = (
    "the Modelfile has no TEMPLATE: Ollama guesses one by the GGUF file's, which may be another. Write one "
    "by hand (https://docs.ollama.com/modelfile), and compare `ollama run` with `burnish chat`"
)


def modelfile(gguf: str, tokenizer: Any, generation: Any, outcome: Verification) -> str:
    """The text of a Modelfile for a GGUF file beside it.

    Adds to `outcome` whether its template says what the model's own says.
    """
    lines = [f"FROM ./{gguf}"]
    turns = _turns(tokenizer, outcome)
    if turns is not None:
        lines.append(f'TEMPLATE """{turns.go()}"""')
        if turns.default is not None:
            lines.append(f'SYSTEM """{turns.default}"""')
    lines += [f'PARAMETER stop "{_quoted(stop)}"' for stop in stops(tokenizer, generation, turns)]
    if getattr(generation, "do_sample", False):
        for name, ollama in SAMPLING.items():
            value = getattr(generation, name, None)
            if value is not None:
                lines.append(f"PARAMETER {ollama} {value:g}")
    return "\n\n".join(lines) + "\n"


def stops(tokenizer: Any, generation: Any, turns: Turns | None) -> list[str]:
    """The texts that end an answer: end tokens, and what the template writes after a turn."""
    ends = getattr(generation, "eos_token_id", None)
    ends = ends if isinstance(ends, list) else [ends]
    found = [tokenizer.eos_token, *(tokenizer.convert_ids_to_tokens(end) for end in ends if end is not None)]
    if turns is not None:
        found.append(turns.assistant[1].strip())
    return list(dict.fromkeys(stop for stop in found if stop))


def _turns(tokenizer: Any, outcome: Verification) -> Turns | None:
    if tokenizer.chat_template is None:
        outcome.add("Modelfile", None, "the model has no chat template, so it has no TEMPLATE")
        return None
    try:
        turns = turns_of(tokenizer)
    except UserError as error:
        outcome.add("Modelfile", False, f"{error.what}; {GO_ON}")
        return None
    without = "" if turns.system is not None else "; it takes no system prompt"
    what = f"its template renders chats as the model's own ({turns.family}){without}; tools are not in it"
    outcome.add("Modelfile", True, what)
    return turns


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
