"""Tool calls and tools as people write them, in one spelling; JSON where cells are strings.

    {"function": {"name": "look", "arguments": "{\\"at\\": \\"sky\\"}"}}    arguments become an object
    {"name": "look", ...} among the tools            {"type": "function", "function": {"name": "look", ...}}

A null inside of arguments or of a schema is a value, and stays. Around them it is a missing key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from burnish.data.reading.values import from_json, wrong_type
from burnish.errors import UserError, shorten


def call_of(content: Any, where: str) -> list[dict[str, Any]]:
    """The call, or the list of calls, that a `function_call` turn holds as JSON."""
    calls = from_json(content) if isinstance(content, str) else content
    if isinstance(calls, str):
        raise UserError(
            f"the function call is not JSON: {shorten(content)}",
            where=where,
            fix='write {"name": "...", "arguments": {...}}',
            reason="a function call that is not JSON",
        )
    calls = calls if isinstance(calls, list) else [calls]
    if not all(isinstance(call, Mapping) and isinstance(call.get("name"), str) for call in calls):
        raise UserError(
            f"a function call needs a name, found {shorten(content)}",
            where=where,
            fix='write {"name": "...", "arguments": {...}}',
            reason="a function call without a name",
        )
    return [{"type": "function", "function": _function(call, where)} for call in calls]


THOUGHT = re.compile(r"\s*<think>(.*?)</think>\s*", re.DOTALL)


def call_turn(content: Any, where: str) -> dict[str, Any]:
    """The assistant's turn that a `function_call` of ShareGPT is; what was thought before may lead it."""
    thought = THOUGHT.match(content) if isinstance(content, str) else None
    if thought is None:
        return {"role": "assistant", "tool_calls": call_of(content, where)}
    calls = call_of(content[thought.end() :], where)
    return {"role": "assistant", "reasoning_content": thought[1].strip(), "tool_calls": calls}


def settle_calls(message: dict[str, Any], where: str) -> None:
    """`tool_calls` as a list of objects, from OpenAI's former `function_call` too; an empty list is none."""
    former, calls = message.pop("function_call", None), message.pop("tool_calls", None)
    calls = from_json(calls) if isinstance(calls, str) else calls
    if former and not calls:
        calls = call_of(former, where)
    elif former and call_of(former, where)[0]["function"]["name"] != _first_name(calls):
        raise UserError(
            f"two calls that differ: function_call {shorten(former)} and tool_calls {shorten(calls)}",
            where=where,
            fix="keep tool_calls, which is what function_call is called now",
            reason="function_call and tool_calls differ",
        )
    if not calls:
        return
    calls = [calls] if isinstance(calls, Mapping) else calls
    if not isinstance(calls, list):
        raise UserError(
            f"tool_calls should be a list of calls, found {shorten(calls)}",
            where=where,
            fix='write [{"type": "function", "function": {"name": "...", "arguments": {...}}}]',
            reason="tool_calls that is no list",
        )
    message["tool_calls"] = [_call(call, where) for call in calls]


def _call(call: Any, where: str) -> dict[str, Any]:
    """A call with its arguments as an object, whichever way they were written."""
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise UserError(
            f"a tool call needs a function with a name, found {shorten(call)}",
            where=where,
            fix='write {"type": "function", "function": {"name": "...", "arguments": {...}}}',
            reason="a tool call without a name",
        )
    settled = _function(function, where)
    return {**_present(call), "function": settled} if "function" in call else settled


def _present(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item is not None}


def _function(function: Mapping[str, Any], where: str) -> dict[str, Any]:
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        arguments = from_json(arguments or "{}")
    if arguments is not None and not isinstance(arguments, Mapping):
        raise UserError(
            f"the arguments of {function['name']} should be an object, found {shorten(arguments)}",
            where=where,
            fix='write {"name": value, ...}, as an object or as JSON',
            reason="tool arguments that are no object",
        )
    return _present({**function, "arguments": arguments})


def _first_name(calls: Any) -> Any:
    first = calls[0] if isinstance(calls, list) and calls else calls
    return first.get("function", first).get("name") if isinstance(first, Mapping) else None


def read_tools(value: Any) -> list[Any]:
    """Tools as a list of JSON schemas in the usual form, from a list or from JSON. Raises `UserError`."""
    found = from_json(value) if isinstance(value, str) else value
    if isinstance(found, str):
        raise wrong_type("tools", value, "JSON")
    tools = [
        from_json(tool) if isinstance(tool, str) else tool
        for tool in (found if isinstance(found, list) else [found])
    ]
    if not all(isinstance(tool, Mapping) for tool in tools):
        raise wrong_type("tools", value, "a list of JSON schemas")
    return [_tool(_present(tool)) for tool in tools]


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if "name" in tool:
        return {"type": "function", "function": tool}
    function = tool.get("function")
    return {**tool, "function": _present(function)} if isinstance(function, Mapping) else tool
