"""Errors whose text may be shown to a user as it stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class PluriscopeError(Exception):
    """Something went wrong that the user can mend; the message says how."""


class NothingAsked(PluriscopeError):
    """A run holds no answers to the questions that were named."""


class StoreBusy(PluriscopeError):
    """Another process holds the store."""


class ModelError(PluriscopeError):
    """A model could not be found, loaded or run."""


class ImportRefused(PluriscopeError):
    """A file was not imported; the message says what is wrong with it."""


class Failed(PluriscopeError):
    """Work that was given to the model's process failed: a sentence, and details for experts."""

    def __init__(self, error: str, details: str):
        super().__init__(error)
        self.details = details


@contextmanager
def disk_in_words(what: str, advice: str = "Make room on the disk, then Resume.") -> Iterator[None]:
    """Within, a file that cannot be written is a sentence and no traceback. what: it holds."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise PluriscopeError(f"{what} could not be written ({reason}). {advice}") from error
