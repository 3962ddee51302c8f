"""Chat templates that do what real ones do, in a line or two each."""

# Mistral 7B Instruct v0.3, Nemo, Mixtral 8x22B: the system text is written before the last message,
# and only where that is the user's.
REWRITES_EARLIER_TURNS = (
    "{{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{% set ns.system = m['content'] %}"
    "{% elif m['role'] == 'user' %}{{ '[INST] ' }}"
    "{% if loop.last and ns.system %}{{ ns.system + '\n\n' }}{% endif %}"
    "{{ m['content'] + '[/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
# Qwen 3 with thinking off, by its own means: an empty thought before the last answer.
EMPTY_THOUGHT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# DeepSeek R1's distillations, QwQ: a thought is opened to have a reply generated, and left out of a
# reply that is there.
OPENS_THOUGHT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
# gpt-oss: a reply stands in a channel of its own.
CHANNELS = (
    "{% for m in messages %}<|start|>{{ m['role'] }}"
    "{% if m['role'] == 'assistant' %}<|channel|>final{% endif %}<|message|>"
    "{{ m['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
# Gemma 2: a system message raises.
NO_SYSTEM = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "<start_of_turn>{{ role }}\n{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
# Gemma 3 (system text put before the user's), content as a list of parts.
PARTS = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{{ part['text'] }}{% endfor %}{% endif %}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
# Cannot write a reply at all.
NO_REPLY = (
    "{% for m in messages %}"
    "{% if m['role'] == 'assistant' %}{{ raise_exception('No.') }}{% endif %}"
    "{{ m['content'] }}\n{% endfor %}Answer:"
)
SEVERAL = {
    "rewrites earlier turns": REWRITES_EARLIER_TURNS,
    "empty thought": EMPTY_THOUGHT,
    "opens a thought": OPENS_THOUGHT,
    "channels": CHANNELS,
    "no system": NO_SYSTEM,
    "parts": PARTS,
    "no reply": NO_REPLY,
}
