"""A prompt can be shown to the letter without the model that read it."""

import pytest

from core.inference.chat_frames import SHAPES, framed, frames_of
from core.inference.labels import lead_of
from core.models.load import chat_text
from core.prompts.methods import askable
from core.prompts.prompt_sets import load_prompt_set
from core.prompts.render import render, render_writing
from core.survey.survey import load_bundled
from tests import tiny

SURVEY, PROMPTS = load_bundled(), load_prompt_set()
KENYA, ITEM = SURVEY.culture("KEN"), SURVEY.item("Q57")
READ = {"written": chat_text, "probabilities": lambda *given: lead_of(*given)[0]}


def asked():
    """Messages as the app sends them: asked two ways, and to write a question."""
    for method in ("plain", "country"):
        for explain in (False, True):
            yield render(ITEM, PROMPTS, method, KENYA, explain=explain).messages
    yield render_writing("Religious values", [("Is it so?", ("Yes", "No"))], PROMPTS)
    yield [{"role": "user", "content": "\n  \ue0000\ue001 {user} {{ 1 + 1 }} \ue000=0\ue001"}]


@pytest.mark.parametrize("answering", list(READ))
@pytest.mark.parametrize("kind", list(tiny.TEMPLATES))
def test_a_framed_prompt_is_what_the_template_renders(kind, answering):
    loaded = tiny.loaded(kind)
    frames = frames_of(loaded)
    sent = list(asked())
    assert len(sent) == 6
    for messages in sent:
        assert framed(frames, answering, messages) == READ[answering](loaded, messages)


def test_a_template_that_opens_and_closes_a_thought_shows_it_where_labels_are_weighed():
    loaded = tiny.loaded("qwen3")
    loaded.tokenizer.chat_template = tiny.THINKING
    messages = [{"role": "user", "content": "Rate it."}]
    text = framed(frames_of(loaded), "probabilities", messages)
    assert text == chat_text(loaded, messages) + "<think>\n\n</think>\n\n"


def test_a_template_that_strips_texts_is_shown_stripping_them():
    loaded = tiny.loaded("qwen2")
    loaded.tokenizer.chat_template = loaded.tokenizer.chat_template.replace(
        "m['content']", "m['content'] | trim"
    )
    messages = [{"role": "user", "content": "  Rate it. \n"}]
    text = framed(frames_of(loaded), "written", messages)
    assert text == chat_text(loaded, messages) and "  Rate" not in text


# How Gemma 3 and Cohere's Aya treat spaces: a system text as it is, the user's without any.
UNEVEN = (
    "{% for m in messages %}{% if m['role'] == 'system' %}<sys>{{ m['content'] }}</sys>"
    "{% else %}<{{ m['role'] }}>{{ m['content'] | trim }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.mark.parametrize("answering", list(READ))
def test_a_template_may_strip_one_text_and_not_the_other(answering):
    loaded = tiny.loaded("qwen2")
    loaded.tokenizer.chat_template = UNEVEN
    messages = [
        {"role": "system", "content": " You live in Kenya. "},
        {"role": "user", "content": " Rate it. "},
    ]
    text = framed(frames_of(loaded), answering, messages)
    assert text == READ[answering](loaded, messages)
    assert "<sys> You live in Kenya. </sys><user>Rate it.</s>" in text


def test_a_template_that_changes_texts_has_no_frame():
    loaded = tiny.loaded("qwen2")
    loaded.tokenizer.chat_template = "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}"
    assert frames_of(loaded) == {}
    assert framed({}, "written", [{"role": "user", "content": "Rate it."}]) is None


def test_there_is_a_frame_for_the_roles_of_every_method():
    for method in askable():
        if "examples" in method or "cross" in method:
            continue
        messages = render(ITEM, PROMPTS, method, KENYA).messages
        assert tuple(message["role"] for message in messages) in SHAPES
