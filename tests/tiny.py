"""Tiny chat models of real architectures, from a config, with a tokenizer trained on the spot.

    loaded_folder = tiny.save(tmp_path / "model", "qwen3")      # a folder transformers can load
    loaded = tiny.loaded("gemma2")                              # the same in memory, as core.models

Kinds: "llama", "qwen2", "qwen3", "gemma2", "gemma3", "mistral". Weights are random but seeded.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from core.survey.survey import load_bundled

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>"
    "\n\n{{ m['content'] | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
# No system role, as in Gemma 2: a system message raises.
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "<start_of_turn>{{ role }}\n{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
# Writes an empty thought before an answer, as Qwen 3 does when thinking is off.
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {
    "llama": LLAMA3,
    "mistral": LLAMA3,
    "qwen2": CHATML,
    "qwen3": CHATML,
    "gemma2": GEMMA,
    "gemma3": GEMMA,
}
SPECIALS = (
    "<|pad|>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|im_start|>",
    "<|im_end|>",
    "<start_of_turn>",
    "<end_of_turn>",
)
END_OF_TURN = {
    "llama": "<|eot_id|>",
    "mistral": "<|eot_id|>",
    "qwen2": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "gemma2": "<end_of_turn>",
    "gemma3": "<end_of_turn>",
}


@lru_cache(maxsize=8)
def _trained(digits: str, vocab_size: int) -> str:
    """A byte-level BPE trained on the bundled survey's own words, as JSON.

    digits: "whole" keeps 10 as one token (as Llama 3 does); "split" writes 1, 0 (Qwen, Gemma).
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    survey = load_bundled()
    words = [
        f"{item.question}\n" + "\n".join(f"{o.code}. {o.label}" for o in item.options)
        for item in survey.items
    ]
    words += [
        f"As a person from {c.name}, {c.article} {c.demonym} person." for c in survey.cultures
    ]
    words += ["10\n" * 200, "system user assistant model Question Options Reply with the number"]
    tokenizer = Tokenizer(models.BPE())
    number = (
        pre_tokenizers.Digits(individual_digits=True)
        if digits == "split"
        else pre_tokenizers.Split(Regex(r"\d{1,3}"), "isolated")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [number, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        words,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(SPECIALS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer.to_str()


def tokenizer(kind: str = "llama", *, digits: str | None = None, vocab_size: int = 700):
    """A fast tokenizer with the kind's chat template. digits: "whole" or "split"."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    digits = digits or ("whole" if kind in ("llama", "mistral") else "split")
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained(digits, vocab_size)),
        bos_token="<|begin_of_text|>",
        eos_token=END_OF_TURN[kind],
        pad_token="<|pad|>",
    )
    made.chat_template = TEMPLATES[kind]
    return made


def config(kind: str = "llama", *, vocab_size: int = 700, **changes):
    """A config of the kind: 3 layers, hidden 64, 4 heads on 2 key-value heads.

    64 and not less because NF4 works in blocks of 64.
    """
    from transformers import (
        Gemma2Config,
        Gemma3TextConfig,
        LlamaConfig,
        MistralConfig,
        Qwen2Config,
        Qwen3Config,
    )

    made = {
        "llama": LlamaConfig,
        "mistral": MistralConfig,
        "qwen2": Qwen2Config,
        "qwen3": Qwen3Config,
        "gemma2": Gemma2Config,
        "gemma3": Gemma3TextConfig,
    }[kind]
    size = {
        "vocab_size": vocab_size,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 2048,
        "bos_token_id": SPECIALS.index("<|begin_of_text|>"),
        "eos_token_id": SPECIALS.index(END_OF_TURN[kind]),
        "pad_token_id": SPECIALS.index("<|pad|>"),
        "tie_word_embeddings": kind.startswith("gemma"),
    }
    if kind == "qwen2":
        size.pop("head_dim")  # Qwen 2 takes hidden / heads
    if kind.startswith("gemma"):
        # Far shorter than a prompt, so that a window that is ignored shows.
        size |= {"sliding_window": 24, "query_pre_attn_scalar": 16}
        size["layer_types"] = ["sliding_attention", "full_attention", "sliding_attention"]
    if kind == "mistral":
        size["sliding_window"] = 24
    return made(**(size | changes))


def model(kind: str = "llama", *, seed: int = 0, scale: float = 0.3, **changes):
    """A model with random weights, in eval mode. scale: standard deviation of the weights.

    0.3 rather than transformers' 0.02: answers then differ by whole logits between prompts.
    """
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    made = AutoModelForCausalLM.from_config(config(kind, initializer_range=scale, **changes))
    return made.eval()


def save(
    folder: Path,
    kind: str = "llama",
    *,
    seed: int = 0,
    digits: str | None = None,
    template: str | None = None,
    **changes,
) -> Path:
    """Write config, safetensors, tokenizer and chat template into `folder`, and return it.

    template: another chat template; "" writes none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model(kind, seed=seed, **changes).save_pretrained(folder, safe_serialization=True)
    words = tokenizer(kind, digits=digits, vocab_size=changes.get("vocab_size", 700))
    if template is not None:
        words.chat_template = template or None
    words.save_pretrained(folder)
    return folder


def save_gguf(file: Path, *, seed: int = 0) -> Path:
    """A tiny Llama as a GGUF file, as llama.cpp's converter writes one. Returns `file`."""
    import json

    import numpy as np
    import torch
    from gguf import GGUFWriter

    words = tokenizer("qwen2")
    trained = json.loads(words.backend_tokenizer.to_str())["model"]
    vocabulary = sorted(words.get_vocab(), key=words.get_vocab().get)
    writer = GGUFWriter(str(file), "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token in SPECIALS else 1 for token in vocabulary])
    writer.add_token_merges([" ".join(pair) for pair in trained["merges"]])
    writer.add_bos_token_id(words.bos_token_id)
    writer.add_eos_token_id(words.eos_token_id)
    writer.add_chat_template(CHATML)
    random = np.random.default_rng(seed)
    narrow, wide, norm = (32, 64), (96, 64), (64,)
    block = {
        "attn_q": (64, 64), "attn_k": narrow, "attn_v": narrow, "attn_output": (64, 64),
        "ffn_gate": wide, "ffn_up": wide, "ffn_down": wide[::-1],
        "attn_norm": norm, "ffn_norm": norm,
    }  # fmt: skip
    shapes = {f"blk.{i}.{name}.weight": shape for i in range(2) for name, shape in block.items()}
    shapes |= {"token_embd.weight": (len(vocabulary), 64), "output_norm.weight": norm}
    for name, shape in shapes.items():
        values = random.normal(0, 0.2, shape) + (1 if shape == norm else 0)
        in_16_bits = torch.tensor(
            values, dtype=torch.bfloat16
        )  # so that keeping them loses nothing
        writer.add_tensor(name, in_16_bits.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def save_adapter(folder: Path, base: Path, *, seed: int = 1, rank: int = 4, scale: float = 0.5):
    """Write a LoRA adapter for the model in `base` that changes its answers. Returns `folder`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    tuned = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        LoraConfig(r=rank, lora_alpha=rank, target_modules=["q_proj", "v_proj", "down_proj"]),
    )
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:  # zero at birth: an adapter that changes nothing
            torch.nn.init.normal_(weight, std=scale)
    tuned.save_pretrained(folder)
    return folder


def encoder(folder: Path, *, seed: int = 0) -> Path:
    """A tiny BERT-like encoder with random weights, as a folder; for what texts mean."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape = BertConfig(
        vocab_size=700,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.5,
        **size,
    )
    BertModel(shape).save_pretrained(folder)
    tokenizer("qwen2").save_pretrained(folder)
    return folder


def loaded(
    kind: str = "llama", *, seed: int = 0, digits: str | None = None, template: str = "", **changes
):
    """A tiny model in memory, as core.models.load would return it (fp32, CPU).

    template: a chat template in place of the kind's own.
    """
    from core.models.load import wrap

    made = tokenizer(kind, digits=digits, vocab_size=changes.get("vocab_size", 700))
    made.chat_template = template or made.chat_template
    return wrap(
        model(kind, seed=seed, **changes),
        made,
        name=f"tiny {kind}",
    )
