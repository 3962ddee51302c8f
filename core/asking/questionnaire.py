"""What a run asks: every prompt, rendered from its settings, survey, wording and translations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from core.asking.settings import AskSettings
from core.prompts.demonstrations import choose_examples
from core.prompts.methods import METHODS
from core.prompts.prompt_sets import PromptSet
from core.prompts.render import Example, Rendered, option_orders, render
from core.prompts.translations import Translation
from core.survey.neighbours import Neighbours, neighbours
from core.survey.survey import Item, Survey

Key = tuple[str, str, int]


class Planned(NamedTuple):
    """One prompt to send: which answer it makes, the item, and the rendered messages."""

    key: Key
    item: Item
    prompt: Rendered


@dataclass(frozen=True, eq=False)
class Questionnaire:
    """All that the prompts of a run are made of.

    translations: by language, those that settings.translations names; item, country, examples and
    wording are all in the language that settings.asked_in gives. vectors: for examples chosen by
    meaning, see demonstrations.choose_examples.
    """

    settings: AskSettings
    survey: Survey
    prompts: PromptSet
    translations: Mapping[str, Translation] = field(default_factory=dict)
    vectors: np.ndarray | None = None

    def planned(self, answered: Iterable[Key] = ()) -> Iterator[Planned]:
        """The prompts a run has still to send, in order; `answered` are left out."""
        done = set(answered)
        items = {item.id: item for item in self.settings.asked_items(self.survey)}
        for key in self.settings.planned_cells(self.survey):
            if key not in done:
                iso3, item_id, number = key
                item = items[item_id]
                there = self._translation(item, iso3)
                prompt = self.prompt(item, iso3, number)
                yield Planned(key, there.item(item) if there else item, prompt)

    def prompt(self, item: Item, iso3: str, number: int = 0) -> Rendered:
        """The exact prompt behind one answer. item: in English."""
        settings, survey, prompts = self.settings, self.survey, self.prompts
        written = settings.answering == "written"
        orders = option_orders(item, "given" if written else settings.orders)
        there = self._translation(item, iso3)
        examples = self._examples(item, iso3, there)
        near_far = self._near_far(iso3)
        culture = survey.culture(iso3) if iso3 else None
        if there:
            item, prompts = there.item(item), there.prompts
            culture = there.culture(culture) if culture else None
            near_far = there.neighbours(near_far) if near_far else None
            examples = [there.example(example) for example in examples]
        return render(
            item,
            prompts,
            settings.asked_method,
            culture,
            order=orders[0 if written else number],
            explain=written and settings.explain,
            neighbours=near_far,
            examples=examples,
        )

    def _translation(self, item: Item, iso3: str) -> Translation | None:
        """The translation a country is asked an item in; None where that is English."""
        return self.translations.get(self.settings.asked_in(iso3, item.id))

    def _examples(self, item: Item, iso3: str, there: Translation | None) -> list[Example]:
        settings = self.settings
        if not METHODS[settings.asked_method].shows_examples:
            return []
        return choose_examples(
            self.survey,
            item,
            iso3,
            count=settings.examples,
            choice=settings.example_choice,
            evidence=settings.example_evidence,
            other_batteries=settings.other_batteries,
            among=there.items.keys() if there else None,
            vectors=self.vectors,
            seed=settings.seed,
        )

    def _near_far(self, iso3: str) -> Neighbours | None:
        if not METHODS[self.settings.asked_method].tells_neighbours:
            return None
        if self.settings.neighbours is None:
            return neighbours(self.survey, iso3)
        near, far = self.settings.neighbours[iso3]
        culture = self.survey.culture
        return Neighbours(tuple(map(culture, near)), tuple(map(culture, far)))
