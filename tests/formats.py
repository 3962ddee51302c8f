"""Runs in three wordings by two orders of the options, answered by hand."""

from core.asking.answers import Answer
from core.jobs.choices import AskChoices
from core.jobs.plan import plan_survey
from core.models.spec import ModelSpec
from core.store.store import Store
from core.survey.survey import load_bundled

SURVEY = load_bundled()
WORDINGS = ("pluriscope", "pluriscope-b", "pluriscope-c")
ITEMS = ("Q57", "Q164")  # two options, ten options
COUNTRIES = ("DEU", "KEN")


def fill(store: Store, items=ITEMS, prompt_set=WORDINGS, answered=None) -> list:
    plan = plan_survey(
        store,
        AskChoices(
            ModelSpec("example/model"),
            methods=["plain", "country"],
            cultures=list(COUNTRIES),
            items=list(items),
            prompt_set=prompt_set,
        ),
    )
    made = []
    for settings, name in zip(plan.settings, plan.names, strict=True):
        group = made[0].group if made else None
        run = store.add_run(
            settings, planned=len(settings.planned_cells(SURVEY)), name=name, group=group
        )
        give = answered or answer
        store.add_answers(run.no, [give(settings, *key) for key in settings.planned_cells(SURVEY)])
        store.update_run(run.id, state="done")
        made.append(store.run(run.id))
    return made


def answer(settings, iso3: str, item_id: str, number: int) -> Answer:
    item = SURVEY.item(item_id)
    first, last = item.codes[0], item.codes[-1]
    if item_id == "Q57":
        code = last if settings.prompt_set == "pluriscope-c" and number == 1 else first
    else:
        code = first if iso3 == "KEN" and number == 1 else last
    probs = tuple(0.9 if c == code else 0.1 / (len(item.codes) - 1) for c in item.codes)
    return Answer(iso3, item_id, number, probs, 1.0, code, "answered", "", None, None)


def first_line(settings, iso3: str, item_id: str, number: int) -> Answer:
    """Always the option shown first, whoever is asked: place and nothing else."""
    codes = SURVEY.item(item_id).codes
    code = codes[-1 if number else 0]
    probs = tuple(float(c == code) for c in codes)
    return Answer(iso3, item_id, number, probs, 1.0, code, "answered", "", None, None)


def by_place(store: Store) -> list:
    """One wording in both orders, answered by place. Q57 has two options, so that the mean of
    both orders scores 50 in every country: countries do not differ at all."""
    return fill(store, ["Q57"], "pluriscope", first_line)
