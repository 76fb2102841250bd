"""A chat template as its pieces: what stands before and after each role's words.

    <|im_start|>user\\n  Why?  <|im_end|>\\n  <|im_start|>assistant\\n  So.  <|im_end|>\\n

Many templates are no more than that. The pieces are found by rendering placeholders; whether they are all
there is to it is found by rendering conversations both ways. They can then be written in another template
language, as that of Ollama.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from burnish.data.text.encode import common_prefix
from burnish.errors import UserError, shorten

SYSTEM, ASKED, SAID, NEXT = "Ⓢ0Ⓢ", "Ⓤ1Ⓤ", "Ⓐ1Ⓐ", "Ⓤ2Ⓤ"
FAMILIES = {
    "<|im_start|>": "ChatML",
    "<|start_header_id|>": "Llama 3",
    "<start_of_turn>": "Gemma",
    "[INST]": "Mistral or Llama 2",
    "<|user|>": "Phi or Zephyr",
    "<|start_of_role|>": "Granite",
    "<|START_OF_TURN_TOKEN|>": "Command",
}
Chat = list[dict[str, str]]


@dataclass(frozen=True)
class Turns:
    """Pieces are (before, after) what a role says; `opening` is what generation begins after.

    `start` stands before everything where there is no system prompt; `default` is one that the template then
    writes by itself. `system` are the pieces around a system prompt, None where the template takes none; it
    stands at the beginning, or inside the turn of the "first" or the "last" user (`inside`), and then `told`
    stands at the beginning instead of `start`.
    """

    user: tuple[str, str]
    assistant: tuple[str, str]
    system: tuple[str, str] | None
    opening: str
    start: str = ""
    told: str = ""
    default: str | None = None
    inside: str = ""

    @property
    def family(self) -> str:
        return next((name for sign, name in FAMILIES.items() if sign in self.user[0]), "no known family")

    def render(self, chat: Chat) -> str:
        """A chat with the opening of the answer; a system prompt may be its first message."""
        said = chat[0]["content"] if chat[0]["role"] == "system" else self.default
        turns = [message for message in chat if message["role"] != "system"]
        prompt = "" if said is None or self.system is None else said.join(self.system)
        pieces = [self.start if not prompt else self.told if self.inside else self.told + prompt]
        place = {"first": 0, "last": len(turns) - 1}.get(self.inside)
        for index, message in enumerate(turns):
            before, after = self.user if message["role"] == "user" else self.assistant
            pieces += [before, prompt if index == place else "", message["content"], after]
        return "".join([*pieces, self.opening])

    def go(self) -> str:
        """The same in Go's template language, as Ollama reads it.

        Ollama gives a Modelfile's SYSTEM as the first message too; `.System` are all system prompts.
        """
        prompt = f"{_go(self.system[0])}{{{{ $.System }}}}{_go(self.system[1])}" if self.system else ""
        inside = ""
        if self.inside:  # the system prompt's own message is still there, and comes first
            place = {"first": "eq $i 1", "last": "eq (len (slice $.Messages $i)) 1"}[self.inside]
            inside = f"{{{{ if $.System }}}}{{{{ if {place} }}}}{prompt}{{{{ end }}}}{{{{ end }}}}"
        head = f"{_go(self.told)}{'' if self.inside else prompt}"
        if self.system is None:
            head = _go(self.start)
        elif head != _go(self.start):
            otherwise = f"{{{{ else }}}}{_go(self.start)}" if self.start else ""
            head = f"{{{{ if .System }}}}{head}{otherwise}{{{{ end }}}}"
        said = "{{ .Content }}"
        user = f'{{{{ if eq .Role "user" }}}}{_go(self.user[0])}{inside}{said}{_go(self.user[1])}'
        assistant = f"{_go(self.assistant[0])}{said}{_go(self.assistant[1])}"
        turns = f'{user}{{{{ else if eq .Role "assistant" }}}}{assistant}{{{{ end }}}}'
        each = "range $i, $message := .Messages" if inside else "range .Messages"
        return f"{head}{{{{ {each} }}}}{turns}{{{{ end }}}}{_go(self.opening)}"


def turns_of(tokenizer: Any) -> Turns:
    """The pieces of a tokenizer's template. Raises `UserError` where it is more than these."""
    if tokenizer.chat_template is None:
        raise UserError("the tokenizer has no chat template", where="chat template")
    plain = _without_system(tokenizer)
    error: UserError | None = None
    for turns in _with_system(tokenizer, plain):
        try:
            _check(tokenizer, turns)
            return turns
        except UserError as found:
            error = error or found
    assert error is not None
    raise error


def _check(tokenizer: Any, turns: Turns) -> None:
    for chat in conversations(with_system=turns.system is not None):
        expected, found = _rendered(tokenizer, chat), turns.render(chat)
        if expected != found:
            raise UserError(
                f"the template is more than pieces around turns: it renders {shorten(expected, 160)}, "
                f"its pieces {shorten(found, 160)}",
                where="chat template",
            )


def _without_system(tokenizer: Any) -> Turns:
    """The pieces of users and assistants. Where one ends and the next begins is free."""
    ask, answer, again = _message("user", ASKED), _message("assistant", SAID), _message("user", NEXT)
    whole = _rendered(tokenizer, [ask, answer, again])
    before, answered = _before(whole, ASKED), _between(whole, ASKED, SAID)
    between, after = _between(whole, SAID, NEXT), _after(whole, NEXT)
    user_end = _shared(answered, after)
    closed = _closed(tokenizer, [ask, answer, again])
    if user_end.startswith(closed):  # as the template itself has it, without the opening of an answer
        user_end = closed
    end = _closed(tokenizer, [ask, answer])
    if not between.startswith(end) or not before.endswith(between[len(end) :]):
        end = between[: len(between) - len(_shared(before[::-1], between[::-1]))]
    user_start = between[len(end) :]
    return Turns(
        user=(user_start, user_end),
        assistant=(answered.removeprefix(user_end), end),
        system=None,
        opening=after.removeprefix(user_end),
        start=before.removesuffix(user_start),
    )


def _with_system(tokenizer: Any, plain: Turns) -> Iterator[Turns]:
    """What the template may do with a system prompt: beginning with it, or inside of a user's turn."""
    try:
        told = _rendered(tokenizer, [_message("system", SYSTEM), _message("user", ASKED)])
    except UserError:
        told = ""
    if SYSTEM not in told:
        yield plain
        return
    before, between = _before(told, SYSTEM), _between(told, SYSTEM, ASKED)
    if between.endswith(plain.user[0]):
        own = (before, between.removesuffix(plain.user[0]))
        yield _default(replace(plain, system=own))
    if plain.user[0] and plain.user[0] in before:
        lead, _, rest = before.partition(plain.user[0])
        for place in ("first", "last"):
            yield replace(plain, system=(rest, between), told=lead, inside=place)


def _default(turns: Turns) -> Turns:
    """With the system prompt that a chat without one gets, where it is written like any other."""
    assert turns.system is not None
    (before, after), start = turns.system, turns.start
    written_alike = bool(before) and start.startswith(before) and start.endswith(after)
    said = start[len(before) : len(start) - len(after)] if written_alike else ""
    return replace(turns, default=said, start="") if said else turns


def conversations(*, with_system: bool) -> list[Chat]:
    one = [_message("user", "Why?")]
    more = [*one, _message("assistant", "Because: it is so."), _message("user", "Since\n\nwhen?")]
    chats = [one, more, [*more, _message("assistant", "Always"), _message("user", "Thanks!")]]
    if with_system:
        chats += [[_message("system", "Be brief."), *chat] for chat in chats[:]]
    return chats


def _rendered(tokenizer: Any, chat: Chat, opened: bool = True) -> str:
    """A chat as text, without a BOS token that the tokenizer puts there: runtimes then do so too."""
    try:
        text = str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=opened))
    except Exception as error:  # templates raise what they like
        raise UserError(f"the template refuses a chat ({error})", where="chat template") from error
    adds_bos = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    return text.removeprefix(tokenizer.bos_token) if adds_bos else text


def _closed(tokenizer: Any, chat: Chat) -> str:
    """What stands after the last message where no answer is to follow."""
    return _after(_rendered(tokenizer, chat, False), chat[-1]["content"])


def _shared(first: str, second: str) -> str:
    """What both begin with."""
    return first[: common_prefix(first, second)]


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _before(text: str, mark: str) -> str:
    return _parted(text, mark)[0]


def _after(text: str, mark: str) -> str:
    return _parted(text, mark)[1]


def _between(text: str, first: str, second: str) -> str:
    return _before(_after(text, first), second)


def _parted(text: str, mark: str) -> tuple[str, str]:
    parts = text.split(mark)
    if len(parts) != 2:
        raise UserError(f"the template writes a message {len(parts) - 1} times", where="chat template")
    return parts[0], parts[1]


def _go(text: str) -> str:
    """Literal text in a Go template."""
    return text.replace("{{", '{{ "{{" }}')
