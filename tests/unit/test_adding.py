"""What is added as one row is there everywhere: asked, computed, named, offered, drawn."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from core.__main__ import main
from core.asking.questionnaire import Questionnaire
from core.asking.settings import AskSettings
from core.figures import base
from core.importers import IMPORTERS, glance, table
from core.metrics.metrics import METRICS, Scale
from core.models.spec import ModelSpec
from core.prompts import methods
from core.prompts.methods import METHODS, Look
from core.prompts.prompt_sets import load_prompt_set
from core.survey.survey import load_bundled
from core.tuning.settings import ARMS, Arm
from tests.pages.driver import said


@pytest.fixture
def metric(monkeypatch) -> str:
    row = replace(
        METRICS["soft"],
        name="nearly",
        label="Nearly the same",
        meaning="At 100 every answer is nearly the same.",
        scale=Scale((10, 20, 30, 40, 50, 60), (0, 100), 5),
    )
    monkeypatch.setitem(METRICS, row.name, row)
    return row.name


def test_a_metric_is_a_row(metric, filled_home, app, capsys):
    at = app("map", measure=metric)
    assert not at.exception
    assert at.selectbox(key="map_measure").value == metric
    assert METRICS[metric].label in at.selectbox(key="map_measure").options
    assert METRICS[metric].meaning in said(at)
    assert "below 20" in at.get("plotly_chart")[0].proto.spec  # its own bins
    assert main(["runs", "--json"]) == 0
    run = json.loads(capsys.readouterr().out)[0]["id"]
    assert main(["score", "--run", run, "--metric", metric, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metric"] == metric


@pytest.fixture
def method(monkeypatch) -> str:
    row = METHODS["cross_culture"]._replace(
        name="Thinking of neighbours",
        system="neighbours_system",
        asked="to think of neighbours",
        button="Of neighbours",
        said="as people who think of neighbours",
        what="It is told which countries are near.",
        look=Look("#123456", "#123456", "#ABCDEF", "hexagon", "⬢", "5px 5px"),
    )
    monkeypatch.setitem(METHODS, "neighbours", row)
    return "neighbours"


def test_a_method_is_a_row_and_its_text(method, app):
    survey, prompts = load_bundled(), load_prompt_set("pluriscope")
    told = "You are from {country}, near {near1}."
    prompts = replace(prompts, texts={**prompts.texts, "neighbours_system": told})
    settings = AskSettings(
        model=ModelSpec("builtin"), method=method, cultures=("KEN",), items=("Q57",), item_set="",
        survey=survey.id, survey_version=survey.version,
        prompt_set=prompts.id, prompt_sha256=prompts.sha256,
    )  # fmt: skip
    asked = Questionnaire(settings, survey, prompts).prompt(survey.item("Q57"), "KEN").messages[0]
    assert asked["content"].startswith("You are from Kenya, near ")
    assert "{" not in asked["content"]
    assert settings.human_answers == methods.NEAR_AND_FAR
    assert settings.way == "Thinking of neighbours"
    assert (base.series(method).label, base.series(method).colour) == (
        "thinking of neighbours", "#123456"
    )  # fmt: skip

    at = app("run", ways="Of neighbours")
    assert not at.exception
    assert "Of neighbours" in at.pills(key="ways").options


@pytest.fixture
def importer(monkeypatch) -> str:
    module = SimpleNamespace(**{**vars(table), "knows": lambda columns: "share" in columns})
    row = IMPORTERS["table"]._replace(name="Ballots", looks="One row a ballot.", module=module)
    known = dict(IMPORTERS)
    IMPORTERS.clear()
    IMPORTERS.update({"ballots": row, **known})
    yield "ballots"
    IMPORTERS.clear()
    IMPORTERS.update(known)


def test_an_importer_is_a_module_and_a_row(importer, app, capsys):
    assert glance(table.TEMPLATE).kind == importer
    at = app("import")
    assert not at.exception
    assert "**Ballots**" in said(at) and "One row a ballot." in said(at)
    assert main(["import", importer, str(table.TEMPLATE), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] > 0


def test_an_arm_is_a_row(monkeypatch, app, capsys):
    row = Arm("cct_same", "Control: pairs that agree", "cross_culture", choose="same")
    monkeypatch.setitem(ARMS, row.name, row)
    with pytest.raises(SystemExit) as ended:
        main(["tune", "--arm", row.name, "--help"])
    assert ended.value.code == 0
    at = app("experiment")
    at.radio(key="exp_set").set_value("My own choice").run()
    at.multiselect(key="exp_own").set_value([row.name]).run()
    assert not at.exception
    assert row.title in at.multiselect(key="exp_own").options
