"""As much of Go's text/template as the templates here use: enough to check what Ollama would say."""

from __future__ import annotations

import re
from typing import Any

ACTION = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)


def render(template: str, messages: list[dict[str, str]], system: str = "") -> str:
    """What Ollama makes of a chat; `system` is the Modelfile's, which a chat's own replaces."""
    if system and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    said = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    data = {"Messages": [{"Role": m["role"], "Content": m["content"]} for m in messages], "System": said}
    pieces = ACTION.split(template)  # text, action, text, action ...
    text, rest = _block(pieces, 0, data, {"$": data}, run=True)
    assert rest == len(pieces)
    return text


def _block(pieces: list[str], at: int, dot: Any, variables: dict[str, Any], run: bool) -> tuple[str, int]:
    """Everything up to an `end` or `else`: its text, and the index of what stopped it."""
    out = []
    while at < len(pieces):
        if at % 2 == 0:
            out.append(pieces[at] * run)
        else:
            action = pieces[at]
            if action == "end" or action.startswith("else"):
                break
            if action.startswith("range "):
                body = at + 1
                named = re.fullmatch(r"range (?:(\$\w+), \$\w+ := )?(.*)", action)
                each = _value(named[2], dot, variables) if run else [None]
                for index, item in enumerate(each):
                    variables |= {named[1]: index} if named[1] else {}
                    text, at = _block(pieces, body, item, variables, run)
                    out.append(text)
            elif action.startswith("if "):
                text, at = _choice(pieces, at, dot, variables, run)
                out.append(text)
            elif assigned := re.fullmatch(r"(\$\w+) :?= (.*)", action):
                if run:
                    variables[assigned[1]] = _value(assigned[2], dot, variables)
            elif run:
                out.append(_value(action, dot, variables))
        at += 1
    return "".join(out), at


def _choice(pieces: list[str], at: int, dot: Any, variables: dict[str, Any], run: bool) -> tuple[str, int]:
    out, open_ = "", run
    while pieces[at] != "end":
        condition = pieces[at].removeprefix("else ").removeprefix("if ")
        taken = open_ and (condition == "else" or bool(_value(condition, dot, variables)))
        text, at = _block(pieces, at + 1, dot, variables, taken)
        out += text
        open_ = open_ and not taken
    return out, at


def _value(expression: str, dot: Any, variables: dict[str, Any]) -> Any:
    if tail := re.fullmatch(r"eq \(len \(slice \$\.Messages (\$\w+)\)\) 1", expression):
        return len(variables["$"]["Messages"][variables[tail[1]] :]) == 1
    if equal := re.fullmatch(r"eq (\$\w+) (\d+)", expression):
        return variables[equal[1]] == int(equal[2])
    if equal := re.fullmatch(r'eq (\S+) "(.*)"', expression):
        return _value(equal[1], dot, variables) == equal[2]
    if expression.startswith('"'):
        return expression[1:-1]
    if expression.startswith("$."):
        return variables["$"][expression[2:]]
    if expression.startswith("$"):
        return variables[expression]
    assert re.fullmatch(r"\.\w+", expression), expression
    return dot[expression[1:]]
