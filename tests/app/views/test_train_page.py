"""Train: start, control, watch, fork, resume; every state of a run."""

import json

import pytest

from app.server.run_manager import runs
from app.views.train.live_charts import charts_of
from engine.analysis.summary import summary
from engine.charts import live_curves
from engine.runs.folder import RunFolder
from tests.app.conftest import app, n_epochs, texts, wait_until
from tests.records import read_records, write_records


def owner_of(name: str) -> str:
    return runs().info(name).owner


def test_the_first_visit_offers_one_click(root):
    at = app("train")
    assert "ten seconds" in texts(at)
    assert not at.button(key="start").disabled


def test_one_click_trains_digits_to_the_end(root):
    at = app("train", limit="200", epochs="5", warmup="1", correction_start="2")
    at.button(key="start").click().run()
    (name,) = runs().names()
    assert at.query_params["run"] == name
    wait_until(lambda: runs().info(name).state == "done")
    at.run()
    assert not at.error
    run = RunFolder(root / name)
    shown = {metric.label: metric.value for metric in at.metric}
    last = run.epochs[-1]["metrics"]
    assert shown["Test accuracy"] == f"{100 * last['test_accuracy']:.1f} %"
    assert shown["Label accuracy"] == f"{100 * last['label_accuracy']:.1f} %"
    assert shown["Wrong labels given"] == f"{100 * run.info['rate_actual']:.1f} %"
    assert len(run.epochs) == 5


def test_the_settings_become_the_run(root):
    at = app("train", method="ce", rate="0.2", seed="7", epochs="3", limit="200")
    at.toggle(key="show-settings").set_value(True).run()
    at.slider(key="w-rate").set_value(0.6).run()
    at.selectbox(key="w-noise").set_value("pair").run()
    at.button(key="start").click().run()
    (name,) = runs().names()
    wait_until(lambda: runs().info(name).state == "done")
    config = RunFolder(root / name).config
    assert (config.method, config.noise, config.rate, config.seed) == ("ce", "pair", 0.6, 7)


def test_settings_that_do_not_fit_are_named_and_cannot_start(root):
    at = app("train", warmup="9", correction_start="3")
    assert "correction_start = 3: allowed is warmup (9) or later" in texts(at)
    assert at.button(key="start").disabled


@pytest.mark.parametrize("setting", [{"k": "5000"}, {"rate": "7"}, {"seed": "99999999999"}])
def test_a_value_out_of_range_in_a_link_is_named(root, setting):
    at = app("train", **setting)
    (name, value) = next(iter(setting.items()))
    assert f"{name} = {value}" in texts(at).replace(".0", "")
    at.toggle(key="show-settings").set_value(True).run()
    assert not at.exception
    assert at.button(key="start").disabled


def test_a_link_cannot_read_the_servers_files(root, template_unknown):
    own = template_unknown.parent / "own.npz"
    at = app("train", dataset=f"npz:{own}")
    assert "own.npz': allowed is a named data set, one uploaded" in texts(at)
    assert at.button(key="start").disabled


def test_a_link_with_nonsense_is_named_and_left_out(root):
    at = app("train", epoch="soon", method="magic")
    shown = texts(at)
    assert "epoch = 'soon' in the link: allowed is a whole number from 0" in shown
    assert "method = 'magic' in the link: allowed is ce | mixup | mixnn" in shown
    assert not at.exception


def test_a_running_run_can_be_controlled_by_its_owner_only(running):
    at = app("train", run=running)
    assert "belongs to another visitor" in at.button(key="stop").help
    assert at.button(key="stop").disabled
    assert at.slider(key=f"live-k-{running}").disabled


@pytest.fixture
def own(root):
    """A page that has started a long run of its own."""
    at = app("train", limit="200", epochs="900", warmup="1", correction_start="2", k="3")
    at.button(key="start").click().run()
    (name,) = runs().names()
    path = root / name / "epochs.jsonl"
    wait_until(lambda: path.exists() and n_epochs(root / name) > 2)
    at.run()
    return at, name


def test_k_and_alpha_act_at_the_next_epoch_and_are_marked(own, root):
    at, name = own
    at.slider(key=f"live-k-{name}").set_value(7).run()
    at.slider(key=f"live-alpha-{name}").set_value(0.5).run()
    settings = lambda: RunFolder(root / name).epochs[-1]["settings"]  # noqa: E731
    wait_until(lambda: (settings()["k"], settings()["alpha"]) == (7, 0.5))
    at.button(key="stop").click().run()
    wait_until(lambda: runs().info(name).state == "stopped")
    marks = [text for _, text in live_curves.events(RunFolder(root / name).epochs, 1, 2)]
    assert marks[:2] == ["mixing starts", "correction starts"]
    assert {"K 3 → 7", "alpha 0.8 → 0.5"} <= set(marks)


def test_pause_step_continue_stop_resume(own, root):
    at, name = own
    at.button(key="pause").click().run()
    wait_until(lambda: runs().info(name).state == "paused")
    at.run()
    before = n_epochs(root / name)
    at.button(key="step").click().run()
    wait_until(lambda: n_epochs(root / name) == before + 1)
    wait_until(lambda: runs().info(name).state == "paused")
    at.run()
    at.button(key="go-on").click().run()
    wait_until(lambda: n_epochs(root / name) > before + 3)
    at.run()
    at.button(key="stop").click().run()
    wait_until(lambda: runs().info(name).state == "stopped")
    stopped = n_epochs(root / name)
    at.run()
    at.button(key="resume").click().run()
    wait_until(lambda: n_epochs(root / name) > stopped)


def test_a_second_run_waits_and_says_so(own):
    at, _ = own
    at.button(key="start").click().run()
    assert "This run starts as soon as training is possible: it is the next one" in texts(at)


def test_a_new_run_with_another_noise_rate(finished, root):
    at = app("train", run=finished)
    at.slider(key=f"other-rate-{finished}").set_value(0.2).run()
    at.button(key="beside").click().run()
    name = at.query_params["run"]
    assert name != finished
    wait_until(lambda: runs().info(name).state == "done")
    assert RunFolder(root / name).config.rate == 0.2
    assert RunFolder(root / name).config.k == RunFolder(root / finished).config.k


def test_a_fork_with_another_method(finished, root):
    at = app("train", run=finished)
    at.select_slider(key=f"fork-epoch-{finished}").set_value(2).run()
    at.selectbox(key=f"other-method-{finished}").set_value("ce").run()
    at.button(key="fork").click().run()
    name = at.query_params["run"]
    wait_until(lambda: runs().info(name).state == "done")
    run = RunFolder(root / name)
    assert run.config.method == "ce"
    assert [record["epoch"] for record in run.epochs] == [3, 4, 5]


def test_a_fork_with_another_k_names_its_parent_and_draws_its_curve(finished, root):
    at = app("train", run=finished)
    at.select_slider(key=f"fork-epoch-{finished}").set_value(2).run()
    at.button(key="fork").click().run()
    assert "with the same settings would train what finished trained" in texts(at)
    at.slider(key=f"other-k-{finished}").set_value(9).run()
    at.slider(key=f"other-alpha-{finished}").set_value(0.5).run()
    at.button(key="fork").click().run()
    name = at.query_params["run"]
    wait_until(lambda: runs().info(name).state == "done")
    run = RunFolder(root / name)
    assert (run.config.k, run.config.alpha) == (9, 0.5)
    assert run.info["parent"] == {"run": "../finished", "epoch": 2}
    at.run()
    assert "Fork after epoch 2, K 3 → 9, alpha 0.8 → 0.5" in texts(at).replace("*", "")
    rows, _ = charts_of(name, run.info["created"], 3, False)["How good is the network?"]
    lines = [row for row in rows.to_pylist() if row["kind"] == live_curves.LINE]
    assert [row["epoch"] for row in lines] == [0, 1, 2, 3, 4, 5]
    assert lines[0]["value"] == RunFolder(root / finished).epochs[0]["metrics"]["test_accuracy"]
    assert "forked here" in [row["text"] for row in rows.to_pylist()]
    assert "Forks of this run" in texts(app("train", run=finished))


def test_a_new_run_with_nothing_changed_is_refused(finished):
    at = app("train", run=finished)
    at.button(key="beside").click().run()
    assert "Nothing is changed" in at.error[0].value
    assert runs().names() == [finished]


def test_a_failed_run_says_why_and_offers_to_resume(failed):
    at = app("train", run=failed)
    assert "This run failed: the disk is full (3 MB free)" in texts(at)
    assert not at.button(key="resume").disabled


def test_a_broken_folder_is_named_and_others_can_be_selected(broken, template, root):
    at = app("train", run=broken)
    assert "broken" in texts(at)
    assert not at.exception


def test_an_interrupted_run_says_so(finished, root):
    status = {"state": "running", "message": "", "time": 0.0}
    (root / finished / "status.json").write_text(json.dumps(status))
    at = app("train", run=finished)
    assert "the process ended after 6 epochs; the run can be resumed" in texts(at)
    assert at.button(key="resume")


def test_a_missing_run_is_named(finished):
    at = app("train", run="gone")
    assert "run = 'gone' is not on this server" in texts(at)
    assert at.query_params["run"] == finished


def test_unknown_true_labels_are_named(unknown):
    at = app("train", run=unknown)
    assert "needs the true labels" in texts(at)
    assert {m.label: m.value for m in at.metric}["Wrong labels given"] == "not known"


def test_an_epoch_that_was_not_tested_shows_the_newest_accuracy(finished, root):
    records = read_records(root / finished)
    for record in records[-2:]:
        record["metrics"] |= {"test_accuracy": None, "test_calibration_error": None}
    write_records(root / finished, records)
    shown = {m.label: m.value for m in app("train", run=finished).metric}["Test accuracy"]
    assert shown == f"{100 * records[-3]['metrics']['test_accuracy']:.1f} %"
    for page in ("compare", "runs", "labels"):
        assert not app(page, run=finished).exception, page
    numbers = summary(RunFolder(root / finished))
    assert numbers["test_accuracy_last"] == records[-3]["metrics"]["test_accuracy"]
    assert numbers["test_calibration_error"] == records[-3]["metrics"]["test_calibration_error"]
    assert numbers["label_accuracy_corrected"] == records[-1]["metrics"]["label_accuracy"]


def test_curve_rows_hold_the_records(finished, root):
    records = RunFolder(root / finished).epochs
    events = [(2, "mixing starts"), (3, "correction starts"), (25, "K 5 → 9")]
    rows = live_curves.curve_rows(records, {"test_accuracy": "a"}, events, (0, 29))
    lines = rows[rows.kind == live_curves.LINE]
    assert lines.value.tolist() == [r["metrics"]["test_accuracy"] for r in records]
    marks = rows[rows.kind == live_curves.MARK]
    assert marks.epoch.tolist() == [2, 3, 25]
    assert marks.side.tolist() == ["right", "right", "left"]
    first, second, third = marks.value  # above the plot; the second line ends below the first words
    assert first > second == third > 1
    (name,) = rows[rows.kind == live_curves.NAME].itertuples()
    assert (name.epoch, name.text) == (
        records[-1]["epoch"],
        f"a {100 * lines.value.iloc[-1]:.1f} %",
    )
    seconds = live_curves.stage_rows(records).groupby("epoch").seconds.sum()
    assert seconds.tolist() == pytest.approx([sum(r["seconds"].values()) for r in records])
