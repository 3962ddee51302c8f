"""Questions in other languages: the bundled translations, a user's own, and what is missing."""

import csv
import json
import re

import pytest

from core.__main__ import main
from core.analysis import scores
from core.asking import languages
from core.asking.parsing import parse
from core.asking.questionnaire import Questionnaire
from core.asking.settings import AskSettings
from core.errors import PluriscopeError
from core.importers import places
from core.importers.imported import make_survey
from core.jobs import estimates
from core.jobs import plan as jobs_plan
from core.jobs.choices import AskChoices
from core.jobs.plan import plan_survey
from core.jobs.queue import Jobs
from core.models.spec import ModelSpec
from core.prompts import translations
from core.prompts.prompt_sets import load_prompt_set
from core.prompts.render import is_numeric, option_orders, render
from core.prompts.translations import DRAFTS, FOLDER
from core.store.store import Store
from core.survey.survey import load_bundled
from core.views import export, items, provenance, runs, side_by_side
from tests.translation_files import line, prompts

SURVEY = load_bundled()
CODES = sorted(path.stem for path in FOLDER.glob("*.jsonl"))
JUSTIFIED, FAMILY = SURVEY.item("Q182"), SURVEY.item("Q46")


def in_language(code: str):
    return translations.load(SURVEY, code)


# -- what comes along ------------------------------------------------------------------------------


def test_thirteen_languages_hold_the_core_set():
    assert len(CODES) == 13
    assert translations.languages(SURVEY)[0] == "en"
    assert sorted(translations.languages(SURVEY)[1:]) == CODES
    for code in CODES:
        assert set(in_language(code).items) == set(SURVEY.core_ids), code
        assert len(in_language(code).countries) == 61, code


def test_the_drafts_are_those_the_readme_names():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\|(.*)\| \*\*draft", text, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == DRAFTS
    assert all(text.draft for text in in_language("sw").items.values())
    assert not any(text.draft for text in in_language("de").items.values())


def test_english_prompts_are_the_same_in_both_places():
    english = json.loads((FOLDER / "prompts.json").read_text(encoding="utf-8"))["en"]
    ours = load_prompt_set().texts
    assert {key: ours[key] for key in english} == english


@pytest.mark.parametrize("code", CODES)
def test_every_prompt_can_be_asked_in_every_language(code):
    there = in_language(code)
    translations.check_prompts(there.prompts.texts, code)
    kenya = there.culture(SURVEY.culture("KEN"))
    assert len(SURVEY.core_ids) == 52
    for item_id in SURVEY.core_ids:
        english, item = SURVEY.item(item_id), there.item(SURVEY.item(item_id))
        assert item.codes == english.codes and is_numeric(item) == is_numeric(english)
        for order in option_orders(item, "both"):
            prompt = render(item, there.prompts, "country", kenya, order=order)
            shown = prompt.messages[0]["content"] + prompt.messages[1]["content"]
            assert kenya.name in shown and item.question in shown
            assert not re.search(r"\{[a-z0-9_]+\}", shown)
            assert all(label.isascii() and label.isdigit() for label in prompt.labels)
            assert all(f"{label}" in prompt.messages[1]["content"] for label in prompt.labels)


@pytest.mark.parametrize(
    ("code", "text", "number"),
    [
        ("ar", "٣", 3),
        ("ar", "١٠", 10),
        ("ar", "٧.", 7),
        ("hi", "३", 3),
        ("hi", "१०।", 10),
        ("th", "๓", 3),
        ("th", "ข้อ ๗", 7),
        ("zh", "３", 3),
        ("zh", "我选择3。", 3),
        ("zh", "答案：8", 8),
        ("am", "5።", 5),
        ("ru", "7. Скорее да", 7),
        ("zh", "我没有意见。", None),
        ("zh", "在3到5之间", None),
    ],
)
def test_answers_in_the_digits_of_a_language_are_read(code, text, number):
    there = in_language(code)
    item = there.item(JUSTIFIED)
    assert parse(text, item, render(item, there.prompts)).code == number


def test_answers_in_the_words_of_a_language_are_read():
    item = in_language("de").item(FAMILY)
    prompt = render(item, in_language("de").prompts)
    for option in item.options:
        assert parse(f"{option.label}.", item, prompt).code == option.code


# -- whom in which ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("languages")
        patch.setenv("PLURISCOPE_HOME", str(home))
        store = Store(home)
        yield store
        store.close()


def planned(store, **changes):
    return plan_survey(store, AskChoices(ModelSpec("example/model"), **changes))


def test_each_country_is_asked_in_its_first_language_with_a_translation(store, snapshot):
    made = planned(store, language="own", cultures="all")
    plain, country = made.settings
    assert plain.language == "en" and len(plain.cultures) == 61
    speaks = country.speaks
    assert (speaks["DEU"], speaks["AND"], speaks["KEN"], speaks["KAZ"]) == ("de", "es", "en", "ru")
    assert speaks["IND"] == "hi" and "JPN" not in speaks  # Japanese is not there
    assert country.cultures == tuple(speaks) and len(speaks) == 42
    notes = " ".join(made.notes)
    assert "19 countries" in notes and "Japan" in notes
    assert "Amharic, Hindi and Thai" in notes
    assert notes == snapshot


def test_what_is_not_translated_is_left_out_or_asked_in_english_and_never_silently(store, snapshot):
    every = len(SURVEY.items)
    left_out = planned(store, language="de", items="all", methods=["country"], cultures=["DEU"])
    (german,) = left_out.settings
    assert german.items == tuple(i.id for i in SURVEY.select("core"))
    (said,) = [note for note in left_out.notes if f"{every - 52} of {every}" in note]
    assert "German" in said and said == snapshot
    instead = planned(
        store,
        language="de",
        items="all",
        methods=["country"],
        cultures=["DEU"],
        english_instead=True,
    )
    (both,) = instead.settings
    assert len(both.items) == every
    assert "and asked in English." in instead.notes[0]
    by_item = {
        one.key[1]: one.prompt.messages[1]["content"]
        for one in Questionnaire(
            both, SURVEY, instead.prompts, {"de": instead.translations[0]}
        ).planned()
    }
    assert by_item["Q57"].startswith("Frage:") and by_item["Q58"].startswith("Question:")
    with pytest.raises(PluriscopeError, match="translated into German"):
        planned(store, language="de", items=["Q58"])
    with pytest.raises(PluriscopeError, match="There are: English"):
        planned(store, language="ja")


def test_what_asking_in_another_language_takes_is_told_before(store):
    made = planned(store, language="de", items=["Q57"], methods=["country"], cultures=["DEU"])
    assert estimates.estimate(store, made).prompts == 2


def test_a_wording_and_a_language_have_to_go_together(store, tmp_path):
    record = {"id": "mine", "name": "Mine", "language": "de"}
    texts = dict(in_language("de").prompts.texts) | {"plain_system": "Sie sind ein Mensch."}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({**record, "texts": texts}), encoding="utf-8")
    made = planned(store, language="de", prompt_set=str(path))
    assert made.settings[0].prompt_sha256 == made.prompts.sha256
    assert made.translations[0].prompts.texts["plain_system"] == "Sie sind ein Mensch."
    for wrong in ({"language": "en", "prompt_set": str(path)}, {"language": "fr"}):
        with pytest.raises(PluriscopeError, match=r"[Ww]ording"):
            planned(store, **{"prompt_set": str(path), **wrong})


def test_examples_speak_the_language_of_the_question(store):
    made = planned(
        store,
        language="own",
        cultures=["DEU", "KEN"],
        methods=["country_examples"],
        items=["Q57"],
        orders="given",
    )
    german, kenyan = Questionnaire(
        made.settings[0], SURVEY, made.prompts, {"de": made.translations[0]}
    ).planned()
    content = german.prompt.messages[1]["content"]
    assert content.count("Frage: ") == 6 and "Question:" not in content
    core = {in_language("de").items[item].question for item in SURVEY.core_ids}
    assert set(re.findall(r"Frage: (.*)", content)) <= core
    assert kenyan.prompt.messages[1]["content"].count("Question: ") == 6


def test_settings_from_before_there_were_languages_still_load(store):
    record = json.loads(json.dumps(planned(store).settings[1].to_json()))
    for name in ("speaks", "translations", "english_instead", "derived"):
        del record[name]
    old = AskSettings.from_json(record)
    assert len(old.planned_cells(SURVEY)) == 18 * 52 * 2
    assert old.asked_in("KEN", "Q57") == "en"


# -- a user's own ----------------------------------------------------------------------------------


def test_a_users_translation_is_asked(home, tmp_path, capsys, snapshot):
    file = tmp_path / "mine" / "ja.jsonl"
    file.parent.mkdir()
    file.write_text(f"{line('Q57')}\n{line('Q58', draft=True)}\n", encoding="utf-8")
    assert main(["import", "translation", str(file)]) == 2
    assert "wording in Japanese" in capsys.readouterr().err
    (file.parent / "prompts.json").write_text(prompts(), encoding="utf-8")
    (file.parent / "countries.json").write_text(
        json.dumps({"ja": {"JPN": "日本"}}), encoding="utf-8"
    )
    assert main(["import", "translation", str(file), "--json"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record == {"language": "ja", "survey": "wvs7", "items": 2, "drafts": 1, "of": 259}

    store = Store(home)
    made = planned(store, language="own", cultures=["JPN", "DEU"], items=["Q57", "Q58"])
    assert made.settings[1].speaks == {"DEU": "de", "JPN": "ja"}
    asked = {key[:2] for key in made.settings[1].planned_cells(SURVEY)}
    assert asked == {("JPN", "Q57"), ("JPN", "Q58"), ("DEU", "Q57")}
    (said,) = [note for note in made.notes if "1 of 2" in note]
    assert "German" in said and said == snapshot
    across = planned(store, language="ja", items=["Q57"], methods=["cross_culture"], cultures="all")
    (said,) = [note for note in across.notes if "English name" in note]
    assert "60 countries" in said and "48 others" in said and "Japan," not in said
    assert said == snapshot
    assert not any("English name" in note for note in made.notes)
    store.close()


def test_imported_countries_are_asked_in_their_own_language_and_by_their_name_in_it(home):
    # A survey of the bundled items in countries that the bundled survey has not.
    cultures = tuple(places.culture(iso3) for iso3 in ("FRA", "AUT", "HKG", "TUR", "LKA", "DZA"))
    shares = {(culture.iso3, "Q57"): SURVEY.shares["DEU", "Q57"] for culture in cultures}
    mine = make_survey("mine", "Mine", [SURVEY.item("Q57")], cultures, shares)
    store = Store(home)
    store.add_survey(mine)
    made = planned(store, survey="mine", language="own", cultures="all", items=["Q57"])
    speaks = {"FRA": "fr", "AUT": "de", "HKG": "zh", "DZA": "ar"}
    assert made.settings[1].speaks == speaks
    (without,) = [note for note in made.notes if "no translation" in note]
    assert "2 countries" in without and "Turkey" in without and "Sri Lanka" in without
    by_language = {there.language: there for there in made.translations}
    names = {c: by_language[to].culture(mine.culture(c)).name for c, to in speaks.items()}
    assert names == {"FRA": "France", "AUT": "Österreich", "HKG": "香港", "DZA": "الجزائر"}
    assert not any("English name" in note for note in made.notes)
    store.close()


@pytest.mark.parametrize("code", CODES)
def test_every_country_that_can_be_imported_has_a_name_and_a_language(code):
    with open(places.COUNTRIES, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = json.loads((FOLDER / "countries.json").read_text(encoding="utf-8"))[code]
    assert {row["iso3"] for row in rows} == set(names) and all(map(str.strip, names.values()))
    assert all(re.fullmatch(r"[a-z]{2,3}(;[a-z]{2,3})*", row["languages"]) for row in rows)


def test_a_translation_is_brought_in_from_uploads(home, snapshot):
    store = Store(home)
    uploads = {"mine.jsonl": line("Q57").encode(), "prompts.json": prompts().encode()}
    there = languages.bring_in_uploads(SURVEY, uploads)
    assert languages.imported_words(there, SURVEY) == snapshot
    (asked,) = planned(store, language="ja", cultures=["JPN"], methods=["country"]).settings
    assert asked.items == ("Q57",)
    for wrong, sentence in (
        ({"prompts.json": b"{}"}, "one file of items"),
        ({"a.jsonl": b"", "b.jsonl": b""}, "one file of items"),
        ({"a.jsonl": b"", "../x.json": b""}, "../x.json is none of them"),
        ({"a.jsonl": b"\xff"}, "not UTF-8"),
    ):
        with pytest.raises(PluriscopeError, match=re.escape(sentence)):
            languages.bring_in_uploads(SURVEY, wrong)
    store.close()


def test_a_users_item_goes_before_the_bundled_one(home):
    folder = languages.folder()
    folder.mkdir()
    (folder / "de.jsonl").write_text(line("Q57", "de"), encoding="utf-8")
    there = translations.load(SURVEY, "de", folder)
    assert there.items["Q57"].question == "質問 Q57" and len(there.items) == 52
    assert there.sha256 != in_language("de").sha256


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("{", "Line 2 is not JSON"),
        ("[1]", "Line 2 is not an item"),
        (line("Q57", options=None), "options have to be a list"),
        (line("Q57", question=" "), "a text is missing or empty"),
        (line("Q57", question="x" * 3000), "longer than 2,000"),
        (line("Q57", id="Q999"), "the survey has no item 'Q999'"),
        (line("Q57", language="Japanese!"), "no language code"),
        (line("Q57", language="ko"), "several languages"),
        (line("Q57", options=[{"code": 1, "label": "a"}]), "have to be coded 1, 2"),
        (line("Q57", options=[{"code": n, "label": "a"} for n in (1, 2)]), "say the same"),
        (line("Q1"), "Q1 is there twice"),
        (json.dumps({"id": "Q57"}), "lacks language, label, question, options"),
    ],
)
def test_every_wrong_line_is_named_and_nothing_is_kept(tmp_path, wrong, sentence):
    file, folder = tmp_path / "ja.jsonl", tmp_path / "home"
    file.write_text(f"{line('Q1')}\n{wrong}\n", encoding="utf-8")
    (tmp_path / "prompts.json").write_text(prompts(), encoding="utf-8")
    with pytest.raises(PluriscopeError, match=re.escape(sentence)):
        translations.add(file, SURVEY, folder, bundled=True)
    assert not folder.exists()


def test_a_translation_is_kept_without_markup_and_unseen_characters(tmp_path):
    file, folder = tmp_path / "ja.jsonl", tmp_path / "home"
    options = [{"code": 1, "label": "はい\u202e"}, {"code": 2, "label": "<b>いいえ</b>"}]
    text = "<script>alert(1)</script>質\u0007問\n\n?"
    file.write_text(line("Q57", question=text, options=options), encoding="utf-8")
    wording = "質問：{question}\n<i>選択肢</i>：\u0000\n{options}"
    (tmp_path / "prompts.json").write_text(prompts(question_user=wording), encoding="utf-8")
    (tmp_path / "countries.json").write_text(
        json.dumps({"ja": {"JPN": "日本\n<b>!</b>", "DEU": "<b></b>"}}), encoding="utf-8"
    )
    translations.add(file, SURVEY, folder, bundled=True)
    there = translations.load(SURVEY, "ja", folder)
    assert there.items["Q57"].question == "質問 ?"
    assert there.items["Q57"].options == ("はい", "いいえ")
    assert there.prompts.texts["question_user"] == "質問：{question}\n選択肢：\n{options}"
    assert there.countries == {"JPN": "日本 !"}
    file.write_text(line("Q57", question="<b></b>"), encoding="utf-8")
    with pytest.raises(PluriscopeError, match=r"Line 1.*markup"):
        translations.add(file, SURVEY, tmp_path / "other", bundled=True)


DEEP = "[" * 200_000


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (DEEP, "prompts.json is not a file of translations"),
        ("{", "prompts.json is not a file of translations"),
        ("[]", "has to be {…}"),
        ('{"ja": "' + " " * 20_000_000 + '"}', "larger than 20 MB"),
        (prompts(plain_system="x" * 20_000), "longer than 10,000 characters"),
    ],
)
def test_a_wording_beside_a_translation_is_read_or_refused(tmp_path, content, sentence):
    (tmp_path / "ja.jsonl").write_text(line("Q57"), encoding="utf-8")
    (tmp_path / "prompts.json").write_text(content, encoding="utf-8")
    with pytest.raises(PluriscopeError, match=sentence):
        translations.add(tmp_path / "ja.jsonl", SURVEY, tmp_path / "home", bundled=True)
    assert not (tmp_path / "home").exists()


def test_wordings_without_their_blanks_and_other_files_are_refused(tmp_path):
    file = tmp_path / "ja.jsonl"
    with pytest.raises(PluriscopeError, match="There is no file"):
        translations.add(file, SURVEY, tmp_path / "home", bundled=True)
    file.write_bytes("質問".encode("shift-jis"))
    with pytest.raises(PluriscopeError, match="not UTF-8"):
        translations.add(file, SURVEY, tmp_path / "home", bundled=True)
    file.write_text(line("Q1"), encoding="utf-8")
    (tmp_path / "prompts.json").write_text(prompts(question_user="?"), encoding="utf-8")
    with pytest.raises(PluriscopeError, match=r"question_user.*\{question\}, \{options\}"):
        translations.add(file, SURVEY, tmp_path / "home", bundled=True)


# -- asked, scored, shown --------------------------------------------------------------------------


def test_answers_in_several_languages_are_one_run_that_says_so(home, tiny_model):
    store = Store(home)
    queue = Jobs(store)
    made = plan_survey(
        store,
        AskChoices(
            ModelSpec(str(tiny_model), precision="fp32"),
            cultures=["DEU", "JPN", "KEN", "THA"],
            items=["Q57", "Q164", "Q182"],
            orders="given",
            language="own",
        ),
    )
    job = queue.wait(queue.start(made))
    queue.close()
    assert job.state == "done", job.error
    _, run = (store.run(run_id) for run_id in job.runs)
    assert run.answered == 3 * 3
    table = scores.table(store, run).set_index("iso3")
    assert set(table.index) == {"", "DEU", "KEN", "THA"}
    item = SURVEY.item("Q57")
    assert "Frage:" in items.prompt_of(store, run, item, "DEU").messages[1]["content"]
    assert "Question:" in items.prompt_of(store, run, item, "KEN").messages[1]["content"]
    assert "ไทย" in items.prompt_of(store, run, item, "THA").messages[0]["content"]
    kicker = runs.run_kicker(store, run)
    assert "own language" in kicker and "in draft" in kicker
    assert "into Thai is a draft" in runs.draft_words(run)
    assert "German 1" in provenance.provenance_text(store, run)
    record = json.loads(export.run_json(store, run.id))
    assert set(record["translations"]) == {"de", "th"}
    assert record["translations"]["de"]["wording"]["question_user"].startswith("Frage")
    assert "German: wording" in provenance.provenance_text(store, run)
    card = provenance.card(store, run)
    assert card["languages"] == {"DEU": "de", "KEN": "en", "THA": "th"}
    assert set(card["translations"]) == {"de", "th"} and card["english_instead"] is False
    for language, iso3 in (("de", "DEU"), ("th", "THA")):
        used, there = card["translations"][language], in_language(language)
        assert (used["sha256"], used["prompt_sha256"]) == (there.sha256, there.prompts.sha256)
        assert set(used["items"]) == {"Q57", "Q164", "Q182"}
        assert used["countries"] == {iso3: there.countries[iso3]}
        # The card alone is enough to put the question again in the very same words.
        system, user = (
            message["content"] for message in items.prompt_of(store, run, item, iso3).messages
        )
        assert system == used["prompt"]["system"].replace("{country}", used["countries"][iso3])
        asked, options = used["items"]["Q57"].values()
        listed = "\n".join(f"{code}. {label}" for code, label in options.items())
        blanks = used["prompt"]["user"].replace("{question}", asked)
        assert user == blanks.replace("{options}", listed), user
    # Asked again, it is asked in the same words.
    again = jobs_plan.again(store, run)
    assert again.settings == made.settings
    assert {one.sha256 for one in again.translations} == {one.sha256 for one in made.translations}
    store.close()


def test_english_stands_beside_languages_of_other_scripts_and_drafts(store):
    countries, item = ["CHN", "THA", "USA"], SURVEY.item("Q57")
    made = jobs_plan.plan_question(
        store,
        AskChoices(
            ModelSpec("example/model"),
            cultures=countries,
        ),
        item.id,
        own_language=True,
    )
    by_language = {there.language: there for there in made.translations}
    assert set(by_language) == {"zh", "th"}
    seen = set()
    for settings in made.settings:
        for one in Questionnaire(settings, SURVEY, made.prompts, by_language).planned():
            iso3 = one.key[0]
            there = by_language.get(settings.asked_in(iso3, item.id))
            system, user = (message["content"] for message in one.prompt.messages)
            words = there.item(item) if there else item
            assert one.item == words
            assert words.question in user and all(o.label in user for o in words.options)
            if iso3:
                culture = SURVEY.culture(iso3)
                assert (there.culture(culture) if there else culture).name in system
            seen.add((settings.answering, iso3, there.language if there else "en"))
    sides = [("", "en"), ("CHN", "en"), ("CHN", "zh"), ("THA", "en"), ("THA", "th"), ("USA", "en")]
    assert seen == {(how, *side) for how in ("probabilities", "written") for side in sides}
    shown = side_by_side.preview(SURVEY, item, countries, "country", own_language=True)
    assert [(side.iso3, side.language) for side in shown] == sides
    assert [side.title for side in shown if side.language != "en"] == [
        "China, in Chinese", "Thailand, in Thai (draft)"
    ]  # fmt: skip
