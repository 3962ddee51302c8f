"""How fast a model writes questions: large batches beside the study's loop, one at a time.

    python -m bench.writing [--topics 6] [--sample 8] [--tokens 64] [--threads N] [--cpu-time]

A random model of Qwen2-0.5B's shape in bf16 writes a round of questions. Random weights never end
a text, so every text has the same number of tokens for both, and they hardly prefer one token to
another, so the temperature is 0.1. The loop is the CultureSPA script's: transformers' generate, one
prompt at a time. Both take turns, so that a busy machine slows both alike. Then the built-in model
writes real questions, 40 on each topic, as a tuning has them written, and they are judged.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import engine
from core.inference.generation import generate
from core.jobs.worker import WRITTEN_AT_ONCE
from core.models import load as models_load
from core.models.load import Loaded, chat, load, stop_tokens
from core.models.spec import ModelSpec
from core.prompts.prompt_sets import load_prompt_set
from core.survey.survey import load_bundled
from core.tuning.culturespa import filtering
from core.tuning.culturespa import writing as culturespa_writing
from core.tuning.culturespa.questions import Question, tally
from core.tuning.culturespa.writing import next_round
from core.tuning.settings import TuneSettings

SURVEY, PROMPTS = load_bundled(), load_prompt_set()


def settings(topics: int, per_topic: int) -> TuneSettings:
    return TuneSettings(
        model=ModelSpec("builtin"), cultures=("KEN",), arms=(), topics=SURVEY.topics[:topics],
        survey=SURVEY.id, survey_version=SURVEY.version, prompt_set=PROMPTS.id,
        prompt_sha256=PROMPTS.sha256, per_topic=per_topic,
    )  # fmt: skip


def requests(topics: int) -> tuple[culturespa_writing.WriteRequest, ...]:
    """A second round: 16 prompts on each topic, each with three survey items and two others."""
    own = [
        Question(no, 0, topic, item.question, tuple(o.label for o in item.options), "", "kept")
        for no, topic in enumerate(SURVEY.topics[:topics])
        for item in SURVEY.select(topic)[:4]
    ]
    return next_round(settings(topics, 1000), SURVEY, PROMPTS, own, seed=1).requests


def one_at_a_time(loaded: Loaded, messages: Sequence[dict], tokens: int, exactly: bool) -> int:
    """The study's way; gives how many tokens were written."""
    ids = torch.tensor([chat(loaded, messages)], device=loaded.device)
    with torch.inference_mode():
        out = loaded.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=0.1 if exactly else culturespa_writing.TEMPERATURE,
            top_p=culturespa_writing.TOP_P,
            min_new_tokens=tokens if exactly else None,
            max_new_tokens=tokens,
            eos_token_id=None if exactly else sorted(stop_tokens(loaded)),
            pad_token_id=0,
        )
    return out.shape[1] - ids.shape[1]


def compare(
    loaded: Loaded, asked: Sequence, sample: int, tokens: int, exactly: bool
) -> dict[str, float]:
    """Seconds a question, both ways. exactly: every text has `tokens` tokens."""
    chosen = random.Random(42).sample(range(len(asked)), sample)
    waves = -(-len(asked) // WRITTEN_AT_ONCE[0])
    every = max(1, waves * tokens // (sample + 1)) if exactly else 3
    spent, lengths, polls = [], [], 0

    def loop() -> None:
        start = engine.clock()
        lengths.append(one_at_a_time(loaded, asked[chosen[len(spent)]].messages, tokens, exactly))
        spent.append(engine.clock() - start)

    def between_tokens() -> bool:
        nonlocal polls
        polls += 1
        if polls % every == 0 and len(spent) < sample:
            loop()
        return False

    one_at_a_time(loaded, asked[0].messages, 2, True)  # warm up
    stops = stop_tokens
    if exactly:
        models_load.stop_tokens = lambda loaded: set()
    try:
        start = engine.clock()
        written = generate(
            loaded,
            [request.messages for request in asked],
            temperature=0.1 if exactly else culturespa_writing.TEMPERATURE,
            top_p=culturespa_writing.TOP_P,
            max_new_tokens=tokens,
            seeds=[request.seed for request in asked],
            side_by_side=WRITTEN_AT_ONCE[loaded.device.type == "cuda"],
            stop=between_tokens,
        )
        ours = engine.clock() - start - sum(spent)
    finally:
        models_load.stop_tokens = stops
    while len(spent) < sample:
        loop()
    mine, theirs = ours / len(asked), float(np.mean(spent))
    return {
        "questions": len(asked),
        "sample": sample,
        "prompt_tokens": float(np.mean([len(chat(loaded, r.messages)) for r in asked])),
        "written_tokens": float(np.mean([w.tokens for w in written])),
        "written_tokens_loop": float(np.mean(lengths)),
        "seconds": mine,
        "seconds_loop": theirs,
        "times_faster": theirs / mine,
    }


def builtin(per_topic: int = 40, seed: int = 42) -> dict[str, Any]:
    """The built-in model writes a tuning's questions: how many are good, what became of all."""
    how = settings(len(SURVEY.topics), per_topic)
    loaded = load(ModelSpec("builtin"))
    questions: list[Question] = []
    writing = judging = 0.0
    while True:
        start = time.perf_counter()
        if asked := culturespa_writing.next_round(how, SURVEY, PROMPTS, questions, seed):
            written = generate(
                loaded,
                [request.messages for request in asked.requests],
                temperature=culturespa_writing.TEMPERATURE,
                top_p=culturespa_writing.TOP_P,
                max_new_tokens=culturespa_writing.MAX_NEW_TOKENS,
                seeds=[request.seed for request in asked.requests],
                side_by_side=WRITTEN_AT_ONCE[0],
            )
            texts = [one.text for one in written]
            questions += culturespa_writing.read_round(asked, texts, SURVEY, questions)
            writing += time.perf_counter() - start
        elif culturespa_writing.unjudged(questions):
            items = [item.question for item in SURVEY.items]
            questions = filtering.judge(
                questions, items, per_topic=per_topic, near_limit=how.near_limit,
                leak_limit=how.leak_limit,
            )  # fmt: skip
            judging += time.perf_counter() - start
        else:
            break
    compared = compare(loaded, asked_again(how, questions, seed), 16, 256, False)
    return {
        "written": len(questions),
        "rounds": 1 + max(one.round for one in questions),
        "valid_share": 1 - Counter(one.state for one in questions)["malformed"] / len(questions),
        **tally(questions),
        "shortfalls": culturespa_writing.shortfalls(how, questions),
        "seconds_writing": writing,
        "seconds_judging": judging,
        "compared": compared,
    }


def asked_again(how: TuneSettings, questions: Sequence[Question], seed: int) -> list:
    """One more round, of prompts like those of the last."""
    own = [one._replace(round=0) for one in questions if one.state == "kept"][:: len(how.topics)]
    more = culturespa_writing.next_round(how, SURVEY, PROMPTS, own, seed)
    return list(more.requests)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--topics", type=int, default=6, help="16 questions are written on each")
    parser.add_argument("--sample", type=int, default=8, help="prompts given to the loop")
    parser.add_argument("--tokens", type=int, default=64, help="length of every text")
    parser.add_argument("--threads", type=int, help="threads torch may use")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--only-builtin", action="store_true")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count processor time of one thread, for a machine that is busy with other things",
    )
    options = parser.parse_args(arguments)
    if options.cpu_time:
        engine.clock, options.threads = time.process_time, 1
    if options.threads:
        torch.set_num_threads(options.threads)
    result: dict[str, Any] = {"machine": engine.machine()}
    print(result["machine"])
    if not options.only_builtin:
        asked = requests(options.topics)
        words = engine.tokenizer([m["content"] for r in asked for m in r.messages])
        loaded = engine.qwen_half_billion(words)
        figures = compare(loaded, asked, options.sample, options.tokens, True)
        result["half_billion"] = figures
        print(f"random Qwen2-0.5B: {_words(figures)}   (wanted: 4)")
        loaded.release()
    result["builtin"] = builtin()
    print(f"built-in model: {_words(result['builtin']['compared'])}")
    print(json.dumps(result["builtin"], indent=1, ensure_ascii=False))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return result


def _words(figures: dict[str, float]) -> str:
    return (
        f"{figures['questions']} questions, prompts of {figures['prompt_tokens']:.0f} tokens, "
        f"texts of {figures['written_tokens']:.0f}\n"
        f"  {figures['seconds']:.3f} s a question; one at a time {figures['seconds_loop']:.3f} s "
        f"(sample of {figures['sample']}); {figures['times_faster']:.1f} times as fast"
    )


if __name__ == "__main__":
    main()
