"""Examples to train on: what people answer, as prompts with targets, and the file of them."""

import json
from pathlib import Path

import numpy as np

from core.prompts.prompt_sets import load_prompt_set
from core.prompts.render import option_orders, render
from core.survey.survey import load_bundled

SURVEY = load_bundled()
PROMPTS = load_prompt_set()


def examples(
    labels: str = "soft", items=("Q1", "Q57", "Q164", "Q254"), countries=("KEN", "DEU")
) -> list[dict]:
    """People's shares of items with 2 to 10 options, whole or only the commonest answer."""
    made = []
    for iso3 in countries:
        for item in SURVEY.select(items):
            shares = SURVEY.shares[iso3, item.id].values
            for number, order in enumerate(option_orders(item, "both")):
                prompt = render(item, PROMPTS, "country", SURVEY.culture(iso3), order=order)
                by_code = dict(zip(item.codes, shares, strict=True))
                target = np.array([by_code[code] for code in prompt.codes])
                if labels == "hard":
                    target = np.eye(len(target))[target.argmax()]
                made.append(
                    {
                        "messages": list(prompt.messages),
                        "labels": list(prompt.labels),
                        "target": target.tolist(),
                        "weight": 1.0,
                        "iso3": iso3,
                        "item": item.id,
                        "order": number,
                        "shift": None,
                    }
                )
    return made


def write(folder: Path, batch: list[dict], name: str = "examples.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(one) + "\n" for one in batch), encoding="utf-8")
    return path
