"""The verbs that ask models: compare, chat."""

from __future__ import annotations

from typing import Annotated

import typer

from burnish.cli.spelling import flag


def compare(
    models: Annotated[list[str], typer.Argument(help="Folders of models or adapters, or hub ids.")],
    prompts: Annotated[str, flag("prompts", "Held-out rows of any format; DATA#200 samples 200.")],
    score: Annotated[
        list[str] | None, flag("score", "file.py:name of f(prompt=, answer=, **columns); several times.")
    ] = None,
    reward: Annotated[str | None, flag("reward", "A reward model that judges the answers.")] = None,
    judge: Annotated[str | None, flag("judge", "URL of an OpenAI-compatible server: http://host/v1.")] = None,
    judge_model: Annotated[str | None, flag("judge_model", "The model to ask there.")] = None,
    judge_key: Annotated[
        str, flag("judge_key", "The environment variable that holds its key.")
    ] = "BURNISH_JUDGE_KEY",
    vote: Annotated[
        str | None, flag("vote", "Vote blind; the votes become this preference file (JSON lines).")
    ] = None,
    show: Annotated[int, flag("show", "How many prompts to show with their answers.", min=0)] = 5,
    as_json: Annotated[bool, flag("json", "Print everything as JSON, and nothing else.")] = False,
    html: Annotated[str | None, flag("html", "Write one self-contained page.")] = None,
    output: Annotated[str | None, flag("output", "Folder to write comparison.json into.")] = None,
    max_new_tokens: Annotated[int, flag("max_new_tokens", "Longest answer.", min=1)] = 256,
    temperature: Annotated[float, flag("temperature", "0: always the likeliest token.")] = 0.0,
    top_p: Annotated[float, flag("top_p", "Draw from the likeliest tokens of this share.")] = 1.0,
    seed: Annotated[int, flag("seed", "Of samples, answers, orders and intervals.")] = 0,
    batch_size: Annotated[int, flag("batch_size", "Prompts answered at a time.", min=1)] = 32,
    dtype: Annotated[str, flag("dtype", "Of the weights; auto: as stored, where that is fast.")] = "auto",
    columns: Annotated[str | None, flag("columns", "Your names: question=ticket,answer=reply.")] = None,
    split: Annotated[str, flag("split", "Split of a folder or a hub dataset.")] = "train",
    no_cache: Annotated[bool, flag("no_cache", "Generate anew, and keep nothing.")] = False,
) -> None:
    """Ask models the same prompts, and measure the answers: by a function, a reward model, a judge, you."""
    from burnish.cli.compare import run_compare

    given = dict(locals())
    given.pop("run_compare")
    run_compare(**given)


def chat(
    model: Annotated[str, typer.Argument(help="The folder of a model or an adapter, or a hub id.")],
    compare: Annotated[str | None, flag("compare", "A second model, which answers too.")] = None,
    system: Annotated[str, flag("system", "The system message.")] = "",
    max_new_tokens: Annotated[int, flag("max_new_tokens", "Longest answer.", min=1)] = 512,
    temperature: Annotated[float, flag("temperature", "0: always the likeliest token.")] = 0.7,
    top_p: Annotated[float, flag("top_p", "Draw from the likeliest tokens of this share.")] = 0.95,
    seed: Annotated[int, flag("seed", "Of the answers.")] = 0,
    dtype: Annotated[str, flag("dtype", "Of the weights; auto: as stored, where that is fast.")] = "auto",
) -> None:
    """Talk to a model, or to two at once; /help lists what can be said."""
    from burnish.cli.chat import run_chat
    from burnish.models.asking import Sampling

    run_chat(model, compare, system, Sampling(max_new_tokens, temperature, top_p, seed), dtype)


def add_to(app: typer.Typer) -> None:
    for verb in (compare, chat):
        app.command()(verb)
