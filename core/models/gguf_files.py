"""GGUF files, as llama.cpp, Ollama and LM Studio have them, kept as safetensors."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.models.load import loading_in_words, quiet


# Why: docs/decisions.md, "A packaged model is kept as safetensors."
def save_as_safetensors(gguf: Path, folder: Path, name: str) -> None:
    """Write a GGUF file's model and tokenizer as a model folder, in 16 bits.

    name: the model's, for people. Raises ModelError where transformers cannot read it.
    """
    with loading_in_words(name), quiet():
        read = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        config = read.config
        del config.quantization_config  # that of the file
        # A model that was read from GGUF counts as quantised and is not saved; another one is.
        plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        plain.load_state_dict(read.state_dict())
        plain.tie_weights()
        plain.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
