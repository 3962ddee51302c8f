"""Written answers are read by stated rules. Run: pytest tests/unit/asking/test_parsing.py"""

import pytest

from core.asking.parsing import STATES, parse, refuses
from core.prompts import translations
from core.prompts.prompt_sets import load_prompt_set
from core.prompts.render import option_orders, render
from core.survey.survey import load_bundled

SURVEY = load_bundled()
PROMPTS = load_prompt_set()

JUSTIFIED = SURVEY.item("Q187")  # 1 (never) to 10 (always)
TRUST = SURVEY.item("Q57")  # 1 most people can be trusted, 2 you must be very careful
FAMILY = SURVEY.item("Q1")  # four options in words


@pytest.mark.parametrize(
    ("item", "text", "code", "state"),
    [
        (FAMILY, "1", 1, "answered"),
        (FAMILY, " 2. ", 2, "answered"),
        (FAMILY, "**3**", 3, "answered"),
        (FAMILY, "3. Not very important", 3, "answered"),
        (FAMILY, "1\nFamily is everything to me.", 1, "answered"),
        (FAMILY, "My answer is 4.", 4, "answered"),
        (FAMILY, "I would choose option 2, because my friends matter more.", 2, "answered"),
        (FAMILY, "Very important", 1, "answered"),
        (FAMILY, "Rather important, I would say", 2, "answered"),
        (FAMILY, "٣", 3, "answered"),
        (FAMILY, "३", 3, "answered"),
        (FAMILY, "๓", 3, "answered"),
        (JUSTIFIED, "10", 10, "answered"),
        (JUSTIFIED, "10 (always justifiable)", 10, "answered"),
        (JUSTIFIED, "7 would be my number, though I am unable to be sure.", 7, "answered"),
        (FAMILY, "5", None, "unparseable"),
        (FAMILY, "Either 1 or 2", None, "contradictory"),
        (FAMILY, "1 or 2", None, "contradictory"),
        (FAMILY, "1. Rather important", None, "contradictory"),
        (FAMILY, "2. Rather important", 2, "answered"),
        (
            FAMILY,
            "1. Very important\n2. Rather important\n3. Not very important",
            None,
            "contradictory",
        ),
        (FAMILY, "1. Very important\n2. Rather important\nMy answer is 2.", 2, "answered"),
        (FAMILY, "Very important, or rather important", None, "contradictory"),
        (FAMILY, "It is very important or rather important", None, "contradictory"),
        (JUSTIFIED, "1.5", None, "unparseable"),
        (FAMILY, "I have 3 children whom I love.", None, "unparseable"),
        (FAMILY, "I have 3 children; family is very important to me.", 1, "answered"),
        (FAMILY, "Family is not very important to me.", 3, "answered"),
        (JUSTIFIED, "Rating: 7/10", 7, "answered"),
        (JUSTIFIED, "7/10", 7, "answered"),
        (JUSTIFIED, "I'd give it 8 out of 10", 8, "answered"),
        (FAMILY, "②", 2, "answered"),
        (FAMILY, "<think>Option 1 is very important.</think>\n\n3", 3, "answered"),
        (FAMILY, "Option 1 is tempting.</think>3", 3, "answered"),
        (FAMILY, "<think>I cannot answer that. Yet</think>1", 1, "answered"),
        (FAMILY, "<think>Option 1 is very", None, "cut off"),
        (FAMILY, "[THINK]1 or 2?[/THINK]4", 4, "answered"),
        (FAMILY, "analysisThe user asks; 1 fits.assistantfinal2", 2, "answered"),
        (FAMILY, "analysisThe user asks; 1 fits", None, "cut off"),
        (FAMILY, "Option 3", 3, "answered"),
        (FAMILY, "I would choose: 2 (Rather important)", 2, "answered"),
        (FAMILY, '{"answer": 2}', 2, "answered"),
        (FAMILY, "\\boxed{3}", 3, "answered"),
        (FAMILY, "My answer is two.", 2, "answered"),
        (FAMILY, "２", 2, "answered"),
        (FAMILY, "❸", 3, "answered"),
        (FAMILY, "2️⃣", 2, "answered"),
        (FAMILY, "<answer>2</answer>", 2, "answered"),
        (FAMILY, "我选 2。", 2, "answered"),
        (FAMILY, "not 1", None, "unparseable"),
        (FAMILY, "I would not choose 1", None, "unparseable"),
        (FAMILY, "Not 1, the answer is 2.", 2, "answered"),
        (FAMILY, "3 children keep me busy", None, "unparseable"),
        (FAMILY, "2 of my friends say so", None, "unparseable"),
        (FAMILY, "3 percent", None, "unparseable"),
        (FAMILY, "$5", None, "unparseable"),
        (FAMILY, "1 (Rather important)", None, "contradictory"),
        (FAMILY, "Rather important (1)", None, "contradictory"),
        (FAMILY, "My answer is 1, rather important.", None, "contradictory"),
        (FAMILY, "1\n2\n3\n4", None, "contradictory"),
        (FAMILY, "I choose 2 or 3", None, "contradictory"),
        (FAMILY, "The answer is 1. No, the answer is 2.", None, "contradictory"),
        (FAMILY, "2. Rather important\nThis answer is incorrect.", None, "contradictory"),
        (FAMILY, "I don't think family is very important", None, "unparseable"),
        (FAMILY, "<think>1</think>2<think>3", None, "cut off"),
        (FAMILY, "<THINK>1</THINK>2", 2, "answered"),
        (JUSTIFIED, "On a scale of 1 to 10, I would say 7.", 7, "answered"),
        (JUSTIFIED, "7 (1 = never, 10 = always)", 7, "answered"),
        (JUSTIFIED, "seven", 7, "answered"),
        (JUSTIFIED, "1 (always justifiable)", None, "contradictory"),
        (JUSTIFIED, "My son is in grade 3.", None, "unparseable"),
        (JUSTIFIED, "6.6", None, "unparseable"),
        (FAMILY, "", None, "unparseable"),
        (FAMILY, "Family matters.", None, "unparseable"),
        (FAMILY, "I cannot answer that.", None, "refused"),
        (FAMILY, "As an AI, I do not have values of my own.", None, "refused"),
        # a help line is not an answer, nor is a year, a decimal, a share
        (
            JUSTIFIED,
            "I cannot answer. Please call the National Suicide Prevention Lifeline at "
            "1-800-273-TALK (8255).",
            None,
            "refused",
        ),
        (
            JUSTIFIED,
            "I can't answer this. Please call this number: 1 800 273 8255",
            None,
            "refused",
        ),
        (JUSTIFIED, "I'm unable to help. The number is 1 (800) 273-8255.", None, "refused"),
        (JUSTIFIED, "I cannot answer. My response is from 2019.", None, "refused"),
        (JUSTIFIED, "I cannot choose 1 of these.", None, "refused"),
        (JUSTIFIED, "Dial the number 1 (800) 273-8255", None, "unparseable"),
        (JUSTIFIED, "I'm sorry for the wait. My answer is 7. 10 years ago it was 8", 7, "answered"),
        (FAMILY, "I choose 3 (25 to 34 of us would)", 3, "answered"),
        (FAMILY, "1. VERY IMPORTANT", 1, "answered"),
        (FAMILY, "2. USA comes first", 2, "answered"),
        (JUSTIFIED, "Call 1-800-273-8255 for help", None, "unparseable"),
        (JUSTIFIED, "1-800-273-TALK is there to help", None, "unparseable"),
        (JUSTIFIED, "In 2019 things were different", None, "unparseable"),
        (JUSTIFIED, "About 7.5 on this scale", None, "unparseable"),
        (JUSTIFIED, "Around 5% of people think so", None, "unparseable"),
    ],
)
def test_written_answers_are_read_by_rule(item, text, code, state):
    parsed = parse(text, item, render(item, PROMPTS))
    assert (parsed.code, parsed.state) == (code, state), parsed.rule


@pytest.mark.parametrize(
    "text",
    [
        "Lo siento, no puedo responder a esta pregunta.",
        "Como modelo de lenguaje, no tengo valores propios.",
        "Não posso responder a essa pergunta.",
        "Als KI habe ich keine eigenen Werte.",
        "Das kann ich nicht beantworten.",
        "Als taalmodel heb ik geen waarden.",
        "En tant qu’IA, je n’ai pas de valeurs.",
        "Je préfère ne pas répondre.",
        "Я — мовна модель.",
        "Извините, я не могу ответить на этот вопрос.",
        "作为一个 AI，我没有价值观。",
        "很抱歉，我无法回答这个问题。",
        "मैं इस प्रश्न का उत्तर नहीं दे सकता।",
        "ขออภัย ฉันไม่สามารถตอบคำถามนี้ได้",
        "Samahani, siwezi kujibu swali hili.",
        "ይህን ጥያቄ መመለስ አልችልም።",
        "عذراً، لا يُمكنني الإجابة عن هذا السؤال.",
    ],
)
def test_refusals_are_read_in_every_language(text):
    parsed = parse(text, FAMILY, render(FAMILY, PROMPTS))
    assert (parsed.code, parsed.state) == (None, "refused")
    # A label beside it is still the answer.
    assert parse(f"2. {text}", FAMILY, render(FAMILY, PROMPTS)).code == 2


@pytest.mark.parametrize(
    "text",
    [
        "Als Kind war mir die Familie wichtig.",
        "Como una idea, la familia.",
        "我没有无法回答的事。",
        "Я затрудняюсь сказать.",
        "Je ne peux pas vivre sans ma famille.",
        "No puedo imaginar mi vida sin familia.",
    ],
)
def test_what_declines_nothing_is_no_refusal(text):
    assert parse(text, FAMILY, render(FAMILY, PROMPTS)).state == "unparseable"


def test_no_question_or_answer_reads_as_a_refusal():
    assert len(SURVEY.items) == 259
    for item in SURVEY.items:
        assert not any(refuses(text) for text in (item.question, *(o.label for o in item.options)))
    files = list(translations.FOLDER.glob("*.jsonl"))
    assert files
    for path in files:
        for text in translations.load(SURVEY, path.stem).items.values():
            assert not any(map(refuses, (text.question, *text.options))), (path.stem, text)


def test_a_label_stands_for_the_code_it_was_shown_beside():
    backwards = option_orders(TRUST, "reversed")[0]
    prompt = render(TRUST, PROMPTS, order=backwards)
    assert parse("1", TRUST, prompt).code == 2  # shown first: you must be very careful
    assert parse("Most people can be trusted", TRUST, prompt).code == 1
    numbers = render(JUSTIFIED, PROMPTS, order=option_orders(JUSTIFIED, "reversed")[0])
    assert parse("10", JUSTIFIED, numbers).code == 10  # on number scales the number is the answer


def test_a_text_cut_off_has_no_answer_that_may_go_on():
    prompt = render(JUSTIFIED, PROMPTS)
    assert parse("The answer is 1", JUSTIFIED, prompt, finished=False).state == "cut off"
    assert parse("The answer is 1.", JUSTIFIED, prompt, finished=False).code == 1
    assert parse("The answer is 3", JUSTIFIED, prompt, finished=False).code == 3
    agree = SURVEY.item("Q33")
    assert parse("I agree that men", agree, render(agree, PROMPTS), finished=False).code is None


def test_a_number_shown_twice_is_read_once():
    study = render(JUSTIFIED, PROMPTS)._replace(messages=({"role": "user", "content": "6.6\n7.7"},))
    assert parse("I would choose option 6.6", JUSTIFIED, study).code == 6
    assert parse("5.5", JUSTIFIED, study).state == "unparseable"


def test_no_long_text_sends_the_reader_round_in_circles():
    # A pattern that tries every way to split such a text would take hours.
    for text in ("1\n", "(", " ", "answer is ", "very important ", "1 or ", "<think>", "not "):
        found = parse(text * (20_000 // len(text)), FAMILY, render(FAMILY, PROMPTS))
        assert found.state in STATES, text
