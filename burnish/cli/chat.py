"""`burnish chat`: talk to a model, or to two at once, each of which goes on with its own answers."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from burnish.cli.quiet import quiet
from burnish.comparison.candidate import candidates
from burnish.comparison.conversation import Conversation
from burnish.errors import UserError, nearest
from burnish.models.asking import Sampling
from burnish.pages.shell import visible

QUOTES = '"""'
HELP = """\
/retry            answer the last message anew
/undo             take the last message and its answer back
/system TEXT      set the system message; without TEXT: remove it
/temperature X    0: always the likeliest token
/save FILE        append the conversation to FILE as a row to train on
/help             this
/quit             leave; so does Ctrl-D
Ctrl-C stops an answer. A message of several lines stands between two lines of \"\"\"."""
COMMANDS = ("/retry", "/undo", "/system", "/temperature", "/save", "/help", "/quit")


def run_chat(model: str, compare: str | None, system: str, sampling: Sampling, dtype: str) -> None:
    """Talk until the person leaves. Raises `UserError` where a model cannot be loaded."""
    quiet()
    found = candidates([model] if compare is None else [model, compare])
    talks = [Conversation(each.name, each.load(dtype), each.tokenizer, system) for each in found]
    for talk in talks:
        if not talk.is_chat:
            print(f"{talk.name} has no chat template: it goes on with your text as it stands.")
    if len(talks) > 1:
        print("Both answer every message, and each goes on with its own answers.")
    Chat(talks, sampling).run()


@dataclass
class Chat:
    """Reads lines, does commands, prints answers."""

    talks: list[Conversation]
    sampling: Sampling
    tries: int = field(default=0)  # of answers, each by a seed of its own

    def run(self) -> None:
        if sys.stdin.isatty():
            import readline  # noqa: F401  lets `input` edit lines and recall earlier ones

            print("/help lists the commands.")
        while (said := read_message()) is not None:
            if not said.strip():
                continue
            try:
                if said.startswith("/"):
                    if not self.command(*said.partition(" ")[::2]):
                        return
                else:
                    for talk in self.talks:
                        talk.say(said)
                    self.answer()
            except UserError as error:
                print(f"error: {error}")

    def command(self, name: str, rest: str) -> bool:
        """Do a command; False where the person leaves."""
        rest = rest.strip()
        if name == "/quit":
            return False
        if name == "/help":
            print(HELP)
        elif name == "/retry":
            self.retry()
        elif name == "/undo":
            undone = [talk.undo() for talk in self.talks]
            print("taken back" if any(undone) else "there is nothing to take back")
        elif name == "/system":
            for talk in self.talks:
                talk.system = rest
            print("the system message is set" if rest else "there is no system message")
        elif name == "/temperature":
            self.temperature(rest)
        elif name == "/save":
            self.save(rest)
        else:
            print(f"there is no command {name}.{nearest(name, COMMANDS)} /help lists them")
        return True

    def retry(self) -> None:
        retried = [talk.retry() for talk in self.talks]
        if not all(retried):
            print("there is no answer yet")
            return
        if not self.sampling.temperature:
            print("At temperature 0 the answer stays the same: /temperature 0.7 lets it vary.")
        self.answer()

    def temperature(self, text: str) -> None:
        try:
            value = float(text)
        except ValueError:
            raise UserError(f"expected a number, found {text!r}", where="/temperature") from None
        s = self.sampling
        self.sampling = Sampling(s.max_new_tokens, value, s.top_p, s.seed)
        print(f"temperature {value:g}")

    def save(self, path: str) -> None:
        if not path:
            raise UserError("the file is missing", where="/save", fix="write /save chats.jsonl")
        for talk in self.talks:
            print(f"{talk.save(path)} turns of {talk.name} appended to {path}")

    def answer(self) -> None:
        """Every model's answer to what was said, one after the other."""
        self.tries += 1
        for talk in self.talks:
            if len(self.talks) > 1:
                print(f"[{talk.name}]")
            self.stream(talk)

    def stream(self, talk: Conversation) -> None:
        s = self.sampling
        seed = s.seed + self.tries
        pieces = talk.answer(
            max_new_tokens=s.max_new_tokens, temperature=s.temperature, top_p=s.top_p, seed=seed
        )
        try:
            for piece in pieces:
                print(visible(piece), end="", flush=True)
            print()
        except KeyboardInterrupt:
            pieces.close()  # stops the generation; what was said stays
            print("  (stopped)")


def read_message() -> str | None:
    """A line, or the lines between two of quotes; None at the end of the input."""
    line = _read("> ")
    if line is None or line.strip() != QUOTES:
        return line
    lines = []
    while (line := _read("| ")) is not None and line.strip() != QUOTES:
        lines.append(line)
    return "\n".join(lines)


def _read(mark: str) -> str | None:
    """A line; Ctrl-C gives an empty one."""
    try:
        return input(mark if sys.stdin.isatty() else "")
    except EOFError:
        return None
    except KeyboardInterrupt:
        print("\n/quit or Ctrl-D leaves")
        return ""
