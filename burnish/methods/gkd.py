"""Distillation: bring a student's distribution over the next token near a teacher's, at every trained token.

Generalized knowledge distillation (arXiv:2306.13649) on the completions of a dataset. The divergence is taken
over the whole vocabulary, in tiles of which neither model's logits outlive their turn, and its loss is a
mean over trained tokens. Of a chat the last turn of the assistant is trained, unless its messages say
otherwise; `assistant_only_loss` with `completion_only_loss=False` trains every turn of it.

Use to make a small model of a large one that has the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Unpack

from torch import nn

from burnish.data.example import Example
from burnish.data.forest import Forest
from burnish.data.reading.formats import LANGUAGE
from burnish.engine.arguments import TrainerArguments
from burnish.engine.compat import GKDTrlOptions
from burnish.engine.language import LanguageConfig, LanguageEngine, token_metrics
from burnish.engine.plan import Plan
from burnish.errors import UserError, shorten
from burnish.losses.distillation import check_distillation, generalized_jsd
from burnish.losses.output import LossOutput, Mean
from burnish.models.divergence import divergence
from burnish.models.forward import inner_model
from burnish.models.head import language_head
from burnish.models.load import load_tokenizer
from burnish.options import described


@dataclass
class GKDConfig(GKDTrlOptions, LanguageConfig):
    """Options of `GKDTrainer`."""

    disable_dropout: bool = described(True, "Turn off all dropout of the model.")
    teacher_model_name_or_path: str | None = described(None, "The teacher: a folder, or an id on the hub.")
    teacher_model_init_kwargs: dict[str, Any] | str | None = described(
        None, "Arguments of `from_pretrained` for a teacher given by name."
    )
    beta: float = described(
        0.5, "The divergence: 0 is the forward KL, 1 the reverse KL, between them generalized Jensen-Shannon."
    )
    divergence_temperature: float = described(
        1.0, "Logits of both models are divided by this before they are compared."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_distillation(self.beta, self.divergence_temperature)
        if self.lmbda != 0:
            raise UserError(
                f"found {self.lmbda}, the share of steps on the student's own answers, and nothing is "
                "sampled in training yet",
                where="lmbda",
                fix="leave it out, or give 0: the rows' own completions",
            )


def last_answer(read: Callable[[Mapping[str, Any]], Any], row: Mapping[str, Any]) -> Any:
    """A chat with its last turn of the assistant as the completion, and what is before it as the prompt.

    A chat whose messages say which of them are trained stays as it is.
    """
    example = read(row)
    if not isinstance(example, Example) or example.prompt or not example.is_chat:
        return example
    chat = example.completions[0]
    assert isinstance(chat, list)
    answers = [place for place, message in enumerate(chat) if message["role"] == "assistant"]
    if not answers or answers[-1] == 0 or any("train" in message for message in chat):
        return example
    return replace(example, prompt=chat[: answers[-1]], completions=(chat[answers[-1] : answers[-1] + 1],))


ANSWERS = replace(
    LANGUAGE,
    formats=tuple(replace(each, read=partial(last_answer, each.read)) for each in LANGUAGE.formats),
    purpose="distillation",
)


class GKDTrainer(LanguageEngine):
    """Distillation from `teacher_model`, a model or its name, or from `teacher_model_name_or_path`.

    `formatting_func` turns a row into text.
    """

    config_class = GKDConfig
    read_row = ANSWERS

    def __init__(
        self,
        model: Any = None,
        teacher_model: Any = None,
        args: Any = None,
        *rest: Any,
        formatting_func: Callable[[Any], str] | None = None,
        **given: Unpack[TrainerArguments],
    ) -> None:
        if teacher_model is None and getattr(args, "teacher_model_name_or_path", None) is None:
            raise UserError(
                "no teacher was given",
                where="teacher_model_name_or_path",
                fix="name a model that has the tokens of the student, such as a larger one of its family",
            )
        named: dict[str, Any] = {**given, "teacher_model": teacher_model}
        super().__init__(model, args, *rest, formatting_func=formatting_func, **named)

    def setup(self, teacher_model: Any = None) -> None:
        named = self.args.teacher_model_name_or_path
        if self.args.teacher_model_init_kwargs and not isinstance(teacher_model, str | None):
            raise UserError(
                "the teacher is loaded already",
                where="teacher_model_init_kwargs",
                fix="pass the teacher by name",
            )
        teacher = self.also(
            named if teacher_model is None else teacher_model, "teacher_model", "teacher_model_init_kwargs"
        )
        assert teacher is not None
        self.teacher = teacher
        self.measure = self.bind(generalized_jsd)
        check_same_tokens(self.processing_class, language_head(inner_model(teacher)).weight.shape[0], teacher)

    def get_ready(self) -> Plan:
        fresh, plan = self.plan is None, super().get_ready()
        if fresh:
            config = inner_model(self.teacher).config
            parameters = sum(p.numel() for p in self.teacher.parameters())
            plan.say("teacher", f"{config.name_or_path or config.model_type}, {parameters:,} parameters")
        return plan

    def objective(self, model: nn.Module, forest: Forest) -> LossOutput:
        found = divergence(
            model,
            self.teacher,
            forest,
            self.measure,
            temperature=self.args.divergence_temperature,
            details=self.wants_details(model),
        )
        return LossOutput(Mean.of(found.value), token_metrics(forest, found.details))


def check_same_tokens(tokenizer: Any, size: int, teacher: Any) -> None:
    """Refuse a teacher of `size` tokens that does not have the student's. Raises `UserError`.

    Ordinary tokens must be the same where the teacher's own tokenizer is found; special ones may have other
    names. Sizes may differ by the padding of a table, of which no tokenizer knows.
    """
    if len(tokenizer) > size:
        raise UserError(
            f"the student's tokenizer has {len(tokenizer):,} tokens and the teacher knows {size:,}",
            where="teacher_model",
            fix="give a teacher that has all the student's tokens, such as a model of its family",
        )
    name = inner_model(teacher).config.name_or_path
    try:
        others = load_tokenizer(name) if name else tokenizer
    except UserError:
        return
    theirs = {place: token for token, place in ordinary_tokens(others).items()}
    for token, place in ordinary_tokens(tokenizer).items():
        if theirs.get(place, token) != token:
            raise UserError(
                f"token {place} is {shorten(token)} for the student and {shorten(theirs[place])} for the "
                "teacher: their distributions are over different tokens",
                where="teacher_model",
                fix="give a teacher with the tokenizer of the student, such as a model of its family",
            )


def ordinary_tokens(tokenizer: Any) -> dict[str, int]:
    added = tokenizer.get_added_vocab()
    return {token: place for token, place in tokenizer.get_vocab().items() if token not in added}
