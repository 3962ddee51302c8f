"""Chat templates are rendered as transformers does, within bounds of time and memory."""

import pytest

from core.errors import ModelError
from core.models.chat_template import TEMPLATE_VALUES, render
from tests import tiny

TURNS = [
    {"role": "system", "content": "You grew up in Kenya. “ä\u2028”"},
    {"role": "user", "content": "Rate it from 1 to 3.\n"},
    {"role": "assistant", "content": "2"},
]


@pytest.mark.parametrize("template", [tiny.CHATML, tiny.LLAMA3, tiny.THINKING])
@pytest.mark.parametrize("prompt", [True, False])
def test_the_text_is_the_one_of_transformers(template, prompt):
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template
    for turns in (TURNS[1:2], TURNS[:2], TURNS):
        assert render(tokenizer, turns, prompt, "x") == tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=prompt, **TEMPLATE_VALUES
        )


def test_a_template_that_is_endless_for_one_prompt_harms_no_other():
    endless, good = tiny.tokenizer(), tiny.tokenizer()
    endless.chat_template = (
        "{% if 'Kenya' in messages[0]['content'] %}{{ 7 ** (9 ** (messages | length + 6)) }}"
        "{% endif %}" + tiny.LLAMA3
    )
    assert "Rate it" in render(endless, TURNS[1:], True, "x")
    for _ in range(2):
        with pytest.raises(ModelError, match=r"template of x .* an end"):
            render(endless, TURNS, True, "x")
        assert "Kenya" in render(good, TURNS, True, "y")


def test_today_is_the_same_day_for_every_template():
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }}, {{ date_string }}." + tiny.LLAMA3
    assert render(tokenizer, TURNS, True, "x").startswith("26 Jul 2024, 26 Jul 2024.")
