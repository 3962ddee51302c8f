"""The data of a CultureSPA tuning: writing, reading, filtering, pairs, examples."""

import gzip
import json
import sys
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as some

from core.asking.questionnaire import Questionnaire
from core.asking.settings import AskSettings
from core.errors import PluriscopeError
from core.models.spec import ModelSpec
from core.prompts.prompt_sets import load_prompt_set
from core.prompts.render import option_orders, render
from core.store.store import Store
from core.survey.survey import WRITTEN_SURVEY, load_bundled
from core.tuning.culturespa.filtering import (
    NUMBERS_ONLY,
    REPEATED,
    judge,
    judge_file,
    load_verdict,
    save_case,
    study_filter,
)
from core.tuning.culturespa.pairs import AGREE, DIFFER, IN_NOISE, NO_COUNTRY, NO_PLAIN, pairs_of
from core.tuning.culturespa.questions import (
    Question,
    from_table,
    frozen_neighbours,
    survey_of,
    tally,
    to_rows,
)
from core.tuning.culturespa.reading import MALFORMED, read_question
from core.tuning.culturespa.training_examples import examples, save_examples
from core.tuning.culturespa.writing import Draft, next_round, read_round, shortfalls, unjudged
from core.tuning.settings import ARMS, Arm, TuneSettings
from tests.published import STUDY

needs_study = pytest.mark.skipif(
    not STUDY.is_dir(), reason="the study's data do not lie beside the repository"
)
SURVEY, PROMPTS = load_bundled(), load_prompt_set()
ECONOMY, CORRUPTION = "Economic Values", "Corruption"


def tuning(**changes) -> TuneSettings:
    return TuneSettings(
        **{
            "model": ModelSpec("builtin"),
            "cultures": ("DEU", "KEN"),
            "arms": (ARMS["culturespa"],),
            "topics": (ECONOMY, CORRUPTION),
            "survey": SURVEY.id,
            "survey_version": SURVEY.version,
            "prompt_set": PROMPTS.id,
            "prompt_sha256": PROMPTS.sha256,
            "per_topic": 30,
        }
        | changes
    )


YES_NO = ("Yes", "No")


def reply(question, options=YES_NO) -> str:
    return json.dumps({"question": question, "options": list(options)})


# -- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, options",
    [
        ('{"question": "Is it?", "options": ["Yes", "No"]}', YES_NO),
        ('Sure!\n```json\n{"Question": "Is it?", "Options": ["Yes", "No"]}\n```\nDone.', YES_NO),
        ('{"Question:" "Is it?", "Options": ["Yes", "No"]}', YES_NO),  # as the study's prompt
        ('{"Question": "Is it?", "Options": ["Yes", "No",],}', YES_NO),
        ("{'Question': 'Is it?', 'Options': ['Yes', 'No']}", YES_NO),
        ("{'question': 'Is it?', 'options': ['Yes', 'Don't know']}", ("Yes", "Don't know")),
        ('{"question": "Is it?", "options": ["Say "yes"", "No"]}', ('Say "yes"', "No")),
        ("{“question”: “Is it?”, “options”: [“Yes”, “No”]}", YES_NO),
        ('{question: "Is it?", options: ["Yes", "No"]}', YES_NO),
        ('{"question": "Is it?", "options": {"1": "Yes", "2": "No"}}', YES_NO),
        ('{"question": "Is it?", "options": {"Yes": 1, "No": 2}}', YES_NO),
        ('{"question": "Is it?", "options": [{"id": 1, "label": "Yes"}, {"text": "No"}]}', YES_NO),
        ('{"question": "Is it?", "options": "1. Yes 2. No"}', ("1. Yes", "2. No")),
        ('{"question": "Is it?", "options": "Yes\\nNo"}', YES_NO),
        ('{"question": "Is it?", "options": ["A) Yes", "B) No"]}', YES_NO),
        ('{"question": "Is it?", "options": ["A. Smith", "J. Doe"]}', ("A. Smith", "J. Doe")),
        ('[{"survey": {"question": "Is it?", "choices": ["Yes", "No"]}}]', YES_NO),
        ('{"question": "  Is\\n it? ", "options": [1, 2, 3]}', ("1", "2", "3")),
    ],
)  # fmt: skip
def test_what_is_nearly_json_is_read(text, options):
    assert read_question(text) == ("Is it?", options, "")


@pytest.mark.parametrize(
    "text, reason",
    [
        (" \n", "nothing was written"),
        ("How important is it?", "no JSON in the text"),
        ('{"question": "Is it?", "options": ["Yes", "N', "the JSON is broken or cut off"),
        ('{"options": ["Yes", "No"]}', "no question in the JSON"),
        ('{"question": ["Is it?"], "options": ["Yes", "No"]}', "no question in the JSON"),
        ('{"question": "Is it?"}', "no options in the JSON"),
        ('{"question": "Is it?", "options": [null, true]}', "no options in the JSON"),
        ('{"question": "Is it?", "options": ["Yes"]}', "fewer than two options"),
        ('{"question": "Is it?", "options": ["Yes", "yes"]}', "two options are the same"),
        (reply("?", "abcdefghijklm"), "more than twelve options"),
        (reply("x" * 1001), "the question or an option is too long"),
        ("{" * 9000, "the JSON is broken or cut off"),
        ('{"a":' * 1500, "the JSON is broken or cut off"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_has_a_reason(text, reason):
    assert read_question(text) == ("", (), reason)


def test_nothing_in_a_reply_is_executed(tmp_path):
    trap = tmp_path / "trap"
    code = f"__import__('pathlib').Path({str(trap)!r}).touch()"
    for text in (
        f'{{"question": {code}, "options": ["Yes", "No"]}}',
        f"{{'question': 'Is it?', 'options': [{code}, 'No']}}",
        f'{{"question": "Is it?", "options": ["{{{{{code}}}}}", "No"]}}',
    ):
        read_question(text)
        assert not trap.exists()


pieces = some.sampled_from(
    [*"{}[]\",:;\\'“” \n", "question", "Options:", '"question":', '"options": [', "yes", "\\u d8"]
)


@given(some.one_of(some.text(), some.lists(pieces, max_size=60).map("".join)))
def test_any_text_is_read_or_has_a_reason(text):
    question, options, reason = read_question(text)
    if reason:
        assert reason in MALFORMED and (question, options) == ("", ())
    else:
        assert question and 2 <= len(options) <= 12
        "".join((question, *options)).encode()  # it can be stored


sentence = some.text(min_size=1, max_size=80).map(lambda t: " ".join(t.split())).filter(
    lambda t: t and t.isprintable()
)  # fmt: skip


@given(sentence, some.lists(sentence, min_size=2, max_size=12, unique_by=str.casefold))
def test_correct_json_comes_back_word_for_word(question, options):
    if not options[0].casefold().startswith(("a", "(a")):  # letters that may count the options
        assert read_question(reply(question, options)) == (question, tuple(options), "")


# -- the study's filter ----------------------------------------------------------------------------

KEPT_BY_TOPIC = [999, 974, 1000, 984, 998, 998, 961, 996, 986, 993, 994, 971, 993]


@pytest.fixture(scope="module")
def study_questions():
    with gzip.open(STUDY / "generated_questions.json.gz", "rt", encoding="utf-8") as file:
        return json.load(file)


@pytest.fixture(scope="module")
def study_survey():
    record = json.loads((STUDY / "wvs_questions.json").read_text(encoding="utf-8"))
    return [item["question"] for item in record]


@needs_study
def test_the_filter_keeps_what_the_study_kept(study_questions, study_survey):
    sifted = study_filter([(q["question"], q["option_lst"]) for q in study_questions], study_survey)
    reasons = Counter(one.reason for one in sifted)
    assert sorted(reasons.values()) == [13, 31, 109, 12_847]
    assert reasons[REPEATED] == 13_000 - 12_891
    assert reasons[NUMBERS_ONLY] == 31
    kept = Counter(
        q["class"] for q, one in zip(study_questions, sifted, strict=True) if not one.reason
    )
    topics = dict.fromkeys(q["class"] for q in study_questions)  # in topic order
    assert [kept[topic] for topic in topics] == KEPT_BY_TOPIC

    options = Counter(len(one.options) for one in sifted if not one.reason)
    assert (min(options), max(options), options[5], options[4]) == (2, 11, 6466, 4359)
    changed = [
        place
        for place, (q, one) in enumerate(zip(study_questions, sifted, strict=True))
        if not one.reason and list(one.options) != q["option_lst"]
    ]
    cards = [
        place for place in changed if sifted[place].question != study_questions[place]["question"]
    ]
    assert (len(changed), len(cards)) == (2833 + 23, 23)
    # The study exempts one question by hand; here a rule does.
    ranges = study_questions[1879]
    assert ranges["option_lst"][0] == "1-3: Too slow" and 1879 not in changed
    zero = [place for place, q in enumerate(study_questions) if q["option_lst"][0] == "0"]
    assert (len(zero), sum(not sifted[place].reason for place in zero)) == (11, 4)


@needs_study
def test_the_study_s_questions_hardly_leak(study_questions, study_survey):
    from core.survey.near_duplicates import alike

    sifted = study_filter([(q["question"], q["option_lst"]) for q in study_questions], study_survey)
    texts = [one.question for one in sifted if not one.reason]
    near = alike(texts, study_survey, 70, "rouge")
    assert len({like.text for like in near}) == 7
    assert max(like.score for like in near) < 90


def test_numbered_options_and_labelled_ends():
    by_options = {
        ("1 (Rarely)", "2 (Often)"): ("Rarely", "Often"),
        ("1. Yes", "2. No"): YES_NO,
        ("1 - Yes", "2 - No"): YES_NO,
        ("1-3: Slow", "4-6: Fast"): ("1-3: Slow", "4-6: Fast"),
        ("1 hour", "2 hours"): None,
        ("Yes", "2. No"): ("Yes", "2. No"),
    }
    for options, wanted in by_options.items():
        [one] = study_filter([("Q", options)], [])
        assert one.options == (wanted or options)
        assert bool(one.reason) == (wanted is None)
    [card] = study_filter([("How much?", ("1 - None", "2", "3 - A lot"))], [])
    assert card.question == "How much? Using this card on which 1 means 'None' and 3 means 'A lot'"
    assert card.options == ("1", "2", "3")
    for refused in (("1 - None", "2", "3 - Refused"), ("1 - None", "2 - Some", "3")):
        assert study_filter([("How much?", refused)], [])[0].reason


# -- the judge -------------------------------------------------------------------------------------


def written(*replies, topic=ECONOMY) -> list[Question]:
    return [Question(no, 0, topic, "", (), raw, "written") for no, raw in enumerate(replies)]


def test_every_question_has_one_fate_and_a_reason():
    item = SURVEY.item("Q107").question
    wrote = written(
        reply("Should the state own more firms in your country?"),
        "no JSON",
        reply("Should the state own more firms in your country?"),
        reply(item),
        reply(item + " Please answer"),
        reply("Should the state own more firms in our country?"),
        reply("How big is it?", ("1", "2", "3")),
        reply("Same?", ("1. Yes", "2. Yes")),
        reply("Do you think taxes on high incomes are fair?"),
        reply("Is saving money something to be proud of?"),
    )
    judged = judge(wrote, [i.question for i in SURVEY.items], per_topic=2)
    assert [one.state for one in judged] == [
        *("kept", "malformed", "duplicate", "duplicate", "leak", "near", "dropped", "malformed"),
        *("kept", "spare"),
    ]
    assert all(bool(one.reason) == (one.state != "kept") for one in judged)
    leak, near = judged[4], judged[5]
    assert leak.near == item and near.near == judged[0].question
    assert 80 <= near.similarity < 100
    assert judge(judged, [i.question for i in SURVEY.items], per_topic=2) == judged
    counts = tally(judged)
    assert counts["states"]["kept"] == 2 and sum(counts["states"].values()) == len(wrote)
    assert counts["kept"] == {ECONOMY: 2}
    free = judge(wrote, [], per_topic=9, near_limit=None, leak_limit=None)
    assert Counter(one.state for one in free)["kept"] == 6


def test_limits_and_measures_that_make_no_sense_are_refused():
    with pytest.raises(PluriscopeError, match="above 0 and up to 100"):
        tuning(near_limit=0)
    with pytest.raises(PluriscopeError, match="chrf or rouge"):
        tuning(likeness="bleu")
    assert tuning(near_limit=None, leak_limit=None, likeness="rouge", seed_items="one")


def test_a_question_is_only_near_one_that_was_kept():
    wrote = written(
        reply("Do you trust the banks of your country?"),
        reply("Do you trust the banks of our country?"),
        reply("Do you trust the bank of our country?"),
    )
    judged = judge(wrote, [], per_topic=9, near_limit=85)
    kept = [one for one in judged if one.state == "kept"]
    assert 0 < len(kept) < len(judged) == 3
    for one in judged:
        assert one.state == "kept" or one.near in {k.question for k in kept}


def test_judging_by_file_is_judging(tmp_path):
    wrote = written(reply("Is it fair?"), reply("Is it fair now?"), "nothing")
    how = {"per_topic": 5, "near_limit": 60.0, "leak_limit": None, "measure": "rouge"}
    save_case(tmp_path / "case.json", wrote, ["Is it good?"], **how)
    judge_file(tmp_path / "case.json", tmp_path / "verdict.json")
    assert load_verdict(tmp_path / "verdict.json") == judge(wrote, ["Is it good?"], **how)


# -- rounds ----------------------------------------------------------------------------------------


def model_writes(requests) -> list[str]:
    """A stand-in for a model: what it writes depends on the prompt's seed alone."""
    texts = []
    for request in requests:
        rng = np.random.default_rng(request.seed)
        words = rng.integers(0, 50, 12)
        good = reply("Is " + " ".join(f"word{w}" for w in words) + "?")
        texts.append(good if request.seed % 5 else "not JSON")
    return texts


def write_all(settings, seed, questions=(), stop_after=99):
    """The whole stage of questions, as an orchestrator runs it."""
    questions = list(questions)
    items = [item.question for item in SURVEY.items]
    for _ in range(stop_after):
        if asked := next_round(settings, SURVEY, PROMPTS, questions, seed):
            questions += read_round(asked, model_writes(asked.requests), SURVEY, questions)
        elif unjudged(questions):
            questions = judge(questions, items, per_topic=settings.per_topic)
        else:
            break
    return questions


def test_rounds_fill_every_topic_and_resume_to_the_same_questions(tmp_path):
    settings = tuning()
    whole = write_all(settings, 42)
    assert tally(whole)["kept"] == {ECONOMY: 30, CORRUPTION: 30}
    assert [one.no for one in whole] == list(range(len(whole)))
    assert shortfalls(settings, whole) == []

    store = Store(tmp_path)
    for stop_after in (1, 2, 3, 4):
        begun = write_all(settings, 42, stop_after=stop_after)
        store.judge_questions("t", 42, to_rows("t", 42, begun))
        stored = from_table(store.questions("t", 42))
        assert stored == begun
        assert write_all(settings, 42, stored) == whole
    store.close()
    other = write_all(settings, 43)
    assert {one.question for one in other}.isdisjoint({one.question for one in whole} - {""})


def test_what_was_written_of_a_round_is_not_written_again(tmp_path):
    asked = next_round(tuning(), SURVEY, PROMPTS, [], 1)
    path = tmp_path / "draft.jsonl"
    draft = Draft(path, asked)
    assert draft.missing == list(range(len(asked.requests)))
    draft.add(2, "två\u2028rader\n\ud800")
    draft.add(0, "")
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"round": 0, "index": 1, "te')  # cut off by a kill
    again = Draft(path, asked)
    assert again.texts == {2: "två\u2028rader\n\ud800", 0: ""}
    again.add(1, "after the kill")
    last = Draft(path, asked)
    assert set(range(len(asked.requests))) - set(last.missing) == {0, 1, 2}
    assert last.asked.requests[3].seed == asked.requests[3].seed
    with pytest.raises(KeyError):
        last.done()
    later = asked._replace(number=1)
    assert Draft(path, later).texts == {}


def shown(request) -> int:
    return request.messages[1]["content"].count("Question: ")


def test_prompts_show_five_examples_two_of_them_its_own_once_there_are_some():
    settings = tuning(held_out_items=("Q106", "Q107"))
    first = next_round(settings, SURVEY, PROMPTS, [], 1)
    # Four of the topic's six items are left; Corruption has nine.
    assert {(r.topic, shown(r)) for r in first.requests} == {(ECONOMY, 4), (CORRUPTION, 5)}
    texts = " ".join(r.messages[1]["content"] for r in first.requests)
    assert SURVEY.item("Q108").question in texts
    assert not any(SURVEY.item(q).question in texts for q in ("Q106", "Q107"))

    one_each = read_round(first, ["no"] * len(first.requests), SURVEY, [])
    one_each[0] = replace_text(one_each[0], "Is this its own?")
    later = next_round(settings, SURVEY, PROMPTS, one_each, 1)
    for request in later.requests:
        if request.topic == one_each[0].topic:
            assert "Is this its own?" in request.messages[1]["content"] and shown(request) == 5
    some_more = [
        replace_text(one, f"Own question {one.no}?") for one in one_each if one.topic == CORRUPTION
    ]
    later = next_round(settings, SURVEY, PROMPTS, some_more, 1)
    for request in later.requests:
        own = request.messages[1]["content"].count("Own question")
        assert own == (2 if request.topic == CORRUPTION else 0)
        assert shown(request) == (5 if request.topic == CORRUPTION else 4)


def replace_text(one: Question, question: str) -> Question:
    return one._replace(question=question, options=YES_NO, raw=reply(question), state="written")


def test_one_seed_item_a_topic():
    settings = tuning(seed_items="one", topics=(CORRUPTION,))
    first = next_round(settings, SURVEY, PROMPTS, [], 7)
    assert len({r.messages[1]["content"] for r in first.requests}) == 1
    own = [replace_text(Question(n, 0, CORRUPTION, "", (), "", ""), f"Own {n}?") for n in range(9)]
    later = next_round(settings, SURVEY, PROMPTS, own, 7)
    assert {r.messages[1]["content"].count("Own ") for r in later.requests} == {4}


def test_held_out_topics_are_not_written_on_and_empty_ones_say_so():
    settings = tuning(held_out_topics=(CORRUPTION,))
    assert {r.topic for r in next_round(settings, SURVEY, PROMPTS, [], 1).requests} == {ECONOMY}
    bare = tuning(held_out_items=tuple(i.id for i in SURVEY.select(ECONOMY)))
    with pytest.raises(PluriscopeError, match=r"“Economic Values”.*fewer"):
        next_round(bare, SURVEY, PROMPTS, [], 1)


def test_a_topic_that_cannot_be_filled_is_given_up_in_words(monkeypatch, snapshot):
    this = sys.modules[__name__]
    monkeypatch.setattr(this, "model_writes", lambda requests: ["no"] * len(requests))
    settings = tuning()
    wrote = write_all(settings, 1)
    assert len(wrote) == 2 * (5 * 30 + 24)
    with pytest.raises(PluriscopeError, match="no question"):
        shortfalls(settings, wrote)
    some_good = [replace_text(wrote[0], "Is it?")._replace(state="kept"), *wrote[1:]]
    said = shortfalls(settings, some_good)
    assert "1 of 30" in said[0] and "174 tries" in said[0] and said[0] == snapshot


@needs_study
def test_the_study_s_prompt_for_a_new_question():
    prompts = load_prompt_set(STUDY / "prompts.json")
    request = next_round(tuning(), SURVEY, prompts, [], 1).requests[0]
    system, user = (message["content"] for message in request.messages)
    assert system.startswith("You are a social scientist on the World Values Survey team")
    assert user.startswith(
        "Please come up with one new survey question.\nMake sure your question addresses the "
        "topic of Economic Values.\nFor reference, here are some example questions:\n#Example 1:"
    )
    assert "\nOptions: ['" in user
    assert 'for example:{"Question:" ..., "Options": [..., ..., ...]}.' in user


# -- the survey of written questions ---------------------------------------------------------------


def kept(*questions) -> list[Question]:
    return [
        Question(no, 0, ECONOMY, question, options, reply(question, options), "kept")
        for no, (question, options) in enumerate(questions)
    ]


def test_kept_questions_are_a_survey_that_can_be_stored_and_asked(tmp_path):
    questions = kept(
        ("Is it?", YES_NO),
        ("How much?", ("0", "1", "2", "3")),
        ("From 1 to 5?", ("1", "2", "3", "4", "5")),
        ("Which?", ("Red", "Green", "Blue")),
    )
    questions.append(questions[0]._replace(no=9, state="spare"))
    survey = survey_of("t", 42, questions, SURVEY)
    assert survey.id == "written-t-42" and [i.id for i in survey.items] == ["W0", "W1", "W2", "W3"]
    assert [i.codes for i in survey.items] == [(1, 2), (0, 1, 2, 3), (1, 2, 3, 4, 5), (1, 2, 3)]
    assert [i.scale for i in survey.items] == ["binary", "ordinal", "ordinal", "nominal"]
    assert survey.culture("KEN").name == "Kenya" and not survey.shares
    assert survey_of("t", 42, questions[:4], SURVEY).version == survey.version
    assert survey_of("t", 42, questions[:3], SURVEY).version != survey.version

    store = Store(tmp_path)
    store.add_survey(survey, source=WRITTEN_SURVEY)
    store._surveys.clear()
    again = store.survey(survey.id, survey.version)
    assert again.items == survey.items
    assert survey.id not in store.surveys()["id"].tolist()
    store.close()
    with pytest.raises(PluriscopeError, match="None of the questions"):
        survey_of("t", 42, [questions[-1]], SURVEY)


def asking(survey, method, **changes) -> AskSettings:
    return AskSettings(
        model=ModelSpec("builtin"), method=method, cultures=("KEN",),
        items=tuple(i.id for i in survey.items), item_set="", survey=survey.id,
        survey_version=survey.version, prompt_set=PROMPTS.id, prompt_sha256=PROMPTS.sha256,
        **changes,
    )  # fmt: skip


def test_cross_culture_thinking_takes_its_countries_from_the_real_survey():
    survey = survey_of("t", 42, kept(("Is it?", YES_NO)), SURVEY)
    frozen = frozen_neighbours(SURVEY, ["KEN"])
    settings = asking(survey, "cross_culture", neighbours=frozen)
    settings = AskSettings.from_json(json.loads(json.dumps(settings.to_json())))
    asked = Questionnaire(settings, survey, PROMPTS).prompt(survey.items[0], "KEN")
    real = Questionnaire(asking(SURVEY, "cross_culture"), SURVEY, PROMPTS).prompt(
        SURVEY.items[0], "KEN"
    )
    assert asked.messages[0] == real.messages[0]  # the system text names the same countries

    less = frozen_neighbours(SURVEY, ["KEN"], held_out_cultures=frozen["KEN"][0])
    assert set(less["KEN"][0]).isdisjoint(frozen["KEN"][0])
    assert frozen_neighbours(SURVEY, ["KEN"], held_out_topics=SURVEY.topics[1:]) != frozen


# -- pairs -----------------------------------------------------------------------------------------


def spoken(*rows) -> pd.DataFrame:
    """Answers as Store.answers gives them, from (iso3, item, number, text or probabilities)."""
    return pd.DataFrame(
        [
            {
                "iso3": iso3,
                "item": item,
                "number": number,
                "text": said if isinstance(said, str) else None,
                "probs": np.array([] if isinstance(said, str) else said),
            }
            for iso3, item, number, said in rows
        ]
    )


THREE = survey_of("t", 1, kept(*((f"Question {n}?", ("A", "B", "C")) for n in range(6))), SURVEY)
KEY = {"tuning": "t", "seed": 1, "teacher": "country"}


def test_written_pairs_differ_where_their_first_numbers_do():
    plain = spoken(
        ("", "W0", 0, "1"), ("", "W0", 1, "1"), ("", "W1", 0, "2. B"), ("", "W1", 1, "3"),
        ("", "W2", 0, "I choose none"), ("", "W3", 0, "3"), ("", "W3", 1, "no"),
    )  # fmt: skip
    aware = spoken(
        ("KEN", "W0", 0, "2"), ("KEN", "W1", 0, "2"), ("KEN", "W2", 0, "1"), ("KEN", "W3", 0, "9"),
        ("DEU", "W0", 0, "1"), ("DEU", "W1", 0, "Option 3, not 2"),
    )  # fmt: skip
    made = pairs_of(THREE, plain, aware, answers="written", **KEY)
    found = {(r["iso3"], r["item"]): r for r in made.rows}
    reasons = {key: row["reason"] for key, row in found.items()}
    assert reasons == {
        ("KEN", "W0"): DIFFER, ("KEN", "W1"): AGREE, ("KEN", "W2"): NO_PLAIN,
        ("KEN", "W3"): NO_COUNTRY, ("DEU", "W0"): AGREE, ("DEU", "W1"): DIFFER,
    }  # fmt: skip
    assert (found["DEU", "W1"]["plain"], found["DEU", "W1"]["aware"]) == (2, 3)
    assert found["KEN", "W0"]["noise"] == 0 and found["KEN", "W1"]["noise"] == 1
    assert found["KEN", "W3"]["noise"] is None
    assert made.facts["noise"] == 0.5 and made.facts["differing"] == 2
    assert made.facts["pairs"] == 6 and made.facts["unreadable"] == 2


def test_scored_pairs_differ_where_a_country_moves_more_than_an_order():
    even, first = [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]
    plain = spoken(
        ("", "W0", 0, first), ("", "W0", 1, first),  # no noise
        ("", "W1", 0, first), ("", "W1", 1, even),  # noise
        ("", "W2", 0, first), ("", "W2", 1, [0.99, 0.01, 0.0]),  # the median
    )  # fmt: skip
    slight, far = [0.995, 0.005, 0.0], [0.0, 0.0, 1.0]
    aware = spoken(
        *(("KEN", item, number, probs) for item, probs in
          (("W0", slight), ("W1", even), ("W2", far)) for number in (0, 1)),
        ("DEU", "W0", 0, [0.8, 0.2, 0.0]), ("DEU", "W0", 1, [0.6, 0.4, 0.0]),
    )  # fmt: skip
    made = pairs_of(THREE, plain, aware, answers="probabilities", **KEY)
    found = {(r["iso3"], r["item"]): r for r in made.rows}
    assert {key: row["differs"] for key, row in found.items()} == {
        ("DEU", "W0"): True,  # far beyond any noise
        ("KEN", "W0"): False,  # beyond its own noise, not beyond the median question's
        ("KEN", "W1"): False,  # within its own noise
        ("KEN", "W2"): True,
    }
    assert found["KEN", "W1"]["reason"] == IN_NOISE
    # Jensen-Shannon divergence in bits of (1, 0) and (1/2, 1/2), whose middle is (3/4, 1/4).
    by_hand = 0.5 * np.log2(4 / 3) + 0.5 * (0.5 * np.log2(2 / 3) + 0.5 * np.log2(2))
    assert found["KEN", "W1"]["noise"] == pytest.approx(by_hand**0.5)
    assert found["KEN", "W2"]["distance"] == pytest.approx(1, abs=0.01)
    assert found["DEU", "W0"]["aware_probs"] == pytest.approx([0.7, 0.3, 0])
    assert f"{made.facts['noise']:.3f}" in made.facts["rule"]
    assert made.facts["noise"] == found["KEN", "W2"]["noise"]
    with pytest.raises(PluriscopeError, match="given and reversed"):
        pairs_of(THREE, plain[plain.number == 0], aware, answers="probabilities", **KEY)


def test_pairs_are_stored_and_their_yield_is_told(tmp_path):
    store = Store(tmp_path)
    store.add_questions(to_rows("t", 1, kept(*((i.question, YES_NO) for i in THREE.items))))
    plain = spoken(("", "W0", 0, "1"), ("", "W1", 0, "2"))
    aware = spoken(("KEN", "W0", 0, "2"), ("KEN", "W1", 0, "2"), ("DEU", "W0", 0, "x"))
    store.keep_pairs(
        "t", 1, "country", "written", pairs_of(THREE, plain, aware, answers="written", **KEY).rows
    )
    told = store.pair_yield("t").set_index("iso3")
    assert told.loc["KEN", ["pairs", "differing"]].tolist() == [2, 1]
    assert told.loc["KEN", "topic"] == ECONOMY
    store.close()


# -- examples --------------------------------------------------------------------------------------

COUNTRIES = ("DEU", "KEN", "USA")
MANY = survey_of("t", 1, kept(*((f"Question {n}?", ("A", "B", "C")) for n in range(40))), SURVEY)


def scored_pairs(seed=0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for iso3 in COUNTRIES:
        for item in MANY.items:
            p, q = rng.dirichlet([1, 1, 1], 2)
            rows.append(
                {
                    "iso3": iso3, "item": item.id, "plain": int(p.argmax()) + 1,
                    "aware": int(q.argmax()) + 1, "plain_probs": p, "aware_probs": q,
                    "distance": rng.uniform(), "noise": 0.1, "differs": rng.uniform() < 0.3,
                    "reason": "",
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


PAIRS = scored_pairs()
DIFFERING = int(PAIRS.differs.sum())


def taught(arm, settings=None, **changes) -> list[dict]:
    settings = settings or tuning(cultures=COUNTRIES)
    given = {"seed": 1, "pairs": PAIRS, "written": MANY, "people": SURVEY, **changes}
    made = examples(arm, settings, PROMPTS, **given)
    lines = list(made.lines)
    assert made.total == len(lines)
    assert made.counts == {**dict.fromkeys(made.counts, 0), **Counter(x["iso3"] for x in lines)}
    return lines


def cells(lines) -> set[tuple[str, str]]:
    return {(line["iso3"], line["item"]) for line in lines}


def test_a_published_example_is_the_country_prompt_and_a_number():
    lines = taught(ARMS["culturespa"])
    assert len(lines) == DIFFERING
    rows = {(r.iso3, r.item): r for r in PAIRS.itertuples()}
    for line in lines:
        row = rows[line["iso3"], line["item"]]
        prompt = render(MANY.item(line["item"]), PROMPTS, "country", SURVEY.culture(line["iso3"]))
        assert row.differs and line["messages"] == list(prompt.messages)
        assert line["labels"] == ["1", "2", "3"] and line["weight"] == 1 and line["order"] == 0
        assert line["target"] == [float(code == row.aware) for code in (1, 2, 3)]
        assert line["shift"] is None


def test_distributions_are_taught_in_both_orders():
    lines = taught(ARMS["soft_all"])
    assert len(lines) == 2 * len(PAIRS) and {line["order"] for line in lines} == {0, 1}
    rows = {(r.iso3, r.item): r for r in PAIRS.itertuples()}
    for line in lines:
        q = rows[line["iso3"], line["item"]].aware_probs
        assert line["target"] == pytest.approx(q if line["order"] == 0 else q[::-1])
    weighted = taught(ARMS["soft"])
    assert np.mean([line["weight"] for line in weighted]) == pytest.approx(1)
    by = {(x["iso3"], x["item"]): x["weight"] for x in weighted}
    far = {key: rows[key].distance for key in by}
    ratio = {key: by[key] / far[key] for key in by}
    assert max(ratio.values()) == pytest.approx(min(ratio.values()))


def test_a_pair_that_weighs_nothing_is_not_taught():
    still = PAIRS.copy()
    nothing = still.index[~still["differs"]][::2]
    still.loc[nothing, "distance"] = 0.0
    arm = Arm("a", "A", answers="probabilities", labels="soft", choose="all", weighted=True)
    lines = taught(arm, pairs=still)
    gone = {(row.iso3, row.item) for row in still.loc[nothing].itertuples()}
    assert gone and gone.isdisjoint(cells(lines))
    assert all(line["weight"] > 0 for line in lines)
    assert np.mean([line["weight"] for line in lines]) > 0


def test_what_is_chosen():
    differing = cells(taught(Arm("a", "A")))
    same = cells(taught(Arm("a", "A", choose="same")))
    by_chance = cells(taught(Arm("a", "A", choose="random")))
    balanced = cells(taught(Arm("a", "A", choose="balanced")))
    assert len(differing) == len(same) == len(by_chance) == DIFFERING
    assert same.isdisjoint(differing) and differing < balanced
    assert len(balanced) == 2 * DIFFERING
    assert by_chance & differing and by_chance - differing
    per_country = Counter(iso3 for iso3, _ in differing)
    assert (
        Counter(iso3 for iso3, _ in same) == Counter(iso3 for iso3, _ in by_chance) == per_country
    )


def test_the_same_seed_makes_the_same_examples_and_parts_nest():
    arm = Arm("a", "A", choose="all")
    assert taught(arm) == taught(arm) != taught(arm, seed=2)
    parts = [cells(taught(replace(arm, fraction=share))) for share in (0.1, 0.5, 1.0)]
    assert parts[0] < parts[1] < parts[2]
    assert [len(part) for part in parts] == [12, 60, 120]
    assert len(taught(arm, budget=50)) == 50
    both = replace(arm, answers="probabilities", labels="soft")  # two lines a cell
    every = [{(x["iso3"], x["item"], x["order"]) for x in taught(one, budget=100)}
             for one in (replace(both, fraction=share) for share in (0.1, 0.5, 1.0))]  # fmt: skip
    assert every[0] < every[1] < every[2]  # shares of a common budget nest as well
    assert [len(part) for part in every] == [pytest.approx(n, abs=2) for n in (10, 50, 100)]
    mine = taught(replace(arm, mode="specific"), only="KEN")
    assert mine == [line for line in taught(arm) if line["iso3"] == "KEN"]


def test_controls_change_targets_and_nothing_else():
    soft = replace(ARMS["soft_all"], name="s")
    ours = {(x["iso3"], x["item"], x["order"]): x for x in taught(soft)}
    shuffled = taught(replace(soft, control="shuffled"))
    source = {}
    for line in shuffled:
        own = ours[line["iso3"], line["item"], line["order"]]
        assert line["messages"] == own["messages"] and line["target"] != own["target"]
        [other] = [
            c for c in COUNTRIES if ours[c, line["item"], line["order"]]["target"] == line["target"]
        ]
        assert source.setdefault(line["iso3"], other) == other != line["iso3"]
    assert sorted(source.values()) == sorted(COUNTRIES)
    for line in taught(replace(soft, control="world_mean")):
        of_all = [ours[c, line["item"], line["order"]]["target"] for c in COUNTRIES]
        assert line["target"] == pytest.approx(np.mean(of_all, axis=0))
    alone = tuning(cultures=("KEN",))
    with pytest.raises(PluriscopeError, match="at least two"):
        taught(replace(soft, control="shuffled"), alone)


@pytest.mark.parametrize(
    ("sister", "control"),
    [("cct_soft", "cct_random"), ("cct_soft_all", "cct_shuffled"),
     ("cct_soft_all", "cct_world_mean"), ("people", "people_shuffled"),
     ("culturespa", "random"), ("culturespa", "same"), ("culturespa", "shuffled"),
     ("soft_all", "world_mean")],
)  # fmt: skip
def test_a_control_differs_from_its_sister_in_one_thing(sister, control):
    one, other = (asdict(ARMS[name]) for name in (sister, control))
    differ = {key for key in one if one[key] != other[key]} - {"name", "title"}
    assert differ in ({"choose"}, {"control"})
    assert ARMS[control].title.startswith("Control: ")
    assert ARMS[control].human_answers == ARMS[sister].human_answers
    if not ARMS[sister].uses_human_answers:  # not every country was asked every question
        assert len(taught(ARMS[sister])) == len(taught(ARMS[control]))


def test_which_of_people_s_answers_an_arm_uses_is_said(snapshot):
    assert ARMS["soft_all"].human_answers == ARMS["culturespa"].human_answers == ""
    assert ARMS["cct_soft_all"].human_answers == snapshot
    assert "not held out" in ARMS["people"].human_answers
    assert ARMS["people_shift"].shift == 1 and ARMS["people_shift"].uses_human_answers


def test_people_s_shares_are_taught_in_both_orders_and_never_what_is_held_out():
    settings = tuning(
        cultures=("CHN", "KEN", "DEU"),
        held_out_items=("Q1", "Q2"),
        held_out_topics=(CORRUPTION,),
        held_out_cultures=("DEU",),
    )
    arm = replace(ARMS["people"], shift=0.5)
    lines = taught(arm, settings)
    assert {line["iso3"] for line in lines} == {"CHN", "KEN"}
    items = {line["item"] for line in lines}
    assert items.isdisjoint({"Q1", "Q2"} | {i.id for i in SURVEY.select(CORRUPTION)})
    assert len(items) > 200
    for line in lines[:200]:
        item = SURVEY.item(line["item"])
        shares = SURVEY.shares[line["iso3"], item.id].values
        order = list(option_orders(item, "both")[line["order"]])
        assert line["target"] == pytest.approx(shares[order])
        world = np.mean(
            [
                SURVEY.shares[c.iso3, item.id].values
                for c in SURVEY.cultures
                if c.iso3 != "DEU" and (c.iso3, item.id) in SURVEY.shares
            ],
            axis=0,
        )
        assert line["shift"] == {"world": pytest.approx(world[order]), "weight": 0.5}
    assert len(lines) == 2 * len(cells(lines))
    with pytest.raises(PluriscopeError, match="People's own shares"):
        Arm("x", "X", "people", "probabilities", choose="differing")


def test_too_few_examples_say_which_knob_to_turn():
    few = PAIRS.assign(differs=[n < 3 for n in range(len(PAIRS))])
    with pytest.raises(PluriscopeError, match=r"3 examples.*all pairs"):
        taught(ARMS["culturespa"], pairs=few)
    with pytest.raises(PluriscopeError, match=r"0 examples for KEN.*more questions"):
        taught(replace(ARMS["culturespa"], mode="specific"), pairs=few)


def test_unreadable_pairs_are_not_taught_and_examples_are_saved_as_lines(tmp_path):
    part = PAIRS.assign(
        aware=[None if i == "W0" else a for i, a in PAIRS[["item", "aware"]].values]
    )
    lines = taught(Arm("a", "A", choose="all"), pairs=part)
    assert "W0" not in {line["item"] for line in lines}
    path = tmp_path / "deep" / "examples.jsonl"
    assert save_examples(path, iter(lines)) == len(lines)
    with open(path, encoding="utf-8") as file:
        assert [json.loads(line) for line in file] == lines


def test_a_full_disk_is_said_with_what_to_do(tmp_path):
    written = [Question(0, 0, ECONOMY, "Is it?", YES_NO, reply("Is it?"), "written")]
    draft = Draft(tmp_path / "draft.part", next_round(tuning(), SURVEY, PROMPTS, [], 1))
    for name, save in {
        "lines": lambda path: save_examples(path, taught(ARMS["soft_all"])),
        "case": lambda path: save_case(path, written, [], per_topic=1),
        "draft": lambda path: draft.add(0, "text"),
    }.items():
        (tmp_path / f"{name}.part").symlink_to("/dev/full")
        with pytest.raises(PluriscopeError, match=r"No space left.*Make room"):
            save(tmp_path / name)


@needs_study
def test_the_study_s_training_prompt_word_for_word():
    prompts = load_prompt_set(STUDY / "prompts.json")
    record = json.loads((STUDY / "prompts.json").read_text(encoding="utf-8"))
    made = examples(
        Arm("a", "A", choose="all"), tuning(cultures=COUNTRIES), prompts,
        seed=1, pairs=PAIRS, written=MANY,
    )  # fmt: skip
    demonyms = {"USA": ("an", "American"), "KEN": ("a", "Kenyan"), "DEU": ("a", "German")}
    for line in made.lines:
        system, user = (message["content"] for message in line["messages"])
        assert system == record["system"]["en_culture_aware"].format(*demonyms[line["iso3"]])
        question = MANY.item(line["item"]).question
        assert user == record["user"]["en"].format(question, "1.A 2.B 3.C")
        assert sum(line["target"]) == 1 and set(line["target"]) == {0.0, 1.0}  # the number only
