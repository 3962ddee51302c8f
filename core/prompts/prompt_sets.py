"""Wordings of prompts: read from their files, each known by its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import PluriscopeError
from core.home import DATA
from core.sanitize import json_object

PROMPTS = DATA / "prompts"


@dataclass(frozen=True)
class PromptSet:
    """The texts a model is asked with. Changing a word makes another sha256."""

    id: str
    name: str
    language: str
    texts: Mapping[str, str]
    source: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(
            json.dumps(dict(self.texts), sort_keys=True, ensure_ascii=False).encode()
        ).hexdigest()


def load_prompt_set(name_or_path: str | Path = "pluriscope") -> PromptSet:
    """A prompt set by name (data/prompts/NAME.json) or by path.

    A file in the layout of the CultureSPA study ("system", "user") is read as well.
    """
    path = Path(name_or_path)
    if path.suffix != ".json":
        path = PROMPTS / f"{path.name}.json"
    record = _record(path)
    if "texts" not in record and "system" in record:
        try:
            study = _culturespa_set(record)
        except (AttributeError, KeyError, TypeError):
            study = None
        if study is None or not all(isinstance(text, str) for text in study.texts.values()):
            raise PluriscopeError(f"{path.name} lacks texts of the CultureSPA study's prompts.")
        return study
    texts = record.get("texts")
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise PluriscopeError(f"{path.name} has to hold texts by name, under “texts”.")
    missing = {"plain_system", "question_user", "option"} - set(texts)
    if missing:
        raise PluriscopeError(f"{path.name} lacks the texts {', '.join(sorted(missing))}.")
    about = {key: record.get(key, "") for key in ("id", "name", "language", "source")}
    if not all(isinstance(text, str) for text in about.values()):
        raise PluriscopeError(f"{path.name}: {', '.join(about)} have to be texts.")
    name = about["name"] or path.stem
    return PromptSet(
        about["id"] or path.stem, name, about["language"] or "en", texts, about["source"]
    )


def _record(path: Path) -> dict:
    """What a prompt set's file holds."""
    try:
        return json_object(path, 1, "a prompt set")
    except FileNotFoundError:
        known = ", ".join(sorted(p.stem for p in PROMPTS.glob("*.json")))
        raise PluriscopeError(f"There is no prompt set {path.stem!r}. Known: {known}.") from None


def _culturespa_set(record: dict) -> PromptSet:
    """The CultureSPA study's prompts: positional braces become named ones (method.md A3)."""
    system, user = record["system"], record["user"]

    def named(text: str, *names: str) -> str:
        parts = text.split("{}")
        if len(parts) != len(names) + 1:
            raise PluriscopeError("This CultureSPA prompt file has an unexpected number of blanks.")
        return "".join(
            part + (f"{{{name}}}" if name else "")
            for part, name in zip(parts, (*names, ""), strict=True)
        )

    near_far = [f"{kind}{i}_demonym" for kind in ("near", "far") for i in (1, 2, 3)]
    texts = {
        "option": "{label}.{text}",
        "option_separator": " ",
        "answer": "{label}.{text}",
        "example_separator": "\n",
        "plain_system": system["en"],
        "country_system": named(system["en_culture_aware"], "article", "demonym"),
        "cross_culture_system": named(
            system["en_cross_culture_thinking"],
            "article",
            "demonym",
            "demonym",
            *near_far[:3],
            "demonym",
            *near_far[3:],
        ),
        "question_user": named(user["en"], "question", "options"),
        "examples_user": named(user["en_self_alignment"], "examples", "question", "options"),
        "example": named(user["example"], "question", "options", "answer"),
    }
    if "write_questions" in record:
        writing = record["write_questions"]
        # A Python format string: its braces stand twice.
        user = named(writing["user"], "topic", "examples", "topic")
        texts |= {
            "write_question_system": writing["system"],
            "write_question_user": user.replace("{{", "{").replace("}}", "}"),
            "write_example": named(writing["example"], "number", "question", "options"),
            "write_example_separator": "",
            "write_example_list": "python",
        }
    return PromptSet("culturespa", "CultureSPA study", "en", texts, "arXiv 2410.12971")
