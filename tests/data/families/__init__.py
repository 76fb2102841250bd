"""Chat templates of model families, in the shape that their publishers gave them, as small fixtures.

`NAME.jinja` is the template. `NAME.txt` is what it makes of the chats below, with what is trained between
⟦ and ⟧, reviewed against what such a model writes in use: from the end of its generation prompt to its end of
turn, and nothing of the tools' results.
Wording that is not structure (default system prompts, instructions for tools) is shortened.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tests.data.chats import CORPUS

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Family:
    """What is special in a family: its control tokens, how a turn ends, and what its template knows."""

    name: str
    control: str  # its control tokens, separated by spaces
    end: str  # ends an assistant's turn; empty: nothing does
    bos: str | None = None
    eos: str | None = None
    knows: str = "system"  # of system, tools, reasoning (under its key), thoughts (in the content)
    note: str = ""  # what the review of its golden file found worth saying

    @property
    def template(self) -> str:
        return (HERE / f"{self.name}.jinja").read_text(encoding="utf-8")

    def tokenizer(self, kind: str) -> PreTrainedTokenizerFast:
        return _tokenizer(self, kind)


CHATML = "<|im_start|> <|im_end|> <|endoftext|>"
LLAMA = "<|begin_of_text|> <|start_header_id|> <|end_header_id|> <|eot_id|> <|end_of_text|>"
SENTENCE = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
DEEPSEEK = " ".join(
    [
        *SENTENCE,
        "<｜User｜> <｜Assistant｜> <｜tool▁sep｜>",
        *(
            f"<｜tool▁{what}▁{edge}｜>"
            for what in ("call", "calls", "output", "outputs")
            for edge in ("begin", "end")
        ),
    ]
)
GLM = "[gMASK] <sop> <|system|> <|user|> <|assistant|> <|observation|> <|endoftext|>"
COMMAND = (
    "<BOS_TOKEN> <|START_OF_TURN_TOKEN|> <|END_OF_TURN_TOKEN|> "
    "<|SYSTEM_TOKEN|> <|USER_TOKEN|> <|CHATBOT_TOKEN|>"
)
HARMONY = "<|start|> <|end|> <|message|> <|channel|> <|return|> <|call|> <|endoftext|>"
MISTRAL = (
    "<s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_CALLS] [TOOL_RESULTS] [/TOOL_RESULTS]"
)
NEMOTRON = "<SPECIAL_10> <SPECIAL_11> <SPECIAL_12> <s> </s>"
LFM = (
    "<|startoftext|> <|im_start|> <|im_end|> <|tool_list_start|> <|tool_list_end|> <|tool_call_start|> "
    "<|tool_call_end|> <|tool_response_start|> <|tool_response_end|>"
)
GEMMA = "<bos> <eos> <start_of_turn> <end_of_turn>"
ROLES = "<|system|> <|user|> <|assistant|> <|end|> <|endoftext|>"

FAMILIES = {
    family.name: family
    for family in (
        Family("alpaca", "<s> </s>", "</s>\n\n", "<s>", "</s>"),
        Family("command_r", COMMAND, "<|END_OF_TURN_TOKEN|>", "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"),
        Family(
            "deepseek_r1",
            DEEPSEEK,
            SENTENCE[1],
            *SENTENCE,
            note="Rows with reasoning are refused: the template drops it. In use, <think> ends the prompt.",
        ),
        Family("deepseek_v3", DEEPSEEK, SENTENCE[1], *SENTENCE, knows="system tools"),
        Family("exaone", "[|system|] [|user|] [|assistant|] [|endofturn|] [BOS]", "[|endofturn|]\n", "[BOS]"),
        Family(
            "falcon",
            "<|endoftext|>",
            "",
            None,
            "<|endoftext|>",
            note="Nothing ends a turn: that is a warning in the report.",
        ),
        Family("gemma2", GEMMA, "<end_of_turn>\n", "<bos>", "<eos>", knows=""),
        Family("gemma3", GEMMA, "<end_of_turn>\n", "<bos>", "<eos>"),
        Family(
            "glm4",
            GLM,
            "",
            None,
            "<|endoftext|>",
            knows="system tools",
            note="The model ends a turn with the next role, so that is trained; nothing ends the last.",
        ),
        Family(
            "glm4_5",
            GLM,
            "",
            None,
            "<|endoftext|>",
            knows="system tools reasoning",
            note="Ends as glm4. The model writes an empty <think></think>: its prompt lacks it.",
        ),
        Family(
            "gpt_oss",
            HARMONY,
            "<|return|>",
            None,
            "<|return|>",
            knows="system tools reasoning",
            note="Earlier turns end with <|end|>, where the model wrote <|return|>: not trained.",
        ),
        Family(
            "granite",
            "<|start_of_role|> <|end_of_role|> <|end_of_text|> <|tool_call|>",
            "<|end_of_text|>\n",
            "<|end_of_text|>",
            "<|end_of_text|>",
            knows="system tools",
        ),
        Family("internlm2", f"<s> </s> {CHATML}", "<|im_end|>\n", "<s>", "</s>"),
        Family("lfm2", LFM, "<|im_end|>\n", "<|startoftext|>", "<|im_end|>", knows="system tools"),
        Family("llama2", "<s> </s>", " </s>", "<s>", "</s>"),
        Family("llama3", LLAMA, "<|eot_id|>", "<|begin_of_text|>", "<|eot_id|>"),
        Family(
            "llama3_1",
            f"{LLAMA} <|python_tag|>",
            "<|eot_id|>",
            "<|begin_of_text|>",
            "<|eot_id|>",
            knows="system tools",
        ),
        Family("mistral_v1", "<s> </s>", "</s>", "<s>", "</s>", knows=""),
        Family("mistral_v3", MISTRAL, "</s>", "<s>", "</s>", knows="system tools"),
        Family("mixtral", "<s> </s>", "</s>", "<s>", "</s>"),
        Family("nemotron", NEMOTRON, "<SPECIAL_12>\n", "<s>", "</s>", knows="system tools thoughts"),
        Family("olmo2", f"{ROLES} <pad>", "<|endoftext|>", "<|endoftext|>", "<|endoftext|>"),
        Family(
            "phi3",
            f"<s> {ROLES}",
            "<|end|>\n",
            "<s>",
            "<|endoftext|>",
            note="The template ends a chat with <|endoftext|>, after the turn has ended.",
        ),
        Family("phi4", f"{CHATML} <|im_sep|>", "<|im_end|>", "<|endoftext|>", "<|im_end|>"),
        Family("qwen2_5", CHATML, "<|im_end|>\n", None, "<|im_end|>", knows="system tools"),
        Family(
            "qwen3",
            CHATML,
            "<|im_end|>\n",
            None,
            "<|im_end|>",
            knows="system tools reasoning",
            note="A last turn without reasoning has an empty block, which the model writes.",
        ),
        Family("smollm2", CHATML, "<|im_end|>\n", "<|im_start|>", "<|im_end|>"),
        Family("smollm3", CHATML, "<|im_end|>\n", None, "<|im_end|>", knows="system thoughts"),
        Family("starchat", ROLES, "<|end|>\n", "<|endoftext|>", "<|endoftext|>"),
        Family("vicuna", "<s> </s>", "</s>", "<s>", "</s>"),
        Family("yi", f"<s> </s> {CHATML}", "<|im_end|>\n", "<s>", "<|im_end|>"),
        Family("zephyr", "<s> </s>", "</s>\n", "<s>", "</s>"),
    )
}

# Chats

HELLO = {"role": "user", "content": "How are you?"}
FINE = {"role": "assistant", "content": "I am fine."}
SKY = {"role": "user", "content": "And the sky?"}
BLUE = {"role": "assistant", "content": "It is blue.\nVery blue."}
KIND = {"role": "system", "content": "Be kind."}
ASK = {"role": "user", "content": "Is it cold in Bern?"}
COLD = {"role": "assistant", "content": "Yes, 2 degrees."}
RESULT = {"role": "tool", "name": "weather", "tool_call_id": "call00001", "content": '{"degrees": 2}'}


def calls(**rest: Any) -> dict[str, Any]:
    function = {"name": "weather", "arguments": {"city": "Bern", "days": 1}}
    call = {"id": "call00001", "type": "function", "function": function}
    return {"role": "assistant", "content": "", "tool_calls": [call], **rest}


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def thinking(message: dict[str, Any], thought: str) -> dict[str, Any]:
    return {**message, "reasoning_content": thought}


def thoughts_inside(message: dict[str, Any], thought: str) -> dict[str, Any]:
    return {**message, "content": f"<think>\n{thought}\n</think>\n\n{message['content']}"}


CHATS: dict[str, tuple[str, dict[str, Any]]] = {
    "turns": ("", {"messages": [HELLO, FINE, SKY, BLUE]}),
    "system": ("system", {"messages": [KIND, HELLO, FINE, SKY, BLUE]}),
    "tools": ("tools", {"messages": [ASK, calls(), RESULT, COLD, SKY, BLUE], "tools": [WEATHER]}),
    "reasoning": ("reasoning", {"messages": [HELLO, thinking(FINE, "Hm."), SKY, thinking(BLUE, "Look up.")]}),
    "reasoning and tools": (
        "reasoning",
        {
            "messages": [ASK, thinking(calls(), "Look it up."), RESULT, thinking(COLD, "Cold."), SKY, BLUE],
            "tools": [WEATHER],
        },
    ),
    "thoughts": (
        "thoughts",
        {"messages": [HELLO, thoughts_inside(FINE, "Hm."), SKY, thoughts_inside(BLUE, "Look up.")]},
    ),
}
"""Rows of each kind, with what a template must know for it."""


def chats_of(family: Family) -> dict[str, dict[str, Any]]:
    return {name: row for name, (needs, row) in CHATS.items() if not needs or needs in family.knows.split()}


# Tokenizers

KINDS = ("bytes", "pieces", "legacy pieces")
"""Byte-level BPE (GPT-2, Llama 3, Qwen); SentencePiece BPE with byte fallback, which puts a space before a
text (Llama 2, Mistral, Gemma), or before every stretch between control tokens, as older files do."""


@cache
def _backend(kind: str) -> str:
    bytewise = kind == "bytes"
    backend = Tokenizer(models.BPE(byte_fallback=not bytewise, unk_token=None if bytewise else "<unk>"))
    if bytewise:
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        alphabet, first = sorted(pre_tokenizers.ByteLevel.alphabet()), []
    else:
        alphabet, first = [], ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
        backend.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
        if kind == "pieces":
            backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        else:
            backend.normalizer = normalizers.Sequence(
                [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
            )
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=first, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(CORPUS, trainer)
    state = json.loads(backend.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] == "<unk>"]
    return json.dumps(state)


@cache
def _tokenizer(family: Family, kind: str) -> PreTrainedTokenizerFast:
    backend = Tokenizer.from_str(_backend(kind))
    backend.add_special_tokens(family.control.split())
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=family.bos,
        eos_token=family.eos,
        pad_token=family.eos,
        unk_token=None if kind == "bytes" else "<unk>",
        chat_template=family.template,
    )
