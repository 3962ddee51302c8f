"""Examples chosen by what questions mean: a real encoder, cached vectors, plain refusals."""

import json

import numpy as np
import pytest

from core.__main__ import main
from core.errors import PluriscopeError
from core.jobs.choices import AskChoices
from core.jobs.plan import plan_survey
from core.jobs.queue import Jobs
from core.models import embedding, embedding_cache
from core.models.files import revision_of
from core.models.spec import ModelSpec
from core.prompts.demonstrations import choose_examples, questions
from core.store.store import Store
from core.survey.survey import load_bundled
from core.views import export, items, provenance
from tests import tiny

SURVEY = load_bundled()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny.encoder(tmp_path_factory.mktemp("encoders") / "tiny-encoder")


def test_a_vector_is_the_mean_of_the_last_layer_whatever_stands_beside_it(encoder):
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = ["Short?", "A question that is a good deal longer than the one before it, isn't it?"]
    together = embedding.embed(encoder, texts)
    model, tokenizer = AutoModel.from_pretrained(encoder), AutoTokenizer.from_pretrained(encoder)
    for text, vector in zip(texts, together, strict=True):
        with torch.inference_mode():
            ids = tokenizer(text, return_tensors="pt")["input_ids"]
            mean = model(input_ids=ids).last_hidden_state[0].mean(0).numpy()
        assert vector == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_texts_longer_than_the_encoder_reads_are_cut(encoder):
    (vector,) = embedding.embed(encoder, ["trust people " * 500])
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_the_nearest_questions_are_shown_nearest_first():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(SURVEY.items), 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    item = SURVEY.item("Q57")
    place = SURVEY.items.index(item)
    cosine = vectors @ vectors[place]
    cosine[place] = -2
    best = [SURVEY.items[k].id for k in np.argsort(-cosine)[:3]]
    chosen = choose_examples(SURVEY, item, "NLD", count=3, choice="meaning", vectors=vectors)
    assert [example.item.id for example in chosen] == best
    with pytest.raises(PluriscopeError, match="no longer on this machine"):
        choose_examples(SURVEY, item, "NLD", choice="meaning")


def test_vectors_are_made_once_for_a_model_and_its_texts(encoder, tmp_path):
    texts = questions(SURVEY)[:5]
    made = embedding.vectors(str(encoder), texts, tmp_path)
    (file,) = (tmp_path / "embeddings").iterdir()
    np.save(file, np.eye(5, 32, dtype=np.float32))  # what is kept is taken as it is
    assert np.array_equal(embedding.vectors(str(encoder), texts, tmp_path), np.eye(5, 32))
    others = embedding.vectors(str(encoder), texts[:4], tmp_path)
    assert others == pytest.approx(made[:4], abs=1e-5)
    file.write_bytes(b"cut off")
    assert embedding.vectors(str(encoder), texts, tmp_path) == pytest.approx(made, abs=1e-5)


def test_without_a_model_on_this_machine_a_sentence_says_what_to_do(home, tmp_path):
    for wish in (None, "", "no/such-encoder", str(tmp_path / "nothing")):
        with pytest.raises(PluriscopeError, match="Give the folder of an embedding model"):
            embedding_cache.folder_of(wish)
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    (pickled / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(PluriscopeError, match="safetensors only"):
        embedding_cache.folder_of(str(pickled))
    ask = ["ask", "--methods", "examples", "--example-choice", "meaning"]
    assert main(ask) == 2


def test_a_run_by_meaning_is_asked_and_its_prompts_shown_again(home, tiny_model, encoder):
    store = Store(home)
    queue = Jobs(store)
    plan = plan_survey(
        store,
        AskChoices(
            ModelSpec(str(tiny_model), precision="fp32"),
            methods=["country_examples"],
            cultures=["KEN"],
            items=["Q57", "Q164"],
            orders="given",
            examples=2,
            example_choice="meaning",
            embedder=str(encoder),
        ),
    )
    job = queue.wait(queue.start(plan))
    queue.close()
    assert job.state == "done", job.error
    run = store.run(job.runs[0])
    assert run.facts["embedder_revision"] == revision_of(encoder)
    assert run.facts["precision"] == "fp32"  # what loading the model found is there as well

    item = SURVEY.item("Q57")
    vectors = embedding_cache.kept(store.home, revision_of(encoder), questions(SURVEY))
    near = choose_examples(SURVEY, item, "KEN", count=2, choice="meaning", vectors=vectors)
    content = items.prompt_of(store, run, item, "KEN").messages[1]["content"]
    places = [content.index(example.item.question) for example in near]
    assert places == sorted(places)
    assert "2, nearest in meaning to tiny-encoder" in provenance.provenance_text(store, run)
    assert json.loads(export.run_json(store, run.id))["settings"]["embedder"] == str(encoder)
    for file in (home / "embeddings").iterdir():
        file.unlink()
    with pytest.raises(PluriscopeError, match="no longer on this machine"):
        items.prompt_of(store, run, item, "KEN")
    store.close()
