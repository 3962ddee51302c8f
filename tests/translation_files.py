"""Files of a translation of the bundled survey, made up."""

import json

from core.prompts.translations import PROMPT_BLANKS
from core.survey.survey import load_bundled

SURVEY = load_bundled()


def line(item_id: str, language: str = "ja", **changes) -> str:
    item = SURVEY.item(item_id)
    record = {
        "id": item_id,
        "language": language,
        "label": f"ラベル {item_id}",
        "question": f"質問 {item_id}",
        "options": [{"code": o.code, "label": f"答え {o.code}"} for o in item.options],
    }
    return json.dumps({**record, **changes}, ensure_ascii=False)


def prompts(language: str = "ja", **changes) -> str:
    texts = {
        key: " ".join(f"{{{blank}}}" for blank in blanks) or "質問に答えてください。"
        for key, blanks in PROMPT_BLANKS.items()
    }
    return json.dumps({language: {**texts, **changes}}, ensure_ascii=False)
