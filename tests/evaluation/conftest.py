from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluation.models import save_adapter, save_reward_model


@pytest.fixture(scope="session")
def reward_dir(tmp_path_factory) -> Path:
    return save_reward_model(tmp_path_factory.mktemp("reward") / "tiny-reward")


@pytest.fixture(scope="session")
def adapter_dir(reward_dir, tmp_path_factory) -> Path:
    return save_adapter(reward_dir, tmp_path_factory.mktemp("reward") / "adapter")
