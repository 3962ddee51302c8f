"""The Llama architecture written for quick training on a CPU; the weights go to transformers.

Same arithmetic as `LlamaForCausalLM` (a test compares them), with projections that share an input
done as one product, everything in bf16, and the head only at the places where something is learned.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

Shapes = Sequence[tuple[int, int]]


class Block(nn.Module):
    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        width, mlp = config.hidden_size, config.intermediate_size
        self.heads, self.size = config.num_attention_heads, config.head_dim
        self.before = nn.Parameter(torch.ones(width))
        self.qkv = nn.Parameter(torch.empty(3 * width, width))
        self.out = nn.Parameter(torch.empty(width, width))
        self.after = nn.Parameter(torch.ones(width))
        self.gate_up = nn.Parameter(torch.empty(2 * mlp, width))
        self.down = nn.Parameter(torch.empty(width, mlp))

    def forward(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, shapes: Shapes
    ) -> torch.Tensor:
        width = x.shape[-1]
        h = F.rms_norm(x, (width,), self.before, 1e-6)
        qkv = F.linear(h, self.qkv).view(-1, 3, self.heads, self.size)
        turned = qkv[:, :2]
        turned = turned * cos + turned.roll(self.size // 2, -1) * sin
        mixed, start = [], 0
        for rows, length in shapes:
            part = slice(start, start + rows * length)
            q, k = (turned[part, n].view(rows, length, self.heads, -1) for n in (0, 1))
            v = qkv[part, 2].view(rows, length, self.heads, -1)
            q, k, v = (t.transpose(1, 2) for t in (q, k, v))
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            mixed.append(out.transpose(1, 2).reshape(-1, width))
            start = part.stop
        x = x + F.linear(torch.cat(mixed), self.out)
        gate, up = F.linear(F.rms_norm(x, (width,), self.after, 1e-6), self.gate_up).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, self.down)


class Student(nn.Module):
    def __init__(self, config: LlamaConfig, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.config = config
        self.embed = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.Parameter(torch.ones(config.hidden_size))
        self.head = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size))
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                shrink = (
                    math.sqrt(2 * config.num_hidden_layers) if name.endswith(("out", "down")) else 1
                )
                nn.init.normal_(
                    parameter, std=(0.02 if name in ("embed", "head") else 0.04) / shrink
                )
        size = config.head_dim
        turns = 1.0 / 10000 ** (torch.arange(0, size, 2).float() / size)
        angles = torch.arange(config.max_position_embeddings).float()[:, None] * turns
        cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)
        sin[:, : size // 2] *= -1  # rotate_half's minus sign, so that a roll does
        self.register_buffer("cos", cos)
        self.register_buffer("sin", sin)

    def forward(self, ids: torch.Tensor, shapes: Shapes, places: torch.Tensor) -> torch.Tensor:
        """Logits, bf16[M, vocab], at places of ids[T]; no mask: padding is on the right.

        ids: groups of rows laid end to end, each group padded to its longest row. shapes: rows and
        length of each group, so that a batch of short and long rows is not padded to the longest.
        """
        x = F.embedding(ids, self.embed)
        at = torch.cat([torch.arange(length).repeat(rows) for rows, length in shapes])
        cos, sin = self.cos[at].view(len(at), 1, 1, -1), self.sin[at].view(len(at), 1, 1, -1)
        for block in self.blocks:
            x = block(x, cos, sin, shapes)
        x = F.rms_norm(x[places], (x.shape[-1],), self.norm, 1e-6)
        return F.linear(x, self.head)

    def to_llama(self) -> LlamaForCausalLM:
        model = LlamaForCausalLM(self.config)
        model.load_state_dict({name: w.detach().float() for name, w in self._named().items()})
        return model

    def start_from(self, model: LlamaForCausalLM) -> None:
        """Take the weights of a saved model of the same shape."""
        saved = model.state_dict()
        with torch.no_grad():
            for name, weight in self._named().items():
                weight.copy_(saved[name])

    def _named(self) -> dict[str, torch.Tensor]:
        """The weights by their names in transformers; parts of fused matrices are views."""
        weights = {
            "model.embed_tokens.weight": self.embed,
            "model.norm.weight": self.norm,
            "lm_head.weight": self.head,
        }
        for n, block in enumerate(self.blocks):
            at = f"model.layers.{n}."
            for name, part in zip("qkv", block.qkv.chunk(3), strict=True):
                weights[f"{at}self_attn.{name}_proj.weight"] = part
            for name, part in zip(("gate", "up"), block.gate_up.chunk(2), strict=True):
                weights[f"{at}mlp.{name}_proj.weight"] = part
            weights[f"{at}self_attn.o_proj.weight"] = block.out
            weights[f"{at}mlp.down_proj.weight"] = block.down
            weights[f"{at}input_layernorm.weight"] = block.before
            weights[f"{at}post_attention_layernorm.weight"] = block.after
        return weights
