"""Tiny tokenizers and chat templates of the common kinds, written for these tests."""

from __future__ import annotations

from functools import cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = [
    "<unk>",
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "[INST]",
    "[/INST]",
    "<think>",
    "</think>",
    "<|end|>",
    "<|return|>",
]

CORPUS = [
    "The answer is yes, and the other answer is no.",
    "hello there, how are you today? I am fine, thank you.",
    "user assistant system\n\nWhat is the colour of the sky? It is blue.\n",
    "one two three four five six seven eight nine ten",
] * 4

CHATML = """{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

DEFAULT_SYSTEM = (
    """{% if messages[0].role != 'system' %}<|im_start|>system
Be kind.<|im_end|>
{% endif %}"""
    + CHATML
)

HEADERS = """{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>

{{ m.content | trim }}<|eot_id|>{% endfor %}\
{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""

NO_SYSTEM = """{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}\
{{ raise_exception('System role not supported') }}{% endif %}\
{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}\
<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}
{{ m.content | trim }}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""

INSTRUCT = """{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }}[/INST]\
{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"""

THINKING = """{% set last = namespace(user=0) %}{% for m in messages %}{% if m.role == 'user' %}\
{% set last.user = loop.index0 %}{% endif %}{% endfor %}\
{% for m in messages %}{% set text = m.content %}\
{% if m.role == 'assistant' and '</think>' in text and loop.index0 < last.user %}\
{% set text = text.split('</think>')[-1].lstrip() %}{% endif %}<|im_start|>{{ m.role }}
{{ text }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""Drops the reasoning of the turns before the last user message."""

LAST_ENDS_OTHERWISE = """{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% if loop.last and m.role == 'assistant' %}<|return|>{% else %}<|end|>{% endif %}{% endfor %}\
{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

SYSTEM_LAST = """{% set system = '' %}{% if messages[0].role == 'system' %}\
{% set system = messages[0].content ~ ' ' %}\
{% set messages = messages[1:] %}{% endif %}{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}\
[INST] {% if loop.index0 >= loop.length - 2 %}{{ system }}{% endif %}{{ m.content }}[/INST]\
{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"""
"""Writes the system prompt into the last user turn, so no beginning of a chat is rendered as in the whole."""

PLAIN_ROLES = """{% for m in messages %}{{ m.role }}: {{ m.content }}
{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"""
"""No special tokens: the end of a turn is a line break."""

LETTER_COUNT = (
    """{{ messages | map(attribute='content') | map('length') | sum }} letters
"""
    + CHATML
)
"""Begins with the length of the chat: no beginning is like the whole, nor is a chat with other words."""


COLONS = """{% for m in messages %}The {{ m.role }}:{{ m.content }}<|end|>{% endfor %}\
{% if add_generation_prompt %}The assistant:{% endif %}"""
"""No space and no special token before the content."""

COUNTED_THINKING = """{{ messages | length }}|{% for m in messages %}<|im_start|>{{ m.role }}
{% if loop.last and m.role == 'assistant' and '</think>' not in m.content %}<think></think>{% endif %}\
{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
"""Begins with the number of messages, and gives a last turn without reasoning an empty block of it."""


@cache
def _backend() -> Tokenizer:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=400, special_tokens=SPECIAL, initial_alphabet=sorted(alphabet), show_progress=False
        ),
    )
    return backend


def byte_tokenizer(
    template: str | None = None, *, trim_offsets: bool = True, bos: bool = False
) -> PreTrainedTokenizerFast:
    """Byte-level BPE with pad == eos. `bos`: plain text starts with `<s>`, as for Llama."""
    backend = Tokenizer.from_str(_backend().to_str())
    backend.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    if bos:
        backend.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=trim_offsets),
                processors.TemplateProcessing(
                    single="<s> $A", special_tokens=[("<s>", SPECIAL.index("<s>"))]
                ),
            ]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        unk_token="<unk>",
        chat_template=template,
    )


def letter_tokenizer() -> PreTrainedTokenizerFast:
    """Letters a to e with the merges cd, bc, ab, in this order: `abcd` is ab cd, and `abce` is a bc e."""
    pieces = ["<unk>", "</s>", "a", "b", "c", "d", "e", "cd", "bc", "ab"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    backend = Tokenizer(models.BPE(vocabulary, [("c", "d"), ("b", "c"), ("a", "b")]))
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")


def word_tokenizer(template: str | None = None) -> PreTrainedTokenizerFast:
    """SentencePiece-like: words carry the space before them, and text begins with one."""
    words = sorted({f"▁{word}" for text in CORPUS for word in text.split()})
    pieces = [*SPECIAL, "▁", *words, *sorted({c for text in CORPUS for c in text}), *map(chr, range(33, 127))]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    backend = Tokenizer(
        models.Unigram([(piece, -1.0 if piece.startswith("▁") else -4.0) for piece in vocabulary], unk_id=0)
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.add_special_tokens(SPECIAL)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="</s>",
        unk_token="<unk>",
        chat_template=template,
    )


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def system(content: str) -> dict[str, str]:
    return {"role": "system", "content": content}


CALLS = """{% for c in m.tool_calls or [] %}<tool_call>{"name": "{{ c.function.name }}", "arguments": \
{{ c.function.arguments | tojson }}}</tool_call>{% endfor %}"""

CONTENT_AFTER_RESULT = (
    """{% for m in messages %}{% if m.role != 'tool' %}<|im_start|>{{ m.role }}
"""
    + CALLS
    + """{% if m.tool_calls %}{% for r in messages[loop.index:] if r.role == 'tool' %}{% if loop.first %}\
<result>{{ r.content }}</result>{% endif %}{% endfor %}{% endif %}{{ m.content }}<|im_end|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
)
"""Writes what a turn says beside its call after the result of the call, as Gemma 4 does."""

OPENS_REASONING = (
    """{% set last = namespace(user=-1) %}{% for m in messages %}{% if m.role == 'user' %}\
{% set last.user = loop.index0 %}{% endif %}{% endfor %}\
{% if last.user < 0 %}{{ raise_exception('No user query found in messages.') }}{% endif %}\
{% for m in messages %}<|im_start|>{{ 'user' if m.role == 'tool' else m.role }}
{% if m.role == 'assistant' and loop.index0 > last.user %}<think>
{{ m.reasoning_content or '' }}
</think>

{% endif %}{% if m.role == 'tool' %}<result>{{ m.content }}</result>{% else %}{{ m.content }}{% endif %}"""
    + CALLS
    + """<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
<think>
{% endif %}"""
)
"""As Qwen 3.6: reasoning after the last question only, opened by the generation prompt; needs a question."""
