"""Steps and their rows are those that training will draw."""

import numpy as np
import pytest
from datasets import Dataset

from burnish import SFTConfig, SFTTrainer
from burnish.data.example import TokenizedExample
from burnish.planning.lengths import Steps, forest_lengths


def rows(count: int) -> Dataset:
    made = []
    for index in range(count):
        tokens = [5 + index % 50] * (3 + index % 7)
        made.append(TokenizedExample([9, 9], [tokens], [[True] * len(tokens)], row=index).to_row())
    return Dataset.from_list(made)


def config(tmp_path, **options) -> SFTConfig:
    return SFTConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=4, report_to="none", use_cpu=True, **options
    )


@pytest.mark.parametrize("options", [{"num_train_epochs": 2}, {"max_steps": 3, "seed": 7}, {"data_seed": 5}])
def test_the_rows_of_each_step_are_those_of_training(tiny_model_dir, tmp_path, options):
    dataset = rows(18)
    args = config(tmp_path, save_strategy="no", gradient_accumulation_steps=2, **options)
    trainer = SFTTrainer(model=str(tiny_model_dir), args=args, train_dataset=dataset)
    drawn: list[list[int]] = []
    step = trainer.training_step

    def noted(model, inputs, count=None):
        if len(inputs):
            drawn.append([example.row for example in inputs.examples])
        return step(model, inputs, count)

    trainer.training_step = noted
    trainer.train()
    steps = Steps.of(dataset, args)
    assert steps.count == trainer.state.max_steps == len(drawn)
    assert [[example.row for example in examples] for examples in steps.examples()] == drawn


def test_lengths_are_read_off_the_columns():
    examples = [
        TokenizedExample([1, 2], [[3], [4, 5, 6]], [[True], [True] * 3]),
        TokenizedExample([], [[3, 4], [5]], [[True] * 2, [True]]),
    ]
    dataset = Dataset.from_list([example.to_row() for example in examples])
    assert forest_lengths(dataset).tolist() == [example.length for example in examples]
    shuffled = dataset.select([1, 0])  # rows that lie elsewhere in the table
    assert np.array_equal(forest_lengths(shuffled), [3, 6])


def test_the_largest_micro_batch_is_within_the_budget(tmp_path):
    dataset = rows(40)
    cut = Steps.of(dataset, config(tmp_path, num_train_epochs=1)).micro_batches(25)
    assert cut.several
    assert 15 < cut.tokens <= 25
    whole = Steps.of(dataset, config(tmp_path, num_train_epochs=1)).micro_batches(1000)
    assert not whole.several
    assert whole.tokens > 25
