"""Errors whose text may be shown to a user as it stands."""


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
