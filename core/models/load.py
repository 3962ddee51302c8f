"""Load a chat model, quantised, with an adapter on top; hold one at a time and let go first."""

from __future__ import annotations

import gc
import hashlib
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jinja2
import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from core import wording
from core.errors import ModelError
from core.home import home
from core.models import adapters, catalogue, hub, memory_fit
from core.models import files as models_files
from core.models.catalogue import describe
from core.models.files import has_chat_template, quantised, read_config
from core.models.spec import ModelSpec, precision_words, resolve_precision, typed_path
from core.sanitize import parse_object

Phase = Callable[[str], None]
Files = tuple[tuple[str, int, int], ...]  # name, bytes and time of writing in ns of each

# Given to every chat template; one that does not know a name ignores it. Thinking models answer
# at once. Llama 3.1 and later write today's date into the prompt: a fixed one (their own
# fallback) keeps a run the same tomorrow.
TEMPLATE_VALUES = {"enable_thinking": False, "thinking": False, "date_string": "26 Jul 2024"}
DTYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass(eq=False)
class Loaded:
    """A model ready to be asked.

    revision: commit of a hub model, or "sha256:…" over a local folder. precision: the one in use.
    memory_bytes: of all weights. folds_system: the template has no system role, so system text
    goes to the head of the first user turn. notes: what scoring finds out about this model once.
    base_files, adapter_files: as they lay in their folders before they were read.
    """

    spec: ModelSpec
    model: Any
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    revision: str
    precision: str
    memory_bytes: int
    adapter_sha256: str | None
    name: str
    folds_system: bool = False
    notes: dict[str, Any] = field(default_factory=dict, repr=False)
    base_files: Files = field(default=(), repr=False)
    adapter_files: Files = field(default=(), repr=False)

    def release(self) -> None:
        """Let go of the weights; asking this model again raises ModelError."""
        self.model = _Released(self.name)
        self.notes.clear()


class _Released:
    """Stands where a model was, so that a stale reference fails in words."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        raise ModelError(f"{self._name} has been unloaded. Load it again.")


def wrap(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    name: str,
    spec: ModelSpec | None = None,
    revision: str = "",
    precision: str | None = None,
    adapter_sha256: str | None = None,
) -> Loaded:
    """A model and tokenizer already in memory, as load would return them."""
    if tokenizer.chat_template is None:
        raise ModelError(
            f"{name} has no chat template, so it cannot be asked. Choose its instruct or chat "
            "version."
        )
    return Loaded(
        spec=spec or ModelSpec(name),
        model=model.eval(),
        tokenizer=tokenizer,
        device=next(model.parameters()).device,
        revision=revision,
        precision=precision or DTYPES.get(model.dtype, str(model.dtype)),
        memory_bytes=model.get_memory_footprint(),
        adapter_sha256=adapter_sha256,
        name=name,
        folds_system=_folds_system(tokenizer, name),
    )


# -- the chat template -----------------------------------------------------------------------------


def chat_text(
    loaded: Loaded, messages: Sequence[dict[str, str]], *, generation_prompt: bool = True
) -> str:
    """The text a model sees, by its own chat template.

    generation_prompt: end where the assistant's turn begins.
    """
    turns = _fold(messages) if loaded.folds_system else list(messages)
    return _render(loaded.tokenizer, turns, generation_prompt, loaded.name)


def chat(
    loaded: Loaded, messages: Sequence[dict[str, str]], *, generation_prompt: bool = True
) -> list[int]:
    """The tokens a model sees. The template writes special tokens itself; none are added."""
    return encode(loaded, chat_text(loaded, messages, generation_prompt=generation_prompt))


def encode(loaded: Loaded, text: str) -> list[int]:
    return loaded.tokenizer(text, add_special_tokens=False)["input_ids"]


def special_tokens(loaded: Loaded) -> set[int]:
    """Tokens that are marks, not words: those with a role and those only declared as special."""
    declared = loaded.tokenizer.added_tokens_decoder.items()
    return set(loaded.tokenizer.all_special_ids) | {i for i, token in declared if token.special}


def stop_tokens(loaded: Loaded) -> set[int]:
    """Tokens that end a turn: the model's own, and the one its template writes after an answer."""
    config = getattr(loaded.model, "generation_config", None)
    ends = getattr(config, "eos_token_id", None)
    stops = set(ends if isinstance(ends, list | tuple) else [ends])
    stops.add(loaded.tokenizer.eos_token_id)
    ask = [{"role": "user", "content": "?"}]
    before = chat_text(loaded, ask)
    after = chat_text(
        loaded, [*ask, {"role": "assistant", "content": "1"}], generation_prompt=False
    )
    if after.startswith(before):
        tail = encode(loaded, after)[len(encode(loaded, before)) :]
        special = special_tokens(loaded)
        stops.update([token for token in tail if token in special][-1:])
    return {token for token in stops if token is not None}


def _render(
    tokenizer: PreTrainedTokenizerBase, turns: list[dict], generation_prompt: bool, name: str
) -> str:
    try:
        return tokenizer.apply_chat_template(
            turns,
            tokenize=False,
            add_generation_prompt=generation_prompt,
            **TEMPLATE_VALUES,
        )
    except jinja2.TemplateError as error:
        raise ModelError(f"The chat template of {name} refuses this prompt: {error}") from error


def _fold(messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """System text at the head of the first user turn, a blank line between."""
    system = [m["content"] for m in messages if m["role"] == "system" and m["content"]]
    turns = [dict(m) for m in messages if m["role"] != "system"]
    if system and turns:
        turns[0]["content"] = "\n\n".join([*system, turns[0]["content"]])
    return turns


def _folds_system(tokenizer: PreTrainedTokenizerBase, name: str) -> bool:
    """True where the template raises on a system message or leaves it out."""
    probe = [
        {"role": "system", "content": "Sunflower"},
        {"role": "user", "content": "Marigold"},
    ]
    _render(tokenizer, probe[1:], True, name)  # a template that cannot do this is of no use
    try:
        return "Sunflower" not in _render(tokenizer, probe, True, name)
    except ModelError:
        return True


# -- loading ---------------------------------------------------------------------------------------


def load(spec: ModelSpec, *, as_stored: bool = False, on_phase: Phase | None = None) -> Loaded:
    """Load a model, and its adapter, onto the graphics card if there is one, else the CPU.

    Downloads it first if it is not on this machine. as_stored: in the precision its files are in,
    whatever spec says and this machine computes in; for changing and saving weights, by a caller
    who has seen that they fit. on_phase hears what is being done, in words. Every failure is a
    ModelError that says what to do.
    """
    say = on_phase or (lambda phase: None)
    if not as_stored:
        _check_room(spec)
    base = _load_base(spec, say, as_stored)
    return _with_adapter(base, spec, say) if spec.adapter else base


def _load_base(spec: ModelSpec, say: Phase, as_stored: bool = False) -> Loaded:
    name = describe(replace(spec, adapter=None))
    say("Looking for the model")
    folder = catalogue.find(spec)
    if folder is None:
        folder = _download(spec, name, say)
        _check_room(spec)  # now that its files can be counted
    files = _files(folder)
    stored = quantised(read_config(folder))
    precision = stored or resolve_precision(spec)
    if as_stored:
        precision = models_files.weights(folder).precision
    elif precision == "bf16":
        precision = DTYPES[compute_dtype()]
    if not has_chat_template(folder):
        raise ModelError(
            f"{name} has no chat template, so it cannot be asked. Choose its instruct or chat "
            "version."
        )
    say(f"Loading {name} in {precision_words(precision)}")
    cuda = torch.cuda.is_available()
    whole = {name: dtype for dtype, name in DTYPES.items()}  # the others compute in compute_dtype
    options: dict[str, Any] = {
        "dtype": whole.get(precision, compute_dtype()),
        "device_map": {"": 0 if cuda else "cpu"},
        "use_safetensors": True,
        "local_files_only": True,
        "trust_remote_code": spec.trust_remote_code,
    }
    if precision in ("nf4", "int8"):
        options["quantization_config"] = _quantisation(precision)
    with loading_in_words(name), quiet():
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=spec.trust_remote_code
        )
        model = AutoModelForCausalLM.from_pretrained(folder, **options)
    base = wrap(
        model,
        tokenizer,
        name=name,
        spec=replace(spec, adapter=None),
        revision=revision_of(folder),
        precision=precision,
    )
    return replace(base, base_files=files)


def _check_room(spec: ModelSpec, held_bytes: int = 0) -> None:
    """Refuse, before anything is read or downloaded, a model that is not there or would not fit."""
    if catalogue.find(spec) is None:
        offered = hub.look(spec.source, spec.revision, seconds=20)
        if full := hub.no_room(spec.source, offered.size_bytes, _cache()):
            raise ModelError(full)
    room = memory_fit.fit(spec, held_bytes=held_bytes)
    if not room.fits:
        raise ModelError(room.sentence)


def compute_dtype() -> torch.dtype:
    """What matrices are multiplied in: bf16 where the hardware has it, else fp32.

    Measured on a CPU with AVX512-BF16: NF4 with bf16 is five times as fast as with fp32.
    """
    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    return torch.bfloat16 if memory_fit.processor_has_bf16() else torch.float32


def matmul_rates(device: torch.device) -> dict[str, float]:
    """Operations a second of a matrix product here, by precision (16-bit only where it is used).

    512 tokens by 2048 by 2048, the best of three: what a layer of a small model does.
    """
    rates = {}
    for dtype in dict.fromkeys((compute_dtype(), torch.float32)):
        left, right = (torch.ones(n, 2048, dtype=dtype, device=device) for n in (512, 2048))
        with torch.inference_mode():
            torch.nn.functional.linear(left, right)
            took = min(_seconds_of_product(left, right) for _ in range(3))
        rates[DTYPES[dtype]] = 2 * 512 * 2048 * 2048 / took
    return rates


def _seconds_of_product(left: torch.Tensor, right: torch.Tensor) -> float:
    start = time.perf_counter()
    torch.nn.functional.linear(left, right)
    if left.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _quantisation(precision: str) -> BitsAndBytesConfig:
    if precision == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute_dtype(),
    )


def _download(spec: ModelSpec, name: str, say: Phase) -> Path:
    from huggingface_hub import snapshot_download

    say(f"Downloading {name}")
    cache = _cache()
    try:
        with hub.in_words(spec.source, spec.revision), _bytes_told(spec, name, say):
            folder = snapshot_download(
                spec.source,
                revision=spec.revision,
                cache_dir=cache,
                allow_patterns=hub.wanted(spec.trust_remote_code),
                ignore_patterns=list(hub.UNWANTED),
            )
    except OSError as error:
        raise ModelError(f"The download of {spec.source} could not be written: {error}") from error
    models_files.check(Path(folder))
    return Path(folder)


def _cache() -> Path:
    """Where downloads go."""
    return catalogue.hub_caches(home())[0]


@contextmanager
def _bytes_told(spec: ModelSpec, name: str, say: Phase, every: float = 1.0) -> Iterator[None]:
    """Within, say how much of a download there is, how fast it comes and how long it will take."""
    offered = hub.told(spec.source, spec.revision)
    total = offered.size_bytes if offered else 0
    over = threading.Event()
    # When there was how much of it, of late: what came in the last seconds tells the pace.
    seen = deque([(time.monotonic(), hub.bytes_here(spec.source, _cache()))], maxlen=15)

    def watch() -> None:
        while not over.wait(every):
            seen.append((time.monotonic(), hub.bytes_here(spec.source, _cache())))
            (since, before), (now, here) = seen[0], seen[-1]
            started = here - before > total / 100  # before, only small files came
            rate = (here - before) / (now - since) if started else 0.0
            say(_download_words(name, here, total, rate))

    watcher = threading.Thread(target=watch, daemon=True, name="download")
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _download_words(name: str, here: int, total: int, rate: float) -> str:
    """here, total: bytes; total is 0 where it is not known. rate: bytes a second."""
    of = f" of {wording.size(total)}" if total else ""
    line = f"Downloading {name}: {wording.size(min(here, total or here))}{of}"
    if rate < 1:
        return line
    line += f", {wording.size(rate)} a second"
    seconds = (total - here) / rate
    if seconds <= 0:
        return line
    left = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(5, round(seconds / 5) * 5)} s"
    return f"{line}, about {left} left"


def revision_of(folder: Path) -> str:
    """The commit of a hub snapshot, or a hash over a local folder's configuration and weights."""
    if folder.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", folder.name):
        return folder.name
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.json")) + sorted(folder.glob("*.jinja")):
        digest.update(path.name.encode() + path.read_bytes())
    for path in models_files.weight_files(folder):
        _hash_sampled(digest, path)
    return f"sha256:{digest.hexdigest()}"


def _files(folder: Path) -> Files:
    """How a folder's files lie there: quick to tell, and another once one was replaced."""
    try:
        files = [(path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file()]
    except OSError:  # there is no such folder
        return ()
    return tuple((name, facts.st_size, facts.st_mtime_ns) for name, facts in files)


def base_as_read(loaded: Loaded) -> bool:
    """Do the files of a model, its adapter aside, lie there as when they were read?

    Raises ModelError where its folder is gone or can no longer be used.
    """
    folder = catalogue.find(loaded.spec)
    return folder is not None and loaded.base_files == _files(folder)


def _adapter_as_read(loaded: Loaded) -> bool:
    adapter = loaded.spec.adapter
    return not adapter or loaded.adapter_files == _files(typed_path(adapter))


def _hash_sampled(digest: Any, path: Path, block: int = 1 << 20, blocks: int = 64) -> None:
    """Hash a file: all of one up to 64 MiB, or else its head, size and 64 blocks spread evenly.

    Training changes every matrix, so a sample tells versions apart in well under a second.
    """
    size = path.stat().st_size
    digest.update(f"{path.name}:{size}".encode())
    starts = [round(i * (size - block) / (blocks - 1)) for i in range(blocks)]
    if size <= block * blocks:
        starts = list(range(0, size, block))
    with open(path, "rb") as stream:
        for start in starts:
            stream.seek(start)
            digest.update(stream.read(block))


# -- adapters --------------------------------------------------------------------------------------


def _with_adapter(base: Loaded, spec: ModelSpec, say: Phase) -> Loaded:
    """Put an adapter on a base. The base's modules now hold it; _without_adapter takes it off."""
    from peft import PeftModel

    say("Adding the adapter")
    folder = typed_path(spec.adapter)
    weights = folder / adapters.ADAPTER_WEIGHTS
    files = _files(folder)
    if not adapters.is_adapter(folder):
        raise ModelError(
            f"{spec.adapter} is not an adapter: it needs adapter_config.json and "
            "adapter_model.safetensors."
        )
    try:
        config = parse_object((folder / adapters.ADAPTER_CONFIG).read_bytes())
        models_files.read_header(weights)
    except (OSError, ValueError) as error:
        raise ModelError(f"The adapter {folder.name} cannot be read: {error}") from error
    _check_base(base, config, folder.name)
    wrong = ModelError(
        f"The adapter {folder.name} does not fit {base.name}: it was tuned on another model"
        f"{_named(config)}. Choose that model, or another adapter."
    )
    try:
        with loading_in_words(base.name), quiet(), _packed_as_is(base.model):
            model = PeftModel.from_pretrained(base.model, folder, is_trainable=False)
    except ModelError:
        _strip(base.model)
        raise
    except (RuntimeError, ValueError, KeyError) as error:  # shapes or layers that are not there
        _strip(base.model)
        raise wrong from error
    if not _lora_loaded(model, weights):
        model.unload()
        raise wrong
    return replace(
        base,
        spec=spec,
        model=model.eval(),
        adapter_sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        memory_bytes=model.get_base_model().get_memory_footprint(),
        name=describe(spec),
        notes={},
        adapter_files=files,
    )


def _check_base(base: Loaded, config: dict, adapter: str) -> None:
    """Refuse an adapter that says it was tuned on another model, or on another version of it."""
    named = Path(config.get("base_model_name_or_path") or "").name
    revision = config.get("revision") or ""
    sure = re.fullmatch(r"[0-9a-f]{40}|sha256:[0-9a-f]{64}", revision)
    if sure and revision == base.revision:
        return
    if sure and base.revision:
        raise ModelError(
            f"The adapter {adapter} was tuned on another version of its model{_named(config)} "
            f"than the {base.name} on this machine. Tune it again, or use that version."
        )
    here = {Path(base.spec.source).name, base.name}
    if named and not any(named.casefold() == name.casefold() for name in here):
        raise ModelError(
            f"The adapter {adapter} was tuned on {named}, not on {base.name}. Choose {named}, or "
            "another adapter."
        )


def _named(config: dict) -> str:
    base = Path(config.get("base_model_name_or_path") or "").name
    return f" ({base})" if base else ""


def _lora_loaded(model: Any, weights: Path) -> bool:
    """Did every tensor of the adapter find its place? peft only warns when some did not."""
    held = sum(1 for name, _ in model.named_parameters() if "lora_" in name)
    return held == sum(1 for name in models_files.read_header(weights) if "lora_" in name)


def _without_adapter(loaded: Loaded, base_spec: ModelSpec) -> Loaded:
    """The bare base again: peft puts the original layers, the very same objects, back."""
    model = loaded.model.unload()
    return replace(
        loaded,
        spec=base_spec,
        model=model.eval(),
        adapter_sha256=None,
        memory_bytes=model.get_memory_footprint(),
        name=describe(base_spec),
        notes={},
        adapter_files=(),
    )


@contextmanager
def bare(loaded: Loaded) -> Iterator[None]:
    """Within, the model answers as its base does, bit for bit; its adapter stays on and is skipped.

    For comparing the two on the same prompts; another adapter, or none, is for ModelSlot.get.
    """
    if not loaded.spec.adapter:
        yield
        return
    with loaded.model.disable_adapter():
        yield


@contextmanager
def _packed_as_is(model: Any) -> Iterator[None]:
    """Within, reading a 4-bit model's state leaves its weights alone.

    On a CPU bitsandbytes repacks 4-bit weights at the first forward, and unpacks them, with a loss
    (its scales go through bf16), whenever state_dict() is called, as peft does to find its place:
    the base would answer a little differently ever after (measured: log-probabilities off by 0.2).
    """
    states = [getattr(weight, "quant_state", None) for weight in model.parameters()]
    packed = [s for s in states if getattr(s, "packing_format_for_cpu", False)]
    for state in packed:
        state.packing_format_for_cpu = False
    try:
        yield
    finally:
        for state in packed:
            state.packing_format_for_cpu = True


def _strip(model: Any) -> None:
    """Take a half-attached adapter out of a base."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, module.get_base_layer())
    for attribute in ("peft_config", "_hf_peft_config_loaded"):
        model.__dict__.pop(attribute, None)


# -- failures in words -----------------------------------------------------------------------------


@contextmanager
def memory_in_words(name: str, words: str | None = None) -> Iterator[None]:
    """Turn a lack of memory, on a card or not, into a ModelError. words: with a {name} in it."""
    sentence = (words or OUT_OF_MEMORY).format(name=name)
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ModelError(sentence) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error) or "out of memory" in str(error):
            raise ModelError(sentence) from error
        raise


@contextmanager
def loading_in_words(name: str) -> Iterator[None]:
    """Turn what torch and transformers raise while loading a model into a ModelError."""
    try:
        with memory_in_words(name):
            yield
    except SafetensorError as error:
        raise ModelError(
            f"The weights of {name} are damaged ({error}). Delete them and download them again."
        ) from error
    except ImportError as error:
        raise ModelError(f"{name} needs a package that is not installed: {error}") from error
    except (OSError, ValueError) as error:
        text = " ".join(str(error).split())
        if "trust_remote_code" in text:
            raise ModelError(
                f"{name} comes with Python code of its own that would run on this machine. If "
                "you trust its makers, tick “run this model's own code” and load it again."
            ) from error
        raise ModelError(f"{name} could not be loaded: {text[:300]}") from error


OUT_OF_MEMORY = (
    "There is not enough memory for {name}. Choose a lower precision (4-bit needs the least) or a "
    "smaller model, or close other programs."
)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars or advice on standard error while loading."""
    from transformers.utils import logging as hf

    level, bars = hf.get_verbosity(), hf.is_progress_bar_enabled()
    hf.set_verbosity(logging.CRITICAL)
    hf.disable_progress_bar()
    try:
        yield
    finally:
        hf.set_verbosity(level)
        if bars:
            hf.enable_progress_bar()


# -- the model held ------------------------------------------------------------------------------


# Why: docs/decisions.md, "What is in memory stands only for the files it was read from."
class ModelSlot:
    """Holds one model. The old one is let go of before the next is loaded."""

    def __init__(self) -> None:
        self._held: Loaded | None = None

    @property
    def current(self) -> Loaded | None:
        """What is held now: spec, name, precision, memory_bytes, device, adapter_sha256."""
        return self._held

    def get(self, spec: ModelSpec, *, on_phase: Phase | None = None) -> Loaded:
        """The model of a spec: the one held, the same base with its adapter changed, or loaded.

        A Loaded handed out before is released by a change, also of the files it was read from: a
        retrained adapter may lie where a deleted one lay. A model that is not there or would not
        fit leaves the one held in place; if loading fails later, nothing is held.
        """
        held = self._held
        say = on_phase or (lambda phase: None)
        base_spec = replace(spec, adapter=None)
        same_base = (
            held is not None
            and replace(held.spec, adapter=None) == base_spec
            and base_as_read(held)
        )
        if same_base and held.spec == spec and _adapter_as_read(held):
            return held
        if same_base:
            base = _without_adapter(held, base_spec) if held.spec.adapter else replace(held)
            held.release()
            self._held = base
        else:
            _check_room(spec, held.memory_bytes if held else 0)
            self.unload()
            del held
            self._held = _load_base(spec, say)
        if spec.adapter:
            bare = self._held
            self._held = _with_adapter(bare, spec, say)  # on failure the bare base stays held
            bare.release()
        return self._held

    def unload(self) -> None:
        """Let go of the model and give its memory back."""
        if self._held is not None:
            self._held.release()
        self._held = None
        give_back()


def give_back() -> None:
    """Return memory that nothing refers to any more, so that others see it as free."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
