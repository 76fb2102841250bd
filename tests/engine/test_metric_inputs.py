"""`compute_metrics` is told what it is given, where it takes that for something else."""

import numpy as np
import pytest
from transformers import EvalPrediction

from burnish import BCOTrainer, DPOTrainer, GKDTrainer, PRMTrainer, SFTTrainer, UserError
from burnish.engine.metric_inputs import explained

LABELS = np.array([[5, 6, 7], [8, 9, -100]])
PREDICTIONS = np.array([[5, 6, 1], [8, 1, -100]])


def given(function, trainer=SFTTrainer):
    return explained(function, trainer)(EvalPrediction(predictions=PREDICTIONS, label_ids=LABELS))


def accuracy(prediction):
    trained = prediction.label_ids != -100
    assert np.array_equal(prediction.predictions[0], PREDICTIONS[0]) and prediction.predictions[
        :, 1:2
    ].shape == (2, 1)
    return {"accuracy": float((prediction.predictions == prediction.label_ids)[trained].mean())}


def test_the_right_use_is_left_alone():
    assert given(accuracy) == {"accuracy": pytest.approx(3 / 5)}
    assert explained(None, SFTTrainer) is None


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda p: np.argmax(p.predictions, axis=-1), "takes an argmax.*\n  fix: leave out argmax"),
        (lambda p: p.predictions.argmax(-1), "takes an argmax"),
        (lambda p: p.predictions[:, :-1] == p.label_ids[:, 1:], "shifts them .*as they are"),
        (lambda p: p.label_ids[..., 1:], "shifts them"),
        (
            lambda p: p.predictions.shape[2],
            r"raised IndexError.*predictions of shape \(2, 3\) and labels of \(2, 3\)",
        ),
    ],
)
@pytest.mark.parametrize("trainer", [SFTTrainer, GKDTrainer])
def test_the_usual_mistakes_are_said(mistake, message, trainer):
    with pytest.raises(UserError, match=f"(?s)^compute_metrics: .*{message}"):
        given(mistake, trainer)


@pytest.mark.parametrize("trainer", [DPOTrainer, BCOTrainer, PRMTrainer])
def test_other_methods_say_what_they_give(trainer):
    assert given(lambda p: p.predictions.argmax(-1).tolist(), trainer) == [1, 0]  # rewards may be compared
    with pytest.raises(UserError, match="(?s)KeyError.*" + trainer.predictions.__doc__[:20]):
        given(lambda p: {}["no"], trainer)


def test_the_signature_that_transformers_looks_at_stays():
    import inspect

    def batched(prediction, compute_result):
        return {}

    assert "compute_result" in inspect.signature(explained(batched, SFTTrainer)).parameters
