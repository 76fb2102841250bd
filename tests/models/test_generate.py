"""Generation: what is asked, what an answer depends on, and where it ends."""

import types

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from burnish.data.example import Example
from burnish.errors import UserError
from burnish.models.asking import Sampling, prompt_tokens, questions, stop_tokens
from burnish.models.generate import Noise, _texts, answers, generate, stream
from tests.conftest import save_tiny_model, tiny_tokenizer

PROMPTS = ["A", "Once upon a time", "2 + 2 =", "Bonjour, ", "x" * 40]
CHATS = [[{"role": "user", "content": text}] for text in PROMPTS]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """In float64, in which padding does not turn a near tie; its answers end at various places."""
    folder = save_tiny_model(tmp_path_factory.mktemp("generate") / "tiny", initializer_range=0.3)
    return AutoModelForCausalLM.from_pretrained(folder).double(), AutoTokenizer.from_pretrained(folder)


def by_hand(model, ids, count):
    """Greedy tokens, each from a forward of the whole text without a cache."""
    for _ in range(count):
        ids = [*ids, int(model(torch.tensor([ids])).logits[0, -1].argmax())]
    return ids[-count:]


@torch.no_grad()
@pytest.mark.parametrize("prompts", [PROMPTS, CHATS], ids=["texts", "chats"])
def test_greedy_answers_are_those_of_plain_forwards(loaded, prompts):
    model, tokenizer = loaded
    model.eval()
    wanted = []
    for ids in prompt_tokens(tokenizer, prompts):
        made = by_hand(model, ids, 12)
        end = made.index(tokenizer.eos_token_id) if tokenizer.eos_token_id in made else None
        wanted.append(tokenizer.decode(made[:end], skip_special_tokens=True))
    assert answers(model, tokenizer, prompts, max_new_tokens=12, batch_size=2) == wanted
    assert len(set(wanted)) == len(wanted)


@pytest.mark.parametrize("temperature", [0.0, 1.3])
def test_an_answer_does_not_depend_on_its_batch(loaded, temperature):
    model, tokenizer = loaded
    options = {"max_new_tokens": 12, "temperature": temperature, "top_p": 0.95, "seed": 3}
    alone = [answers(model, tokenizer, [prompt], **options)[0] for prompt in CHATS]
    assert answers(model, tokenizer, CHATS, batch_size=3, **options) == alone
    assert answers(model, tokenizer, CHATS[::-1], batch_size=5, **options) == alone[::-1]


def test_the_seed_and_how_often_a_prompt_is_asked_decide_what_is_drawn(loaded):
    model, tokenizer = loaded
    drawn = {
        seed: answers(model, tokenizer, ["A", "A"], max_new_tokens=20, temperature=1.0, seed=seed)
        for seed in (0, 1)
    }
    assert len({*drawn[0], *drawn[1]}) == 4


def test_draws_follow_the_softmax():
    logits = torch.tensor([2.0, 1.0, 0.0, -3.0])
    noise = Noise(Sampling(temperature=2.0), range(20_000))
    drawn = noise(torch.empty(0), logits.expand(20_000, 4)).argmax(-1)
    shares = torch.bincount(drawn, minlength=4) / 20_000
    assert torch.allclose(shares, (logits / 2).softmax(0), atol=0.012)  # three standard deviations


def test_top_p_keeps_the_likeliest_tokens():
    logits = torch.tensor([[2.0, 1.9, 0.0, -3.0]])
    drawn = {int(Noise(Sampling(temperature=1.0, top_p=0.8), [s])(None, logits).argmax()) for s in range(200)}
    assert drawn == {0, 1}


def test_nothing_is_left_changed(loaded):
    model, tokenizer = loaded
    model.train()
    model.generation_config.repetition_penalty = 5.0
    plain = model.generation_config
    side, state = tokenizer.padding_side, torch.random.get_rng_state()
    try:
        found = answers(model, tokenizer, CHATS, max_new_tokens=4, temperature=1.0)
        assert model.training and model.lm_head.training and model.generation_config is plain
        assert tokenizer.padding_side == side and torch.equal(torch.random.get_rng_state(), state)
    finally:
        model.generation_config.repetition_penalty = None
        model.eval()
    assert found == answers(model, tokenizer, CHATS, max_new_tokens=4, temperature=1.0)


def test_an_answer_ends_at_any_stop_token(loaded):
    model, tokenizer = loaded
    ids = prompt_tokens(tokenizer, CHATS[:1])[0]
    third = by_hand(model, ids, 3)[2]
    own, model.generation_config.eos_token_id = model.generation_config.eos_token_id, [2, third]
    try:
        (found,) = generate(model, tokenizer, CHATS[:1], Sampling(max_new_tokens=12))
    finally:
        model.generation_config.eos_token_id = own
    assert (found.tokens, found.finished) == (2, True)
    (found,) = generate(model, tokenizer, CHATS[:1], Sampling(max_new_tokens=2))
    assert (found.tokens, found.finished) == (2, False)


def test_the_end_of_a_turn_stops_a_chat_and_not_a_text():
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = "<|endoftext|>"
    config = types.SimpleNamespace(eos_token_id=None)
    config.get_text_config = lambda: config
    model = types.SimpleNamespace(config=config, generation_config=config)
    assert stop_tokens(model, tokenizer, chat=True) == {0, 2}
    assert stop_tokens(model, tokenizer, chat=False) == {0}


def test_an_answer_ends_where_the_positions_of_the_model_do(loaded):
    model, tokenizer = loaded
    found = generate(model, tokenizer, ["x" * 509, "A"], Sampling(max_new_tokens=9))
    assert found[0].tokens <= 3 and not (found[0].tokens == 3 and found[0].finished)
    assert [q.limit for q in questions(model, tokenizer, ["x" * 509, "A"], Sampling(9))] == [3, 9]
    with pytest.raises(UserError, match="prompt 1: 600 tokens, and the model has 512 positions"):
        answers(model, tokenizer, ["A", "x" * 600])
    with pytest.raises(UserError, match="prompt 0: it is empty"):
        answers(model, tokenizer, [""])


def test_the_progress_ends_at_its_total(loaded):
    model, tokenizer = loaded
    heard = []
    answers(
        model, tokenizer, CHATS, max_new_tokens=5, batch_size=2, progress=lambda *step: heard.append(step)
    )
    assert heard == sorted(heard) and heard[-1] == (15, 15)


def test_no_prompts_no_answers(loaded):
    assert answers(*loaded, []) == []


@pytest.mark.parametrize("name", ["temperature", "top_p", "max_new_tokens"])
def test_values_that_cannot_be(name):
    with pytest.raises(UserError, match=name):
        Sampling(**{name: -1})


def test_control_tokens_in_a_prompt_are_text():
    tokenizer = tiny_tokenizer()
    (found,) = prompt_tokens(tokenizer, [[{"role": "user", "content": "say <|im_end|>"}]])
    assert tokenizer.decode(found) == "<|im_start|>user\nsay <|im_end|><|im_end|>\n<|im_start|>assistant\n"
    assert found.count(tokenizer.convert_tokens_to_ids("<|im_end|>")) == 1


def test_tools_of_an_example_reach_the_template():
    tokenizer = tiny_tokenizer("{{ tools | length }}:{{ messages[0]['content'] }}")
    tools = [{"type": "function", "function": {"name": "look"}}]
    example = Example([{"role": "user", "content": "Hi"}], (), {"tools": tools})
    assert tokenizer.decode(prompt_tokens(tokenizer, [example])[0]) == "1:Hi"


# Streams


@pytest.mark.parametrize("prompt", [PROMPTS[1], CHATS[1]], ids=["text", "chat"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_stream_is_the_answer_in_pieces(loaded, prompt, temperature):
    options = {"max_new_tokens": 24, "temperature": temperature}
    pieces = list(stream(*loaded, prompt, **options))
    assert "".join(pieces) == answers(*loaded, [prompt], **options)[0]
    assert len(pieces) > 3 and all(pieces)


def test_a_piece_has_whole_characters():
    tokenizer = tiny_tokenizer()
    text = "é 世界 🎉!"
    ids = tokenizer(text)["input_ids"]
    asked = types.SimpleNamespace(context=[], stops=frozenset({2}))
    assert list(_texts(tokenizer, asked, iter([*ids, 2, 9]))) == list(text)
    half = list(_texts(tokenizer, asked, iter(ids[:1])))
    assert half == ["\N{REPLACEMENT CHARACTER}"]  # nothing is held back for good


def test_a_closed_stream_stops_the_generation(loaded):
    model, tokenizer = loaded
    forwards = 0

    def count(*_):
        nonlocal forwards
        forwards += 1

    handle = model.register_forward_hook(count)
    try:
        pieces = stream(model, tokenizer, "Once", max_new_tokens=400)
        next(pieces)
        pieces.close()
    finally:
        handle.remove()
    assert 0 < forwards < 300


def test_an_error_of_the_generation_is_raised_where_it_is_read(loaded):
    model, tokenizer = loaded

    def fail(*_):
        raise RuntimeError("no memory")

    handle = model.register_forward_pre_hook(fail)
    try:
        with pytest.raises(RuntimeError, match="no memory"):
            list(stream(model, tokenizer, "Once", max_new_tokens=4))
    finally:
        handle.remove()


def test_an_adapter_answers_for_itself(loaded, tmp_path):
    from peft import LoraConfig, get_peft_model

    folder = save_tiny_model(tmp_path / "tiny", initializer_range=0.3)
    model = AutoModelForCausalLM.from_pretrained(folder).double()
    before = answers(model, loaded[1], CHATS, max_new_tokens=8)
    torch.manual_seed(0)
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False))
    after = answers(adapted, loaded[1], CHATS, max_new_tokens=8)
    assert after != before
    with adapted.disable_adapter():
        assert answers(adapted, loaded[1], CHATS, max_new_tokens=8) == before
    assert answers(adapted.merge_and_unload(), loaded[1], CHATS, max_new_tokens=8) == after
