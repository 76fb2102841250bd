"""Without the bars and warnings of other libraries, which say nothing to a person here."""

from __future__ import annotations

import os
import warnings
from logging import ERROR, getLogger


def quiet() -> None:
    """Hush transformers, datasets and bitsandbytes, unless TRANSFORMERS_VERBOSITY asks them to speak.

    What takes long is shown by our own bars (`burnish.progress`); errors are still said.
    """
    import datasets
    from transformers.utils import logging

    datasets.disable_progress_bars()
    if "TRANSFORMERS_VERBOSITY" not in os.environ:
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        getLogger("bitsandbytes").setLevel(ERROR)  # it misses kernels of the hub when it is imported
    warnings.filterwarnings("ignore", category=FutureWarning)
