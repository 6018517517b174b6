"""Compare: which runs, at which epoch, their differences, the pair, the sweeps."""

import json
import shutil

import numpy as np
import pytest
from scipy import stats

from app.server import run_cache
from app.server.run_manager import runs
from app.views.compare import comparison, over_seeds, panels
from engine.analysis import run_table
from engine.embedding.projection import pca
from engine.runs.folder import RunFolder
from engine.runs.lineage import records_before
from engine.runs.runner import Runner
from tests.analysis.test_run_table import forge
from tests.app.conftest import ANYONE, app, n_epochs, texts, wait_until
from tests.conftest import quick_digits
from tests.records import keep_epochs, read_records, write_records

QUICK = dict(limit="200", epochs="4", warmup="1", correction_start="2")


@pytest.fixture(scope="session")
def template_ce(tmp_path_factory):
    """Plain cross-entropy on the labels of `template`."""
    folder = tmp_path_factory.mktemp("ce") / "ce"
    runner = Runner.new(quick_digits(method="ce", epochs=4), folder)
    runner.run()
    assert runner.status.state == "done", runner.status.error
    return folder


@pytest.fixture
def pair(root, finished, template_ce) -> tuple[str, str]:
    """Cross-entropy of four epochs and MixNN of six on the same labels."""
    shutil.copytree(template_ce, root / "ce")
    return "ce", finished


def page(**params):
    return app("compare", **params)


def cards(at) -> str:
    return next(e.proto.body for e in at.get("html") if "border-radius:8px" in e.proto.body)


def warnings(at) -> str:
    return "\n".join(element.value for element in at.warning)


def frame(at):
    (table,) = at.dataframe
    return table.value


def metric(folder, epoch: int, name: str) -> str:
    (value,) = [r["metrics"][name] for r in RunFolder(folder).epochs if r["epoch"] == epoch]
    return f"<b>{100 * value:.1f} %</b>"


def test_without_a_run_there_is_only_the_button(root):
    at = page()
    assert "no run yet" in texts(at)
    assert not at.button(key="start-pair").disabled
    assert not at.error


def test_the_button_trains_both_on_the_same_noise_and_opens_them(root):
    at = page(seed="7", alpha="0.5", correction="none", **QUICK)
    at.button(key="start-pair").click().run()
    assert not at.error
    first, second = at.query_params["compare"].split(",")
    wait_until(lambda: runs().info(first).state == runs().info(second).state == "done")
    ce, mixnn = RunFolder(root / first), RunFolder(root / second)
    assert (ce.config.method, mixnn.config.method) == ("ce", "mixnn")
    assert ce.config.seed == mixnn.config.seed == 7
    assert ce.config.noise_seed == mixnn.config.noise_seed == 7
    assert ce.labels["given"].tolist() == mixnn.labels["given"].tolist()
    assert mixnn.config.alpha == 0.5
    at.run()
    assert "A cross-entropy" in cards(at)
    assert "exactly the same given labels" in texts(at)


def test_a_pair_that_exists_is_shown_and_not_trained_again(root, pair):
    ce, mixnn = pair
    settings = dict(seed="1", k="3", warmup="1", correction_start="2", limit="200")
    at = page(**settings, epochs="6")
    at.button(key="start-pair").click().run()
    first, second = at.query_params["compare"].split(",")
    assert first != ce  # that one has four epochs
    assert second == mixnn
    wait_until(lambda: runs().info(first).state == "done")
    at.button(key="start-pair").click().run()
    assert at.query_params["compare"] == f"{first},{second}"
    assert len(runs().names()) == 3


def test_half_a_pair_is_not_queued(root, monkeypatch):
    monkeypatch.setenv("MIXNN_PER_VISITOR", "1")
    at = page(**QUICK | {"epochs": "5000"})
    at.button(key="start-pair").click().run()
    assert not at.error, "the pair is one request"
    names = set(runs().names())
    at.session_state["choices"]["epochs"] = 4000
    at.run()
    at.button(key="start-pair").click().run()
    assert "allowed are 1" in at.error[0].value
    assert set(runs().names()) == names


def test_invalid_settings_are_named(root):
    at = page(rate="7")
    assert at.button(key="start-pair").disabled
    assert "rate = 7" in texts(at)


def test_a_pair_is_offered_where_nothing_is_chosen(pair):
    at = page()
    assert set(at.query_params["compare"].split(",")) == set(pair)


def test_runs_of_different_length_meet_at_an_epoch(root, pair):
    ce, mixnn = pair
    at = page(compare=f"{ce},{mixnn}")
    assert not at.error
    assert "Epoch **3** of 5" in texts(at)
    assert metric(root / ce, 3, "test_accuracy") in cards(at)
    assert metric(root / mixnn, 3, "test_accuracy") in cards(at)
    at = page(compare=f"{ce},{mixnn}", epoch=5)
    assert "ended at epoch 3" in cards(at)
    assert metric(root / mixnn, 5, "test_accuracy") in cards(at)


def test_differences_in_words(root, pair):
    text = texts(page(compare=",".join(pair)))
    assert "**method**: A cross-entropy, B MixNN" in text
    assert "**epochs**: A 4, B 6" in text
    assert "threads" not in text
    assert "exactly the same given labels" in text
    shutil.copytree(root / "ce", root / "other")
    labels = RunFolder(root / "ce").labels
    labels["given"][0] = (labels["given"][0] + 1) % 10
    np.savez(root / "other" / "labels.npz", **labels)
    assert "**different** given labels" in texts(page(compare="ce,other"))


def test_a_fork_shows_its_parent_before_it_begins(root, finished):
    runner = Runner.fork(root / finished, 3, root / "fork", k=1, alpha=0.5)
    runner.run()
    assert runner.status.state == "done", runner.status.error
    names = [finished, "fork"]
    at = page(compare=",".join(names), epoch=1)
    assert "before its fork: finished" in cards(at)
    assert "noise seed" not in texts(at)  # the fork names it, its parent leaves it to the seed
    assert cards(at).count(metric(root / finished, 1, "test_accuracy")) == 2
    assert comparison.short_names(names) == [
        "A MixNN, K 3, alpha 0.8",
        "B MixNN, K 1, alpha 0.5, fork",
    ]
    assert "**forked**: B after epoch 3" in texts(at)
    assert [r["epoch"] for r in comparison.curve("fork", "B").before] == [0, 1, 2, 3]
    assert [r["epoch"] for r in comparison.curve("fork", "B").records] == [4, 5]
    shutil.rmtree(root / finished)
    assert "before its fork: finished" in comparison.view_at("fork", 1).note
    shutil.rmtree(root / "fork" / "parent")  # a fork of an earlier version
    assert "begins at epoch 4" in comparison.view_at("fork", 1).note
    assert records_before(run_cache.run("fork")) == []


def test_the_page_says_which_names_of_the_link_do_not_exist(pair):
    at = page(compare=f"nowhere,{pair[0]}")
    assert "left out: nowhere" in warnings(at)
    assert "A cross-entropy" in cards(at)
    assert "Choose a second run" in texts(at)


def test_marked_rows_are_the_runs_compared(pair, root, template):
    shutil.copytree(template, root / "third")
    at = page(compare="ce", part="runs")
    names = frame(at)["name"].tolist()
    marked = at.session_state["runs-table"]["selection"]["rows"]
    assert [names[row] for row in marked] == ["ce"]
    at.multiselect(key="w-compare").set_value(["ce", "third"]).run()
    assert at.query_params["compare"] == "ce,third"
    marked = at.session_state["runs-table"]["selection"]["rows"]
    assert {frame(at)["name"].tolist()[row] for row in marked} == {"ce", "third"}


def test_the_filter_hides_rows_and_keeps_the_choice(pair):
    at = page(compare=",".join(pair), like="mixnn")
    assert frame(at)["name"].tolist() == ["finished"]
    assert at.query_params["compare"] == ",".join(pair)
    at = page(like="nothing-like-it")
    assert "No run matches all these words" in texts(at)


def test_a_running_run_and_a_waiting_one(root, running):
    waiting = runs().submit(quick_digits(), visitor=ANYONE)
    at = page(compare=f"{running},{waiting}")
    assert not at.error
    assert "number 1 in the queue" in cards(at)
    assert at.get("vega_lite_chart") or at.get("arrow_vega_lite_chart")
    at = page(compare=waiting)
    assert "first epochs are under way" in texts(at)


def test_a_failed_run_is_shown_next_to_the_others(root, finished, failed):
    at = page(compare=f"{finished},{failed}", epoch=4)
    assert not at.error
    assert "ended at epoch 2" in cards(at)
    assert "✕ failed" in cards(at)


def test_a_broken_run_is_left_out_and_the_rest_shown(finished, broken):
    at = page(compare=f"{broken},{finished}")
    assert "left out" in at.error[0].value
    assert "A MixNN" in cards(at)


def test_a_run_without_an_epoch_says_so(root, finished):
    keep_epochs(root / finished, 0)
    at = page(compare=finished)
    assert "has no epoch to show" in warnings(at)
    assert n_epochs(root / finished) == 0


def test_without_true_labels_the_rest_is_shown(pair, unknown):
    at = page(compare=unknown)
    assert not at.error
    assert any("needs the true labels" in info.value for info in at.info)


def test_losses_and_maps_are_those_of_the_epoch(root, finished):
    loss, kinds = panels.losses_at(comparison.EpochView(run_cache.run(finished), 4))
    run = RunFolder(root / finished)
    assert loss.tolist() == run.array("loss")[4].tolist()
    now = run.array("soft")[4].argmax(1)
    assert (~np.isin(kinds, (0, 1))).sum() == (now != run.labels["true"]).sum()
    layout = panels.panel_layout(run_cache.run(finished), 4)
    first = pca(np.asarray(run.array("panel_features")[0], np.float32))
    own = pca(np.asarray(run.array("panel_features")[4], np.float32), previous=first)
    assert np.allclose(layout, own, atol=1e-4)
    far = np.linalg.norm(layout - layout.mean(0), axis=1)
    free = pca(np.asarray(run.array("panel_features")[4], np.float32))
    assert np.allclose(far, np.linalg.norm(free - free.mean(0), axis=1), atol=1e-3)


def test_a_sweep_folder_gets_its_heat_map(root, template):
    for k, accuracy in ((1, 0.7), (5, 0.9)):
        forge(template, root / "grid" / f"k{k}", k=k, accuracy=accuracy)
    shutil.copytree(template, root / "plain")
    at = page(part="sweeps")
    assert "2 finished runs in 2 cells" in texts(at)
    assert at.selectbox(key="w-sweep").value == "grid"
    charts = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]
    (heat,) = [t for chart in charts for t in chart["data"] if t["type"] == "heatmap"]
    assert heat["customdata"] == [["70.0 %<br>one seed", "90.0 %<br>one seed"]]
    at.selectbox(key="w-sweep_metric").set_value("memorized").run()
    assert not at.error
    assert "Memorized: 2 finished runs" in texts(at)


def test_a_sweep_leaves_out_forks_and_steered_runs_until_they_are_included(root, template):
    for k in (1, 5):
        forge(template, root / f"k{k}", k=k, accuracy=0.9, arrays=True)
    forge(template, root / "steered", k=1, accuracy=0.5, arrays=True)
    records = read_records(root / "steered")
    for record in records[3:]:
        record["settings"]["k"] = 5
    write_records(root / "steered", records)
    assert "K 1 → 5 at epoch 3" in frame(page(part="runs"))["changed"].tolist()
    at = page(part="sweeps")
    assert "2 finished runs in 2 cells" in texts(at)
    assert "1 run forked or changed while training, left out" in texts(at)
    at.toggle(key="w-mixed").set_value(True).run()
    assert "3 finished runs in 2 cells" in texts(at)
    assert "1 run repeat a seed, which counts once" in texts(at)


def test_only_settings_with_an_effect_differ(root, template):
    forge(template, root / "a", k=3, arrays=True)
    forge(template, root / "ce", mixing="none", correction="none", k=20, arrays=True)
    text = texts(page(compare="a,ce"))
    assert "**method**: A MixNN, B cross-entropy" in text
    assert "**K**:" not in text
    forge(template, root / "b", k=20, arrays=True)
    assert "**K**: A 3, C 20" in texts(page(compare="a,ce,b"))


@pytest.fixture
def seeds(root, template):
    """Three seeds of MixNN and of cross-entropy, one of K 9; MixNN is clearly better."""
    for seed in range(3):
        own = dict(seed=seed, arrays=True)
        forge(template, root / f"mixnn{seed}", accuracy=0.95 + 0.01 * seed, **own)
        ce = dict(mixing="none", correction="none")
        forge(template, root / f"ce{seed}", accuracy=0.7 + 0.012 * seed, **own, **ce)
    forge(template, root / "k9", seed=0, k=9, accuracy=0.9, arrays=True)


def test_means_over_seeds_with_a_test_in_words(seeds):
    rows = run_table.rows(runs().root)
    found = over_seeds.families(["ce0", "mixnn1", "mixnn2", "k9"], rows)
    assert found == {
        "ce0": {0: "ce0", 1: "ce1", 2: "ce2"},
        "mixnn1": {0: "mixnn0", 1: "mixnn1", 2: "mixnn2"},
        "k9": {0: "k9"},
    }
    at = page(compare="ce0,mixnn1", seeds="1", epoch="5")
    assert not at.error
    (table,) = [t.value for t in at.dataframe if "In words" in t.value.columns]
    ce, mixnn = table.to_dict("records")
    assert ce["In words"] == "the reference"
    assert mixnn["Mean [95 % interval]"].startswith("96.0 % [93.5, 98.5], n = 3")
    differences = [0.25, 0.248, 0.246]
    assert mixnn["Difference to A cross-entropy"].startswith(f"+{100 * np.mean(differences):.1f}")
    p = stats.ttest_1samp(differences, 0).pvalue
    assert p < 0.001
    assert mixnn["In words"] == "significantly higher (p < 0.001)"


def test_a_difference_by_chance_is_not_significant(root, template):
    for seed, (a, b) in enumerate([(0.9, 0.91), (0.92, 0.9), (0.91, 0.93)]):
        forge(template, root / f"a{seed}", seed=seed, accuracy=a, arrays=True)
        forge(template, root / f"b{seed}", seed=seed, k=9, accuracy=b, arrays=True)
    at = page(compare="a0,b0", seeds="1")
    (table,) = [t.value for t in at.dataframe if "In words" in t.value.columns]
    assert table["In words"][1].startswith("not significantly different (p = 0.")


def test_repeat_trains_only_the_seeds_that_are_missing(root):
    config = quick_digits(epochs=2, warmup=0, correction_start=0, limit=100, seed=0)
    first = runs().submit(config, visitor=ANYONE)
    wait_until(lambda: runs().info(first).state == "done")
    at = page(compare=first)
    at.button(key="repeat").click().run()
    assert not at.error
    assert at.query_params["seeds"] == "1"
    wait_until(lambda: len(runs().names()) == 5 and not runs().active())
    found = run_table.rows(root)
    assert sorted(row["seed"] for row in found) == [0, 1, 2, 3, 4]
    assert len({row["family"] for row in found}) == 1
    at.run()
    assert "5 seeds" in texts(at)
    at.button(key="repeat").click().run()
    assert len(runs().names()) == 5
