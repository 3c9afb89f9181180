"""transformers without what it writes to the terminal by itself."""

import contextlib
from collections.abc import Generator

__all__ = ["without_bar", "without_report"]


@contextlib.contextmanager
def without_bar() -> Generator[None]:
    """No progress bar of transformers' own: mapping a file is over before one is read."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextlib.contextmanager
def without_report() -> Generator[None]:
    """No table of new tensors in the log: who asks for them gets their names."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
