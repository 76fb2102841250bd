"""What is a secret, by name, looks and value; what is none stays as it is."""

from __future__ import annotations

import json

import pytest

from burnish import secrets
from burnish.pipeline.methods import METHODS
from burnish.pipeline.yaml_secrets import text_without_secrets
from burnish.secrets import HIDDEN, hidden, is_secret, learn, without_secrets

TOKEN = "hf_" + "AbCdEfGhIj" * 3


@pytest.fixture(autouse=True)
def nothing_learned(monkeypatch):
    monkeypatch.setattr(secrets, "_learned", set())


@pytest.mark.parametrize(
    "text",
    [
        "--hub_token PLANTED",
        "--hub-token=PLANTED",
        "--set 'dpo.hub_token=PLANTED'",
        "--set env.MY_API_KEY=PLANTED",
        "hub_token: PLANTED",
        "api_key = 'PLANTED'",
        '{"token": "PLANTED", "dtype": "float32"}',
        "{'use_auth_token': 'PLANTED'}",
        r'"{\"token\": \"PLANTED\"}"',
        "https://me:PLANTED@host/x.git",
        "https://PLANTED@host/x.git",
        "postgresql://me:PLANTED@host/runs",
        "https://host/x?format=json&access_token=PLANTED&n=3",
        "Authorization: Bearer PLANTED",
        "password=PLANTED",
    ],
)
def test_a_secret_is_found_by_its_name(text):
    assert "PLANTED" not in hidden(text.replace("PLANTED", "xK3-v.9q_Zt"))
    assert "xK3" not in hidden(text.replace("PLANTED", "xK3-v.9q_Zt"))


@pytest.mark.parametrize(
    "secret",
    [
        TOKEN,
        "sk-" + "a1B2" * 6,
        "ghp_" + "a1B2c3" * 5,
        "github_pat_" + "a1B2c3" * 5,
        "glpat-" + "a1B2" * 5,
        "xoxb-" + "1234-" * 4,
        "AKIA" + "A1B2" * 4,
        "AIza" + "a1B2c" * 7,
        "wandb_v1_" + "a1B2" * 5,
        "eyJhbGciOi.eyJzdWIiOi.c2lnbmF0",
    ],
)
def test_a_secret_is_found_by_its_looks(secret):
    assert hidden(f"run of {secret}, the third") in (
        f"run of {HIDDEN}, the third",
        f"run of {HIDDEN}",
    )
    assert secret not in hidden(f"run of {secret}, the third")


def test_a_secret_is_found_by_its_value(monkeypatch):
    monkeypatch.setenv("SOME_PASSWORD", "correct horse")
    monkeypatch.setenv("KEY_FILE_KEY", "/home/me/key.pem")
    learn("model_init_kwargs", {"token": "battery-staple", "dtype": "bfloat16"})
    learn("seed_key", 3)
    assert hidden("correct horse, battery-staple, bfloat16") == f"{HIDDEN}, {HIDDEN}, bfloat16"
    assert hidden("no such file: /home/me/key.pem") == "no such file: /home/me/key.pem"


@pytest.mark.parametrize(
    "text",
    [
        "--eos_token '</s>' --max_tokens 5 --pad_token=x",
        "KL 0.1 a token (largest 3), eos_token='</s>'",
        "there is no key 'lerning_rate'. Did you mean 'learning_rate'?",
        "the key: a word, the token: 12",
        "run.yaml:3: beta is 'x', expected a number",
        "messages[2].content: it is no text",
        "see https://host/a/b@c",
        "tokens_per_forward: 1024, key_value heads: 4",
        "a ratio of 3:4 at me@host.org",
    ],
)
def test_what_is_no_secret_stays(text):
    assert hidden(text) == text


def test_hiding_twice_changes_nothing():
    text = f"--hub_token={TOKEN} token={TOKEN}] Bearer {TOKEN} https://a:{TOKEN}@h [{{'token': '{TOKEN}'}}]"
    once = hidden(text)
    assert TOKEN not in once and "[hidden]]]" not in once and "[hidden][hidden]" not in once
    assert hidden(once) == once


def test_options_by_name_and_by_value():
    options = {"hub_token": "x", "model_init_kwargs": {"token": "abc"}, "eos_token": "</s>", "names": [TOKEN]}
    found = without_secrets({**options, "api_key": None, "password": ""})
    assert found == {
        "hub_token": HIDDEN,
        "model_init_kwargs": {"token": HIDDEN},
        "eos_token": "</s>",
        "names": [HIDDEN],
        "api_key": None,
        "password": "",
    }
    assert json.dumps(found)


def test_the_text_of_a_file_keeps_all_else():
    text = """\
# the key: of hf_ABCDEFGHIJKLMNOPQRST
env: {A_TOKEN: 'x y', B: 3}   # two
stages:
- name: sft
  token: abc   # short
  credentials: [one, &two "2"]
  again: *two
"""
    assert (
        text_without_secrets(text)
        == """\
# the key: of [hidden]
env: {A_TOKEN: "[hidden]", B: 3}   # two
stages:
- name: sft
  token: "[hidden]"   # short
  credentials: ["[hidden]", "[hidden]"]
  again: *two
"""
    )


def test_many_aliases_take_no_time():
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 40))
    text_without_secrets("l0: &l0 [x]\n" + levels + "\ncircle: &c {token: *c}\n")


def test_the_only_secret_option_is_the_token_of_the_hub():
    names = {name for method in METHODS.values() for name in method.fields()}
    assert {name for name in names if is_secret(name)} == {"hub_token"}
