"""Experiments on Compare: what is shipped, what strangers leave, and their runs on this server."""

import json
import os
import shutil
from pathlib import Path

import pytest

from app.server.experiments import SHIPPED, Experiments, experiments
from app.server.run_manager import runs
from app.views.compare import experiment_runs
from engine.cli.parser import _parse
from engine.experiments import stored
from engine.experiments.registry import EXPERIMENTS
from engine.files import write_json
from engine.runs.folder import RunFolder
from engine.runs.naming import run_name
from tests.app.conftest import app, texts, wait_until
from tests.conftest import quick_digits
from tests.hostile import NAMES, acting, protos


def page(name: str, **params):
    return app("compare", experiment=name, **params)


@pytest.fixture
def results(root) -> Path:
    """A copy of shipped results as those of this server."""
    folder = root / "experiments" / "results"
    shutil.copytree(SHIPPED, folder)
    yield folder
    experiments().close()


def changed(folder: Path, stem: str, new: str, **values) -> str:
    """A copy of a result with other values; returns its value of the URL parameter."""
    known = json.loads((folder / f"{stem}.json").read_text())
    write_json(folder / f"{new}.json", known | values)
    return f"server/{new}"


def test_every_experiment_has_an_answer_and_shipped_results(root):
    assert stored.conclusions().keys() == EXPERIMENTS.keys() == stored.stems(SHIPPED).keys()
    at = page("all")
    assert not at.error
    assert "It memorizes every wrong label." in texts(at)
    assert "digits, cifar10 (part of the project)" in texts(at)
    assert "'nonsense' does not exist" in texts(page("nonsense"))


def test_a_shipped_result_says_what_the_readme_concludes(root):
    at = page("methods")
    assert not at.error
    words = texts(at)
    assert "digits, part of the project: 140 runs, 5 seeds" in words
    assert "At 0.2 ELR and GCE are not significantly different from MixNN." in words
    assert "[data]" not in words  # links to files
    assert len(at.get("image")) == 2
    assert at.code[-1].value == "python -m engine experiment methods"
    at.selectbox(key="table-methods-digits").select("against_mixnn").run()
    assert "were not corrected for multiple comparisons" in texts(at)
    table = at.dataframe[0].value
    assert len(table) == 96
    assert "clear" not in table


def test_a_result_of_this_server_says_so_and_has_its_own_sentences(results):
    at = page("baseline", result="server/baseline-digits")
    assert "Shown: digits, of this server: 25 runs" in texts(at)
    assert "At rate 0 the last network classifies 99.7 %" in texts(at)
    assert "not corrected for multiple comparisons" in at.warning[0].value
    # without a browser figures are stored as HTML, and drawn from the tables
    new = changed(results, "baseline-digits", "baseline-drawn", figures=["a.html"], seeds=[0])
    at = page("baseline", result=new)
    assert len(at.get("plotly_chart")) == 2
    assert "One seed" in texts(at)
    assert at.code[-1].value == "python -m engine experiment baseline --seed 0"


def test_hostile_results_give_a_sentence_and_act_on_nothing(results):
    outside = results.parent / "secret.png"
    shutil.copy(SHIPPED / "baseline-digits-auroc.png", outside)
    os.symlink(outside, results / "linked.png")
    (results / "baseline-broken.json").write_text("{")
    (results / "baseline-linked.json").symlink_to(SHIPPED / "baseline-digits.json")
    (results / "text.png").write_text("GIF89a")
    (results / "wide.csv").write_text("," * 1000 + "\n")
    (results / "long.csv").write_text("a\n" + "1\n" * 6000)
    (results / "bytes.csv").write_bytes(b"\xff\xfe\x00,\n")
    (results / "marked.csv").write_text(f'"{NAMES[0]}"\n"{NAMES[7]}"\n')
    tables = {f"{name} {NAMES[0]}": f"{name}.csv" for name in ("wide", "long", "bytes", "marked")}
    bad = changed(
        results,
        "baseline-digits",
        "baseline-bad",
        answers=list(NAMES),
        figures=["linked.png", "../secret.png", "text.png"],
        tables=tables,
        settings={name: name for name in NAMES} | {"dataset": "digits"},
        machine={"processor": NAMES[1]},
    )
    assert "baseline-linked" not in stored.stems(results)["baseline"]
    said = texts(page("baseline", result="server/baseline-broken"))
    assert "baseline-broken.json cannot be read" in said
    wrong = changed(results, "baseline-digits", "baseline-wrong", answers="no list")
    assert "answers: Input should be a valid list" in texts(page("baseline", result=wrong))
    at = page("baseline", result=bad)
    said = texts(at)
    assert said.count("is no plain file in results/") == 2
    assert "text.png is no PNG" in said
    assert not at.get("image")
    assert "wide.csv has more than 100 columns" in said
    box = at.selectbox(key="table-baseline-bad")
    for name, words in zip(
        list(tables)[1:], ("more than 5,000 rows", "is no table", ""), strict=True
    ):
        box.select(name).run()
        assert words in texts(at)
        assert [act for proto in protos(at._tree) for act in acting(proto)] == []
    own = changed(
        results, "baseline-digits", "baseline-own", settings={"dataset": "npz:/home/a.npz"}
    )
    assert "Shown" in texts(page("baseline", result=own))


def test_results_on_own_data_are_the_teachers(results, monkeypatch):
    own = changed(results, "baseline-digits", "baseline-npz", settings={"dataset": "npz:/a.npz"})
    monkeypatch.setenv("MIXNN_PASSCODE", "open sesame")
    at = page("baseline", result=own)
    assert "only the teacher may see it" in texts(at)
    assert "Shown" not in texts(at)
    monkeypatch.setenv("MIXNN_PRIVATE", "1")
    at = page("baseline")
    assert "only its teacher starts experiments" in texts(at)
    assert [button.key for button in at.button if button.key == "start-experiment"] == []


@pytest.fixture
def tiny(root, monkeypatch):
    """An experiment of two short runs, whose evaluation is noted instead of run."""
    configs = [quick_digits(epochs=3, seed=seed) for seed in (0, 1)]
    plan = tuple((run_name(config), config) for config in configs)
    monkeypatch.setattr(experiment_runs, "planned", lambda name, n_seeds: plan)
    monkeypatch.setattr("app.server.experiments.POLL", 0.05)
    evaluated = []

    def evaluate(self, job, folder, out):
        assert _parse(self.command(job, folder, out)[3:]).names == ["baseline"]
        evaluated.append(sorted(path.parent.name for path in folder.glob("*/config.json")))
        shutil.copy(SHIPPED / "baseline-digits.json", out)

    monkeypatch.setattr(Experiments, "_run", evaluate)
    yield configs, evaluated
    experiments().close()


def test_what_is_missing_is_trained_as_one_request_and_then_evaluated(
    tiny, root, finished, monkeypatch
):
    _, evaluated = tiny
    existing = RunFolder(root / finished).config
    configs = [existing, existing.changed(epochs=2, warmup=1, correction_start=2)]
    plan = tuple((run_name(config), config) for config in configs)
    monkeypatch.setattr(experiment_runs, "planned", lambda name, n_seeds: plan)
    at = page("baseline")
    assert "trains 1 run on digits, 1 of 2 are done" in texts(at)
    at.button(key="start-experiment").click().run()
    assert not at.error
    job = experiments().job("baseline")
    wait_until(lambda: not job.live)
    assert (job.state, job.message) == ("done", "")
    assert evaluated == [sorted(map(run_name, configs))]
    assert len(runs().names()) == 2
    at.run()
    assert "Shown: digits, of this server" in texts(at)
    assert "All 2 runs are done" in texts(at)
    assert "Their results replace those of this server, of 5 seeds." in texts(at)
    assert [path.name for path in (root / "experiments/results").iterdir()] == [
        "baseline-digits.json"
    ]
    monkeypatch.setenv("MIXNN_PASSCODE", "open sesame")
    other = page("baseline")
    assert "only they and the teacher may replace its result" in texts(other)
    assert "start-experiment" not in [button.key for button in other.button]
    assert at.run().button(key="start-experiment")
    assert not runs().storage.table("experiments")


def test_a_live_experiment_is_watched_and_stopped(tiny, monkeypatch):
    configs, evaluated = tiny
    long = tuple((run_name(c), c) for c in (config.changed(epochs=5000) for config in configs))
    monkeypatch.setattr(experiment_runs, "planned", lambda name, n_seeds: long)
    at = page("baseline")
    at.button(key="start-experiment").click().run()
    job = experiments().job("baseline")
    assert len({runs().info(name).group for name in job.runs.values()}) == 1
    assert "0 of 2 runs of 5 seeds are done" in at.get("progress")[0].proto.text
    experiments().close()
    experiments.clear()  # as a restart of the server does
    assert "0 of 2 runs done" in texts(page("all"))
    job = experiments().job("baseline")
    at.run()
    assert at.button(key="stop-experiment").disabled is False
    at.button(key="stop-experiment").click().run()
    assert not at.error
    assert job.state == "stopped"
    wait_until(lambda: not runs().active())
    assert not evaluated
    assert at.button(key="start-experiment")


def test_a_failure_is_a_sentence(tiny, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device", "/home/ann/x")

    monkeypatch.setattr(Experiments, "_run", fail)
    at = page("baseline")
    at.button(key="start-experiment").click().run()
    wait_until(lambda: not experiments().job("baseline").live)
    at.run()
    assert "No space left on device" in at.error[0].value
    assert "/home/ann" not in texts(at)
    assert at.button(key="start-experiment")
