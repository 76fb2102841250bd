"""Texts to token ids: what texts have in common is tokenized once, and nothing else changes by that."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.data.text import encode as encode_module
from burnish.data.text.encode import encode
from tests.data import chats
from tests.data.chats import byte_tokenizer


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["<|im_start|>", "<|im_end|>", " a", "b c", "\n", "é", " "]), max_size=9),
        min_size=1,
        max_size=5,
    ),
    st.data(),
)
def test_tokens_and_their_places_are_those_of_whole_texts(words, data):
    texts = ["".join(each) for each in words]
    places = [data.draw(st.lists(st.integers(0, len(text)), max_size=3)) for text in texts]
    tokenizer = byte_tokenizer(chats.CHATML)
    found = encode(tokenizer, texts, places, add_special_tokens=False)
    for text, wanted, encoded in zip(texts, places, found, strict=True):
        whole = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
        assert encoded.ids == whole.ids
        for place in filter(None, wanted):  # offsets say of white space that it ends where it begins
            assert encoded.tokens_before(place) == sum(stop <= place for _, stop in whole.offsets)
        assert 0 not in wanted or encoded.tokens_before(0) == 0


def test_no_token_ends_before_a_text_that_begins_with_white_space():
    tokenizer = byte_tokenizer(chats.CHATML)
    (found,) = encode(tokenizer, [" <|im_start|>"], [(0, 1)], add_special_tokens=False)
    assert (found.tokens_before(0), found.tokens_before(1)) == (0, 1)


def test_what_texts_share_reaches_the_tokenizer_once(monkeypatch):
    tokenizer = byte_tokenizer(chats.CHATML)
    prompt = "<|im_start|>user\nhello<|im_end|>\n"
    texts = [prompt + f"<|im_start|>assistant\n{word}<|im_end|>\n" for word in ("one", "two")]
    seen = []

    def spy(given, texts, *rest):
        seen.extend(texts)
        return ordinary(given, texts, *rest)

    ordinary = encode_module._encode_fast
    monkeypatch.setattr(encode_module, "_encode_fast", spy)
    encode(tokenizer, texts, [(), ()], add_special_tokens=False)
    assert sum("hello" in text for text in seen if text not in texts) == 1
    assert sum("two" in text for text in seen) == 1
