"""One answer as it came: what asking gives and the store keeps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """One answer as it came.

    number: which option order or sample. probs: over the item's options in canonical code order
    (empty for written answers); mass: what the options weighed before normalising. chosen: a code,
    or None where the answer was refused or could not be read. state: one of
    parsing.STATES. rule: how it was scored or parsed. text: what was written.
    """

    iso3: str
    item: str
    number: int
    probs: tuple[float, ...]
    mass: float | None
    chosen: int | None
    state: str
    rule: str
    text: str | None
    seconds: float | None

    def key(self) -> tuple[str, str, int]:
        return self.iso3, self.item, self.number
