"""How fast models are asked: the engine beside what one would run instead, on the same prompts.

    python -m bench.engine [--sample 48] [--threads N] [--items all] [--cpu-time] [--json FILE]

A random model of Qwen2-0.5B's shape in bf16 is built from its config, with a tokenizer trained on
the prompts. The engine answers all 259 items asked plainly and as three countries. Two baselines
answer a random sample of the same prompts: the loop of the CultureSPA script (one prompt at a
time, two new tokens) and lm-evaluation-harness' Hugging Face backend. All are run in turns, a few
prompts each, so that a busy machine slows all alike; times are per prompt. Where a graphics card
is at hand, a model of Llama-3-8B's shape is asked as well, in bf16 and 4-bit.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.inference import label_rules, option_scoring
from core.inference.generation import generate
from core.inference.labels import Request
from core.inference.option_scoring import score
from core.models.load import Loaded, chat, chat_text, wrap
from core.prompts.prompt_sets import load_prompt_set
from core.prompts.render import render
from core.survey.survey import load_bundled

COUNTRIES = ("KEN", "DEU", "BRA", "JPN")
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


clock: Callable[[], float] = time.perf_counter  # see --cpu-time


# -- what is measured ------------------------------------------------------------------------------


def prompts(items: str = "all", countries: Sequence[str] = COUNTRIES[:3]) -> list[Request]:
    """Items asked plainly and as people of some countries, options in the given order."""
    survey, texts = load_bundled(), load_prompt_set()
    made = []
    for iso3 in ("", *countries):
        culture = survey.culture(iso3) if iso3 else None
        for item in survey.select(items):
            method = "country" if iso3 else "plain"
            prompt = render(item, texts, method, culture)
            made.append(Request(prompt.messages, prompt.labels))
    return made


def tokenizer(texts: Sequence[str]) -> Any:
    """A byte-level BPE trained on the prompts, digits apart, as Qwen's: 10 is two tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=20_000,
            special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|pad|>"
    )
    fast.chat_template = CHATML
    return fast


def qwen_half_billion(words: Any, dtype: torch.dtype = torch.bfloat16, **changes: Any) -> Loaded:
    """A random model of Qwen2-0.5B's shape: 24 layers, hidden 896, 151,936 tokens, tied head."""
    from transformers import AutoModelForCausalLM, Qwen2Config

    config = Qwen2Config(
        **{
            "vocab_size": 151_936,
            "hidden_size": 896,
            "intermediate_size": 4864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32_768,
            "tie_word_embeddings": True,
            "eos_token_id": words.eos_token_id,
            "pad_token_id": words.pad_token_id,
            "bos_token_id": None,
        }
        | changes
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return wrap(model, words, name="random Qwen2-0.5B")


def llama_eight_billion(words: Any, four_bit: bool) -> Loaded:
    """A random model of Llama-3-8B's shape on the graphics card, in bf16 or NF4."""
    from bitsandbytes.nn import Linear4bit, Params4bit
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    if four_bit:
        for name, layer in list(model.model.named_modules()):
            if isinstance(layer, torch.nn.Linear):
                small = Linear4bit(
                    layer.in_features,
                    layer.out_features,
                    bias=False,
                    compute_dtype=torch.bfloat16,
                    compress_statistics=True,
                    quant_type="nf4",
                )
                weight = layer.weight.data.cpu()
                small.weight = Params4bit(weight, requires_grad=False, quant_type="nf4")
                parent, _, child = name.rpartition(".")
                setattr(model.model.get_submodule(parent), child, small.to("cuda"))
        torch.cuda.empty_cache()
    return wrap(model, words, name="random Llama-3-8B", precision="nf4" if four_bit else "bf16")


# -- the contestants -------------------------------------------------------------------------------


def generate_loop(loaded: Loaded, request: Request) -> None:
    """One prompt as the CultureSPA script asks it: generate, batch 1; two new tokens, not 256."""
    ids = torch.tensor([chat(loaded, request.messages)], device=loaded.device)
    loaded.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=True,
        temperature=0.6,
        top_p=0.9,
        min_new_tokens=2,
        max_new_tokens=2,
    )


def harness(loaded: Loaded) -> Callable[[Sequence[Request]], list[list[float]]]:
    """lm-evaluation-harness' Hugging Face backend: log-likelihood of each label after the prompt.

    Batch 1, its fastest here: measured at 4 and 8 as well, padding made it 10 to 20 % slower.
    """
    import logging

    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    backend = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=1)

    def ask(requests: Sequence[Request]) -> list[list[float]]:
        instances = [
            Instance("loglikelihood", {}, (chat_text(loaded, r.messages), label), i)
            for i, r in enumerate(requests)
            for label in r.labels
        ]
        found = iter(backend.loglikelihood(instances, disable_tqdm=True))
        return [[next(found)[0] for _ in r.labels] for r in requests]

    return ask


def matrices(loaded: Loaded) -> list[torch.Tensor]:
    """The weights a token is multiplied with in every layer, the output head aside."""
    return [
        m.weight
        for name, m in loaded.model.named_modules()
        if isinstance(m, torch.nn.Linear) and "lm_head" not in name
    ]


def matmul_seconds(weights: Sequence[torch.Tensor], tokens: int) -> float:
    """Time of the bare matrix products of one step."""
    inputs = {
        w.shape[1]: torch.randn(tokens, w.shape[1], dtype=w.dtype, device=w.device) for w in weights
    }
    with torch.inference_mode():
        start = clock()
        for weight in weights:
            torch.nn.functional.linear(inputs[weight.shape[1]], weight)
        if weights[0].is_cuda:
            torch.cuda.synchronize()
        return clock() - start


@contextmanager
def counting() -> Iterator[dict[str, int]]:
    """Counts the tokens computed, the positions the head was applied to, and the most kept."""
    seen = {"tokens": 0, "heads": 0, "steps": 0, "alive": 0}
    step = option_scoring._Walk.step

    def counted(walk: Any) -> Any:
        seen["tokens"] += walk.size
        seen["steps"] += 1
        seen["heads"] += len({place for place, _ in walk.wants})
        seen["alive"] = max(seen["alive"], walk.size + walk.cached)
        return step(walk)

    option_scoring._Walk.step = counted
    try:
        yield seen
    finally:
        option_scoring._Walk.step = step


# -- the measurements ------------------------------------------------------------------------------


def scoring_speed(loaded: Loaded, requests: Sequence[Request], sample: int) -> dict[str, Any]:
    """Engine on all prompts, baselines on a sample, in turns. Milliseconds per prompt."""
    chosen = random.Random(42).sample(range(len(requests)), sample)
    evaluate = harness(loaded)
    weights = matrices(loaded)
    generate_loop(loaded, requests[chosen[0]])  # warm up
    evaluate([requests[chosen[0]]])
    list(score(loaded, requests[:8]))

    spent = {"engine": 0.0, "loop": 0.0, "harness": 0.0}
    floors, found, harness_says = [], {}, {}
    groups = [chosen[i : i + 4] for i in range(0, sample, 4)]
    every = len(requests) / len(groups)
    with counting() as seen:
        steps = score(loaded, requests)
        for turn, group in enumerate(groups, 1):
            start = clock()
            while len(found) < min(len(requests), round(turn * every)):
                index, scored = next(steps)
                found[index] = scored
            if turn == len(groups):
                found.update(steps)
            spent["engine"] += clock() - start
            start = clock()
            for index in group:
                generate_loop(loaded, requests[index])
            spent["loop"] += clock() - start
            start = clock()
            harness_says.update(zip(group, evaluate([requests[i] for i in group]), strict=True))
            spent["harness"] += clock() - start
            floors.append(matmul_seconds(weights, option_scoring.CPU_TOKENS))
        counted = dict(seen)

    engine = spent["engine"] / len(requests)
    flops = 2 * sum(w.numel() for w in weights) * option_scoring.CPU_TOKENS
    head = loaded.model.get_output_embeddings().weight.numel()
    work = 2 * (sum(w.numel() for w in weights) * counted["tokens"] + head * counted["heads"])
    rate = flops / float(np.mean(floors))  # in turns with the rest, so busy moments weigh alike
    tokens = [len(chat(loaded, r.messages)) for r in requests]
    return {
        "prompts": len(requests),
        "sample": sample,
        "tokens_per_prompt": float(np.mean(tokens)),
        "distinct_tokens_per_prompt": counted["tokens"] / len(requests),
        "most_tokens_alive": counted["alive"],
        "engine_ms": 1e3 * engine,
        "prompts_per_second": 1 / engine,
        "loop_ms": 1e3 * spent["loop"] / sample,
        "harness_ms": 1e3 * spent["harness"] / sample,
        "times_faster_than_loop": spent["loop"] / sample / engine,
        "times_faster_than_harness": spent["harness"] / sample / engine,
        "matmul_gflops": rate / 1e9,
        "best_matmul_gflops": flops / min(floors) / 1e9,
        "times_the_floor": spent["engine"] / (work / rate),
        "same_as_harness": _harness_gap(loaded, requests, found, harness_says),
    }


def _harness_gap(
    loaded: Loaded, requests: Sequence[Request], found: dict, harness_says: dict
) -> float:
    """Mean gap of the options' probabilities where both score the same, one token a label.

    Of probabilities among the options, not of log-probabilities as they are: the harness counts
    white space at the end of a prompt to every label, which cancels out here.
    """

    def among(logprobs: Sequence[float]) -> np.ndarray:
        weights = np.exp(np.array(logprobs) - max(logprobs))
        return weights / weights.sum()

    gaps = [
        np.abs(among(found[i].logprobs) - among(says)).mean()
        for i, says in harness_says.items()
        if found[i].rule == label_rules.SINGLE
    ]
    return float(np.mean(gaps))


def exactness(loaded: Loaded, requests: Sequence[Request], sample: int = 24) -> dict[str, float]:
    """Gap to a plain forward, beside the gap between two plain forwards of other batch shapes."""
    chosen = random.Random(7).sample(list(requests), sample)
    shared = dict(score(loaded, chosen))

    def plain(budget: int) -> dict[int, option_scoring.Scored]:
        shares = loaded.notes.pop("shares")
        loaded.notes["shares"] = False
        try:
            return dict(score(loaded, chosen, token_budget=budget))
        finally:
            loaded.notes["shares"] = shares

    one_by_one, batched = plain(1), plain(1000)

    def gap(a: dict, b: dict) -> tuple[float, float]:
        gaps = np.concatenate([np.abs(a[i].logprobs - b[i].logprobs) for i in a])
        return float(gaps.mean()), float(gaps.max())

    return {
        "mean_gap_to_plain": gap(shared, one_by_one)[0],
        "largest_gap_to_plain": gap(shared, one_by_one)[1],
        "mean_gap_between_plain": gap(batched, one_by_one)[0],
        "largest_gap_between_plain": gap(batched, one_by_one)[1],
    }


def writing_speed(loaded: Loaded, repeats: int = 3, tokens: int = 64) -> dict[str, float]:
    """Written answers with an explanation: four countries side by side against one."""
    survey, texts = load_bundled(), load_prompt_set()
    item = survey.item("Q164")
    sides = [
        render(item, texts, "country", survey.culture(iso3), explain=True).messages
        for iso3 in COUNTRIES
    ]
    spent = {1: [], 4: []}
    for repeat in range(repeats + 1):
        for count, times in spent.items():
            start = clock()
            written = generate(
                loaded, sides[:count], max_new_tokens=tokens if repeat else 4, seed=repeat
            )
            if repeat:
                times.append((clock() - start) / max(w.tokens for w in written))
    one, four = (float(np.median(times)) for times in spent.values())
    return {
        "one_ms_per_token": 1e3 * one,
        "four_ms_per_token": 1e3 * four,
        "four_over_one": four / one,
    }


def memory_growth(loaded: Loaded, requests: Sequence[Request]) -> dict[str, float]:
    """Most memory held while 40 prompts are asked, and while ten times as many are, in MB."""
    found = {}
    for count in (40, 400):
        _forget_peak()
        list(score(loaded, requests[:count]))
        found[f"peak_mb_{count}"] = _peak()
    return found


def _forget_peak() -> None:
    """Linux counts the most memory held anew from here on."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024


def on_a_card(words: Any, requests: Sequence[Request]) -> dict[str, Any]:
    """An 8B-shaped model in bf16 and 4-bit: prompts a second, and the share of peak."""
    result = {"card": torch.cuda.get_device_name(0)}
    square = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        seconds = matmul_seconds([square], 8192)
    peak = 2 * 8192**3 / seconds
    result["peak_tflops"] = peak / 1e12
    del square
    for four_bit in (False, True):
        loaded = llama_eight_billion(words, four_bit)
        list(score(loaded, requests[:32]))
        with counting() as seen:
            torch.cuda.synchronize()
            start = clock()
            list(score(loaded, requests))
            torch.cuda.synchronize()
            seconds = clock() - start
            work = 2 * 6.98e9 * seen["tokens"] + 2 * 128_256 * 4096 * seen["heads"]
        result["nf4" if four_bit else "bf16"] = {
            "prompts_per_second": len(requests) / seconds,
            "share_of_peak": work / seconds / peak,
            "memory_gb": torch.cuda.max_memory_allocated() / 1024**3,
        }
        loaded.release()
        del loaded
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return result


def machine() -> str:
    """The processor, its cores in use, and torch's version."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        name = lines[0].split(":")[1].strip() if lines else name
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sample", type=int, default=48, help="prompts given to the baselines")
    parser.add_argument("--threads", type=int, help="threads torch may use")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--items", default="all", help="a set of items: all, core, a topic")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count processor time of one thread, for a machine that is busy with other things",
    )
    options = parser.parse_args(arguments)
    if options.cpu_time:
        global clock
        clock, options.threads = time.process_time, 1
    if options.threads:
        torch.set_num_threads(options.threads)

    requests = prompts(options.items)
    words = tokenizer([m["content"] for r in requests for m in r.messages])
    result: dict[str, Any] = {"machine": machine()}
    print(result["machine"])
    loaded = qwen_half_billion(words)
    print(f"{loaded.name}, bf16, {loaded.memory_bytes / 1e6:.0f} MB; {len(requests)} prompts")

    figures = scoring_speed(loaded, requests, options.sample)
    result["scoring"] = figures
    print(
        f"""
option probabilities            ms a prompt    engine is
  engine, all {figures["prompts"]} prompts   {figures["engine_ms"]:10.1f}
  generate loop, sample of {figures["sample"]:<4}{figures["loop_ms"]:10.1f}    \
{figures["times_faster_than_loop"]:.2f} times as fast   (wanted: 3)
  lm-evaluation-harness      {figures["harness_ms"]:10.1f}    \
{figures["times_faster_than_harness"]:.2f} times as fast   (wanted: 3.5)
  tokens a prompt {figures["tokens_per_prompt"]:.1f}, of which distinct \
{figures["distinct_tokens_per_prompt"]:.1f}; never more than {figures["most_tokens_alive"]} alive
  arithmetic floor at {figures["matmul_gflops"]:.0f} GFLOP/s: \
{figures["times_the_floor"]:.2f} times that   (wanted: at most 1.35)
  mean gap to the harness' probabilities, one-token labels: {figures["same_as_harness"]:.4f}"""
    )
    result["exactness"] = exactness(loaded, requests)
    print("\nlog-probabilities, bf16")
    for name, value in result["exactness"].items():
        print(f"  {name.replace('_', ' '):<28}{value:.4f}")
    small = qwen_half_billion(words, torch.float32, num_hidden_layers=4)
    result["exactness_fp32"] = exactness(small, requests)
    gap = result["exactness_fp32"]["largest_gap_to_plain"]
    print(f"  fp32, 4 layers: largest gap to plain {gap:.1e}   (wanted: 1e-5)")
    del small
    result["writing"] = writing_speed(loaded)
    print(
        f"\nwritten answers: four countries side by side take "
        f"{result['writing']['four_over_one']:.2f} times one   (wanted: at most 1.6)"
    )
    result["memory"] = memory_growth(loaded, requests)
    print(
        f"peak memory: {result['memory']['peak_mb_40']:.0f} MB for 40 prompts, "
        f"{result['memory']['peak_mb_400']:.0f} MB for 400"
    )
    loaded.release()
    if torch.cuda.is_available():
        result["card"] = on_a_card(words, requests)
        print(json.dumps(result["card"], indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return result


if __name__ == "__main__":
    main()
