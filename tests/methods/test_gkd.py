"""Distillation as people run it: against plain code and TRL, its rows, teachers and command."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from burnish import GKDConfig, GKDTrainer, UserError
from burnish.methods.gkd import ANSWERS
from tests.conftest import save_tiny_model, tiny_tokenizer, write_rows
from tests.invariants.conftest import documents, llama
from tests.losses.test_distillation import plain

QUIET = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1}


@pytest.fixture(scope="module")
def teacher_dir(tmp_path_factory):
    """A model like the student's, with other weights that say more."""
    folder = save_tiny_model(tmp_path_factory.mktemp("model") / "teacher")
    model = LlamaForCausalLM.from_pretrained(folder)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def chats():
    """Chats of one answer each, of very unequal lengths."""
    ask = lambda n: {"role": "user", "content": f"Count from {n}."}
    return Dataset.from_list(
        [{"messages": [ask(n), {"role": "assistant", "content": f"{n} " * (n + 1)}]} for n in range(8)]
    )


def course(trainer):
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def other_llama():
    teacher = llama()
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(1.2)
    return teacher


@pytest.mark.parametrize(("beta", "temperature"), [(0.5, 1.0), (0.0, 2.0), (1.0, 1.0), (0.2, 0.7)])
def test_twenty_steps_are_those_of_plain_code(beta, temperature, tmp_path):
    rows, teacher = documents(), other_llama()
    args = GKDConfig(
        output_dir=str(tmp_path),
        **QUIET,
        max_steps=20,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        per_device_train_batch_size=4,
        train_sampling_strategy="sequential",
        tokens_per_forward=40,
        beta=beta,
        divergence_temperature=temperature,
    )
    found = course(GKDTrainer(llama(), teacher, args, train_dataset=rows, processing_class=tiny_tokenizer()))

    model, expected = llama(), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    for step in range(20):
        losses = []
        for row in rows.select(range(step % 2 * 4, step % 2 * 4 + 4)):
            ids, trained = (
                torch.tensor(row["completion_ids"]),
                torch.tensor(row["completion_mask"][0])[1:],
            )
            with torch.no_grad():
                other = teacher(input_ids=ids).logits[0, :-1][trained]
            own = model(input_ids=ids).logits[0, :-1][trained]
            losses.append(plain(own / temperature, other / temperature, beta))
        loss = torch.cat(losses).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(float(loss.detach()))
    assert found == pytest.approx(expected, rel=1e-6)  # the log is kept in float32
    assert expected[-1] < 0.7 * expected[0]


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_course_is_that_of_trl(beta, teacher_dir, tiny_model_dir, chats, tmp_path):
    """Its temperature is that of sampling: the divergence does not know it."""
    gkd = pytest.importorskip("trl.experimental.gkd")
    shared = {
        **QUIET,
        "output_dir": str(tmp_path),
        "max_steps": 6,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "constant",
        "per_device_train_batch_size": 4,
        "lmbda": 0.0,
        "beta": beta,
        "bf16": False,
        "use_cpu": True,
        "train_sampling_strategy": "sequential",
    }
    load = lambda folder: LlamaForCausalLM.from_pretrained(folder)
    theirs = course(
        gkd.GKDTrainer(
            load(tiny_model_dir),
            load(teacher_dir),
            gkd.GKDConfig(**shared, gradient_checkpointing=False),
            train_dataset=chats,
            processing_class=tiny_tokenizer(),
        )
    )
    ours = course(
        GKDTrainer(str(tiny_model_dir), load(teacher_dir), GKDConfig(**shared), train_dataset=chats)
    )
    assert ours == pytest.approx(theirs, rel=2e-4)
    assert ours[-1] < ours[0]


def chat(*roles, **last):
    messages = [{"role": role, "content": f"{place}"} for place, role in enumerate(roles)]
    return {"messages": [*messages[:-1], messages[-1] | last]}


def test_of_a_chat_the_last_answer_is_the_completion():
    row = chat("system", "user", "assistant", "user", "assistant")
    read = ANSWERS(row)
    assert [message["content"] for message in read.prompt] == ["0", "1", "2", "3"]
    assert [message["content"] for message in read.completions[0]] == ["4"]
    for whole in (chat("user", "assistant", train=True), chat("assistant"), chat("user")):
        assert ANSWERS(whole).prompt == ""
    assert ANSWERS({"prompt": "a", "completion": "b"}).prompt == "a"
    assert ANSWERS({"text": "a"}).prompt == ""


def trained_text(tiny_model_dir, teacher_dir, folder, **options):
    args = GKDConfig(output_dir=str(folder), report_to="none", **options)
    rows = Dataset.from_list([chat("user", "assistant", "user", "assistant")])
    trainer = GKDTrainer(str(tiny_model_dir), str(teacher_dir), args, train_dataset=rows)
    (row,) = trainer.train_dataset
    ids = [*row["prompt_ids"], *row["completion_ids"][0]]
    mask = [False] * len(row["prompt_ids"]) + list(row["completion_mask"][0])
    return trainer.processing_class.decode([i for i, own in zip(ids, mask, strict=True) if own])


def test_every_turn_is_trained_where_that_is_asked_for(tiny_model_dir, teacher_dir, tmp_path):
    last = trained_text(tiny_model_dir, teacher_dir, tmp_path)
    assert "3" in last and not {"0", "1", "2"} & set(last)
    every = trained_text(
        tiny_model_dir, teacher_dir, tmp_path, assistant_only_loss=True, completion_only_loss=False
    )
    assert {"1", "3"} <= set(every) and not {"0", "2"} & set(every)


def trainer_of(teacher, folder, student=None, **options):
    args = GKDConfig(output_dir=str(folder), **QUIET, **options)
    student = llama(dtype=torch.float32) if student is None else student
    return GKDTrainer(student, teacher, args, train_dataset=documents(), processing_class=tiny_tokenizer())


def resized(rows):
    """The student's model with as many rows in its tables."""
    model = llama(dtype=torch.float32)
    model.resize_token_embeddings(rows, mean_resizing=False)
    return model


def renamed_teacher(folder, teacher_dir, first, second):
    """A teacher in whose tokenizer two tokens have changed places."""
    LlamaForCausalLM.from_pretrained(teacher_dir).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    file = folder / "tokenizer.json"
    core = json.loads(file.read_text())
    table = core["model"]["vocab"]
    table[first], table[second] = table[second], table[first]
    file.write_text(json.dumps(core))
    return str(folder)


def test_teachers_that_do_not_fit_are_refused(teacher_dir, tmp_path):
    with pytest.raises(UserError, match="no teacher was given"):
        trainer_of(None, tmp_path)
    with pytest.raises(UserError, match="tokenizer has 259 tokens and the teacher knows 200"):
        trainer_of(resized(200), tmp_path)
    with pytest.raises(UserError, match="teacher_model_init_kwargs: the teacher is loaded already"):
        trainer_of(llama(), tmp_path, teacher_model_init_kwargs={"dtype": "float32"})
    with pytest.raises(UserError, match=r"token \d+ is '[AB]' for the student and '[AB]' for the teacher"):
        trainer_of(renamed_teacher(tmp_path / "swapped", teacher_dir, "A", "B"), tmp_path)
    same = llama(dtype=torch.float32)
    with pytest.raises(UserError, match="teacher_model: it is the very model that is trained"):
        trainer_of(same, tmp_path, student=same)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lmbda": 0.5}, "lmbda.*nothing is sampled"),
        ({"seq_kd": True}, "seq_kd"),
        ({"beta": 1.5}, "beta"),
        ({"divergence_temperature": 0.0}, "divergence_temperature"),
    ],
)
def test_options_that_cannot_be_had_are_refused(options, message, tmp_path):
    with pytest.raises(UserError, match=message):
        GKDConfig(output_dir=str(tmp_path), **options)


@pytest.mark.parametrize(("own", "other"), [(259, 320), (320, 259)])
def test_tables_may_be_padded_differently(own, other, tmp_path):
    losses = course(trainer_of(resized(other), tmp_path, student=resized(own), max_steps=2))
    assert len(losses) == 2 and all(0 <= loss < float("inf") for loss in losses)


def test_a_name_in_the_config_and_loading_arguments(teacher_dir, tmp_path):
    options = {"teacher_model_name_or_path": str(teacher_dir)}
    plain_teacher = trainer_of(None, tmp_path, **options).teacher
    assert next(plain_teacher.parameters()).dtype == torch.float32
    asked = trainer_of(None, tmp_path, teacher_model_init_kwargs='{"dtype": "bfloat16"}', **options).teacher
    assert next(asked.parameters()).dtype == torch.bfloat16
    assert not any(parameter.requires_grad for parameter in asked.parameters())


def test_an_evaluation_is_a_mean_over_tokens_however_it_is_batched(tmp_path):
    found = []
    for batch in (1, 3, 8):
        trainer = trainer_of(other_llama(), tmp_path, student=llama(), per_device_eval_batch_size=batch)
        found.append(trainer.evaluate(documents(seed=3)))
    for name in ("eval_loss", "eval_entropy", "eval_mean_token_accuracy"):
        assert [each[name] for each in found] == pytest.approx([found[0][name]] * 3, rel=1e-12)
    assert found[0]["eval_loss"] > 0


def test_an_adapter_is_trained_alone(tmp_path):
    from peft import LoraConfig

    args = GKDConfig(output_dir=str(tmp_path), **QUIET, max_steps=3, learning_rate=1e-2, beta=1.0)
    student = llama(dtype=torch.float32)
    before = {name: weight.clone() for name, weight in student.named_parameters()}
    trainer = GKDTrainer(
        student,
        other_llama(),
        args,
        train_dataset=documents(),
        processing_class=tiny_tokenizer(),
        peft_config=LoraConfig(target_modules=["q_proj", "v_proj", "lm_head"], lora_dropout=0.0),
    )
    losses = course(trainer)
    assert losses[-1] < losses[0]
    base = trainer.model.get_base_model().state_dict()
    for name, weight in before.items():
        now = base.get(name, base.get(name.replace(".weight", ".base_layer.weight")))
        assert torch.equal(now, weight), name


def test_from_the_command_line_to_a_model_that_loads(tiny_model_dir, teacher_dir, chats_file, tmp_path):
    words = ["gkd", "--model_name_or_path", tiny_model_dir, "--teacher_model_name_or_path", teacher_dir]
    words += ["--dataset_name", chats_file, "--beta", "0.1", "--max_steps", "3", "--learning_rate", "1e-2"]
    words += ["--save_strategy", "no", "--logging_steps", "1", "--temperature", "0.7", "--output_dir", "out"]
    done = subprocess.run(
        [sys.executable, "-m", "burnish", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "teacher" in done.stdout and "temperature=0.7 has no effect" in " ".join(done.stdout.split())
    student, start = (AutoModelForCausalLM.from_pretrained(d) for d in (tmp_path / "out", tiny_model_dir))
    assert not torch.equal(student.lm_head.weight, start.lm_head.weight)


def test_the_command_line_asks_for_a_teacher(tiny_model_dir, tmp_path, monkeypatch, capsys):
    from burnish.cli import main

    monkeypatch.chdir(tmp_path)
    rows = write_rows(tmp_path / "rows.jsonl", [{"prompt": "a", "completion": "b"}])
    assert main(["gkd", "--model_name_or_path", str(tiny_model_dir), "--dataset_name", str(rows)]) == 2
    assert "teacher_model_name_or_path" in capsys.readouterr().err
