"""The data of a CultureSPA tuning, stage by stage (Xu et al. 2025, arXiv 2410.12971).

    questions   next_round -> the worker writes -> read_round -> … -> judge     writing, filtering
    survey      survey_of: kept questions, asked like any other survey          questions
    pairs       pairs_of: plain answers beside answers as a country             pairs
    examples    examples: what an arm is taught, as prompts with targets        teaching

Every stage is a pure function of what is stored and a seed.
"""

from core.tuning.culturespa.filtering import (
    judge,
    judge_file,
    load_verdict,
    save_case,
    study_filter,
)
from core.tuning.culturespa.pairs import Pairs, pairs_of
from core.tuning.culturespa.questions import (
    Question,
    from_table,
    frozen_neighbours,
    survey_of,
    tally,
    to_rows,
)
from core.tuning.culturespa.reading import read_question
from core.tuning.culturespa.training_examples import Examples, cultures_of, examples, save_examples
from core.tuning.culturespa.writing import (
    MAX_NEW_TOKENS,
    TEMPERATURE,
    TOP_P,
    Draft,
    Round,
    next_round,
    read_round,
    seed_items,
    shortfalls,
    topics_of,
    unjudged,
)

__all__ = [
    "MAX_NEW_TOKENS",
    "TEMPERATURE",
    "TOP_P",
    "Draft",
    "Examples",
    "Pairs",
    "Question",
    "Round",
    "cultures_of",
    "examples",
    "from_table",
    "frozen_neighbours",
    "judge",
    "judge_file",
    "load_verdict",
    "next_round",
    "pairs_of",
    "read_question",
    "read_round",
    "save_case",
    "save_examples",
    "seed_items",
    "shortfalls",
    "study_filter",
    "survey_of",
    "tally",
    "to_rows",
    "topics_of",
    "unjudged",
]
