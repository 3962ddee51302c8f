"""Load a chat model, quantised, with an adapter on top; hold one at a time and let go first."""

from __future__ import annotations

import gc
import hashlib
import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from core.errors import ModelError, PluriscopeError
from core.models import (
    adapter_layers,
    adapter_settings,
    adapters,
    catalogue,
    chat_template,
    hub,
    memory_fit,
)
from core.models import download as downloads
from core.models import files as models_files
from core.models.adapter_settings import Adapter
from core.models.catalogue import describe
from core.models.download import Phase
from core.models.files import (
    Files,
    files_in,
    has_chat_template,
    quantised,
    read_config,
    revision_of,
)
from core.models.spec import ModelSpec, precision_words, resolve_precision, typed_path
from core.models.whole_weights import check_fit, check_numbers, check_numbers_of

DTYPES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass(eq=False)
class Loaded:
    """A model ready to be asked.

    revision: commit of a hub model, or "sha256:…" over a local folder. precision: the one in use.
    memory_bytes: of all weights. folds_system: the template has no system role, so system text
    goes to the head of the first user turn. notes: what scoring finds out about this model once.
    base_files, adapter_files: as they lay in their folders before they were read. leaves_base: the
    adapter, if any, can be taken off and leaves the very base.
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
    leaves_base: bool = True

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
        folds_system=chat_template.folds_system(tokenizer, name),
    )


# -- the chat template -----------------------------------------------------------------------------


def chat_text(
    loaded: Loaded, messages: Sequence[dict[str, str]], *, generation_prompt: bool = True
) -> str:
    """The text a model sees, by its own chat template.

    generation_prompt: end where the assistant's turn begins.
    """
    turns = _fold(messages) if loaded.folds_system else list(messages)
    return chat_template.render(loaded.tokenizer, turns, generation_prompt, loaded.name)


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


def _fold(messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """System text at the head of the first user turn, a blank line between."""
    system = [m["content"] for m in messages if m["role"] == "system" and m["content"]]
    turns = [dict(m) for m in messages if m["role"] != "system"]
    if system and turns:
        turns[0]["content"] = "\n\n".join([*system, turns[0]["content"]])
    return turns


# -- loading ---------------------------------------------------------------------------------------


def load(spec: ModelSpec, *, as_stored: bool = False, on_phase: Phase | None = None) -> Loaded:
    """Load a model, and its adapter, onto the graphics card if there is one, else the CPU.

    Downloads it first if it is not on this machine. as_stored: in the precision its files are in,
    whatever spec says and this machine computes in; for changing and saving weights, by a caller
    who has seen that they fit. on_phase hears what is being done, in words. Every failure is a
    ModelError that says what to do.
    """
    say = on_phase or (lambda phase: None)
    adapter = _adapter_of(spec)
    if not as_stored:
        with loading_in_words(describe(replace(spec, adapter=None))):
            _check_room(spec)
    base = _load_base(spec, say, as_stored)
    return _with_adapter(base, spec, adapter, say) if adapter else base


def _load_base(spec: ModelSpec, say: Phase, as_stored: bool = False) -> Loaded:
    name = describe(replace(spec, adapter=None))
    with loading_in_words(name), quiet():
        return _read_base(spec, name, say, as_stored)


def _read_base(spec: ModelSpec, name: str, say: Phase, as_stored: bool) -> Loaded:
    say("Looking for the model")
    folder = catalogue.find(spec)
    if folder is None:
        folder = downloads.download(spec, name, say)
        _check_room(spec)  # now that its files can be counted
    files = files_in(folder)
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
    chat_template.TEMPLATE_PROCESS.get_ready()
    cuda = torch.cuda.is_available()
    whole = {name: dtype for dtype, name in DTYPES.items()}  # the others compute in compute_dtype
    options: dict[str, Any] = {
        "dtype": whole.get(precision, compute_dtype()),
        "device_map": {"": 0 if cuda else "cpu"},
        "use_safetensors": True,
        "local_files_only": True,
        "trust_remote_code": spec.trust_remote_code,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # check_fit names them
    }
    if precision in ("nf4", "int8"):
        options["quantization_config"] = _quantisation(precision)
    tokenizer = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=spec.trust_remote_code
    )
    check_numbers(folder, name)
    model, found = AutoModelForCausalLM.from_pretrained(folder, **options)
    check_fit(model, found, name)
    base = wrap(
        model,
        tokenizer,
        name=name,
        spec=replace(spec, adapter=None),
        revision=revision_of(folder),
        precision=precision,
    )
    _try_out(base)
    return replace(base, base_files=files)


def _try_out(loaded: Loaded) -> None:
    """Compute one short prompt, so that what does not fit together shows before a run begins.

    In training mode: in the other one bitsandbytes repacks 4-bit weights, which then could not be
    trained on.
    """
    rows = loaded.model.get_input_embeddings().weight.shape[0]
    question = "Rate it from 1 to 3."
    tokens = chat(loaded, [{"role": "user", "content": question}])
    if not tokens or not encode(loaded, question):
        raise ModelError(f"{loaded.name} could not be loaded: its tokenizer reads no words.")
    words = max(loaded.tokenizer.vocab_size, max(tokens) + 1)
    if words > rows:
        raise ModelError(
            f"{loaded.name} could not be loaded: its tokenizer knows {words:,} tokens and its "
            f"weights {rows:,}, so they are not of one model. Download the model again."
        )
    ids = torch.tensor([tokens], device=loaded.device)
    loaded.model.train()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            logits = loaded.model(input_ids=ids, use_cache=False).logits[0, -1]
    finally:
        loaded.model.eval()
    if not torch.isfinite(logits).all():
        raise ModelError(
            f"{loaded.name} could not be loaded: what it answers in "
            f"{precision_words(loaded.precision)} are no numbers. Choose another precision, or "
            "download the model again."
        )


def _adapter_of(spec: ModelSpec) -> Adapter | None:
    return adapter_settings.read(typed_path(spec.adapter)) if spec.adapter else None


def _check_room(spec: ModelSpec, held_bytes: int = 0) -> None:
    """Refuse, before anything is read or downloaded, a model that is not there or would not fit."""
    if catalogue.find(spec) is None:
        offered = hub.look(spec.source, spec.revision, seconds=20)
        if full := hub.no_room(spec.source, offered.size_bytes, downloads.cache()):
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


def base_as_read(loaded: Loaded) -> bool:
    """Do the files of a model, its adapter aside, lie there as when they were read?

    Raises ModelError where its folder is gone or can no longer be used.
    """
    folder = catalogue.find(loaded.spec)
    return folder is not None and loaded.base_files == files_in(folder)


def _adapter_as_read(loaded: Loaded) -> bool:
    adapter = loaded.spec.adapter
    return not adapter or loaded.adapter_files == files_in(typed_path(adapter))


# -- adapters --------------------------------------------------------------------------------------


def _with_adapter(base: Loaded, spec: ModelSpec, adapter: Adapter, say: Phase) -> Loaded:
    """Put an adapter on a base. The base's modules now hold it; _without_adapter takes it off."""
    say("Adding the adapter")
    folder = typed_path(spec.adapter)
    weights = folder / adapters.ADAPTER_WEIGHTS
    files = files_in(folder)
    _check_base(base, adapter.config, folder.name)
    check_numbers_of(weights, f"The adapter {folder.name}")
    if why := adapter_layers.misfit(base.model, adapter):
        raise _wrong(base, adapter.config, folder.name, why)
    try:
        with memory_in_words(base.name), quiet():
            model = adapter_layers.put_on(base.model, folder, adapter)
    except PluriscopeError:
        raise
    except Exception as error:  # peft raises whatever there is
        raise _wrong(base, adapter.config, folder.name, " ".join(str(error).split())) from error
    if not adapter_layers.in_place(model, adapter):
        model.unload()
        raise _wrong(base, adapter.config, folder.name, "its weights are not those of its settings")
    return replace(
        base,
        spec=spec,
        model=model.eval(),
        adapter_sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        memory_bytes=model.get_base_model().get_memory_footprint(),
        name=describe(spec),
        notes={},
        adapter_files=files,
        leaves_base=adapter.leaves_base,
    )


def _wrong(base: Loaded, config: Mapping, adapter: str, why: str) -> ModelError:
    named = adapters.model_name(config.get("base_model_name_or_path") or "")
    return ModelError(
        f"The adapter {adapter} does not fit {base.name}: {why[:300]}. Choose the model it was "
        f"tuned on{f' ({named})' if named else ''}, or another adapter."
    )


def _check_base(base: Loaded, config: Mapping, adapter: str) -> None:
    """Refuse an adapter that says it was tuned on another model, or on another version of it."""
    source = config.get("base_model_name_or_path") or ""
    named = adapters.model_name(source)
    revision = config.get("revision") or ""
    sure = re.fullmatch(r"[0-9a-f]{40}|sha256:[0-9a-f]{64}", revision)
    if sure and revision == base.revision:
        return
    here = {adapters.model_name(base.spec.source), base.name}
    same_files = not named or named.casefold() in {name.casefold() for name in here}
    if sure and base.revision and same_files:
        raise ModelError(
            f"The adapter {adapter} was tuned on another version of its model"
            f"{f' ({named})' if named else ''} than the {base.name} on this machine. Tune it "
            "again, or use that version."
        )
    if not any(adapters.same_model(source, name) for name in here):
        raise ModelError(
            f"The adapter {adapter} was tuned on {named}, not on {base.name}. Choose {named}, or "
            f"another adapter. If {base.name} is the same model under another name, say so: "
            "Library, Adapters, Details."
        )


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
        leaves_base=True,
    )


@contextmanager
def bare(loaded: Loaded) -> Iterator[None]:
    """Within, the model answers as its base does, bit for bit; its adapter stays on and is skipped.

    For comparing the two on the same prompts; another adapter, or none, is for ModelSlot.get.
    """
    if not loaded.spec.adapter:
        yield
        return
    if not loaded.leaves_base:
        raise ModelError(
            f"{loaded.name} cannot be compared with its base at once: the adapter changes more "
            "than LoRA's layers. Ask the two one after the other."
        )
    with loaded.model.disable_adapter():
        yield


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


# Why: docs/decisions.md, "Anything that goes wrong while a model is read is about the model."
@contextmanager
def loading_in_words(name: str) -> Iterator[None]:
    """Turn whatever is raised while a model is being read into a ModelError."""
    try:
        with memory_in_words(name):
            yield
    except PluriscopeError:
        raise
    except SafetensorError as error:
        raise ModelError(
            f"The weights of {name} are damaged ({error}). Delete them and download them again."
        ) from error
    except ImportError as error:
        raise ModelError(f"{name} needs a package that is not installed: {error}") from error
    except Exception as error:  # configs and tokenizers of strangers go wrong in every way
        text = " ".join(str(error).split())
        if "trust_remote_code" in text:
            raise ModelError(
                f"{name} comes with Python code of its own that would run on this machine. If "
                "you trust its makers, tick “run this model's own code” and load it again."
            ) from error
        if not isinstance(error, (OSError, ValueError)) or not text:
            text = (
                f"its files are damaged, or not for this version ({type(error).__name__}: {text})"
            )
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


# Why: docs/decisions.md, "The base is read anew after adapters that are more than LoRA's layers."
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
        adapter = _adapter_of(spec)
        same_base = (
            held is not None
            and replace(held.spec, adapter=None) == base_spec
            and base_as_read(held)
        )
        if same_base and held.spec == spec and _adapter_as_read(held):
            return held
        if same_base and held.leaves_base:
            base = _without_adapter(held, base_spec) if held.spec.adapter else replace(held)
            held.release()
            self._held = base
        else:
            with loading_in_words(describe(base_spec)):
                _check_room(spec, held.memory_bytes if held else 0)
            self.unload()
            del held
            self._held = _load_base(spec, say)
        if adapter:
            self._put_on(spec, adapter, say)
        return self._held

    def _put_on(self, spec: ModelSpec, adapter: Adapter, say: Phase) -> None:
        """On failure the bare base stays held, unless the adapter may have changed it."""
        bare = self._held
        try:
            self._held = _with_adapter(bare, spec, adapter, say)
        except ModelError:
            if not adapter.leaves_base:
                self.unload()
            raise
        bare.release()

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
