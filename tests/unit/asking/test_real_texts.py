"""Texts of a real model, read by hand and by rule.

Figures: pytest -s tests/unit/asking/test_real_texts.py

real_texts.jsonl: texts by SmolLM2-135M-Instruct (Apache 2.0), temperature 0.6, top-p 0.9: the core
set asked plainly and as a person of Kenya, Japan, the United States and Brazil, with a reason (up
to 40 tokens) and without (24). reading: the code of the option, or why there is none, written down
with the options in view.
"""

import json
from collections import Counter
from pathlib import Path

from core.asking.parsing import STATES, parse
from core.prompts.prompt_sets import load_prompt_set
from core.prompts.render import render, show_options
from core.survey.survey import load_bundled

SURVEY, PROMPTS = load_bundled(), load_prompt_set()
TEXTS = Path(__file__).parent / "real_texts.jsonl"


def test_texts_of_a_real_model_are_read_as_by_eye():
    found = Counter()
    rows = [json.loads(line) for line in TEXTS.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        item = SURVEY.item(row["item"])
        assert show_options(item, PROMPTS)[0].split("\n") == row["options"]
        parsed = parse(row["text"], item, render(item, PROMPTS), row["finished"])
        code = row["reading"] if isinstance(row["reading"], int) else None
        assert code in item.codes or row["reading"] in STATES[1:]
        found["answers"] += code is not None
        found["read"] += parsed.code is not None
        found["read wrongly"] += parsed.code not in (None, code)
        found["lost"] += code is not None and parsed.code is None
        found["another state"] += code is parsed.code is None and parsed.state != row["reading"]
    right = 1 - found["read wrongly"] / found["read"]
    lost = found["lost"] / found["answers"]
    print(f"\n{len(rows)} texts: {dict(found)}; precision {right:.1%}, lost {lost:.1%}")
    assert len(rows) == 520 and found["answers"] == 251
    assert found["read wrongly"] <= 10
    assert found["lost"] <= 6
    assert found["another state"] <= 4
