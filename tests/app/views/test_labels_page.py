"""Labels: every state a run can be in, and its numbers against counting by hand."""

import csv
import json
import shutil
from dataclasses import fields

import numpy as np
import pytest

from app.server.label_issues import issues_of
from app.server.run_manager import runs
from app.server.run_view import RunView
from engine.analysis.label_export import export, label_rows
from engine.analysis.label_issues import label_issues
from engine.noise.class_dependent import observed_matrix
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from tests.app.conftest import app, texts
from tests.conftest import quick_digits
from tests.records import read_records, write_records


@pytest.fixture(scope="session")
def corrected_template(tmp_path_factory):
    """A run that corrects labels quickly, well and badly."""
    folder = tmp_path_factory.mktemp("corrected") / "run"
    runner = Runner.new(quick_digits(alpha=0.4, epochs=8, rate=0.3, correction_start=3), folder)
    runner.run()
    assert runner.status.state == "done", runner.status.error
    return folder


@pytest.fixture
def finished(root, corrected_template) -> str:
    """A finished run whose labels were corrected, in place of the one of conftest."""
    shutil.copytree(corrected_template, root / "finished")
    return "finished"


def page(**params):
    return app("labels", **params)


def counted(folder, row: int = -1) -> dict[str, int]:
    """The outcomes of the labels, counted one by one."""
    run = RunFolder(folder)
    soft = run.array("soft")[row]
    counts = dict(wrong=0, right=0, corrected=0, harmed=0, changed=0, missed=0)
    for given, true, row_soft in zip(run.labels["given"], run.labels["true"], soft, strict=True):
        current = int(row_soft.argmax())
        counts["wrong" if given != true else "right"] += 1
        if given == true:
            counts["harmed"] += current != true
        elif current == given:
            counts["missed"] += 1
        else:
            counts["corrected" if current == true else "changed"] += 1
    return counts


def frame(at):
    (table,) = at.dataframe
    return table.value


def test_the_most_confused_pairs_are_those_counted_by_hand(finished, root):
    stored = RunFolder(root / finished)
    true, given = stored.labels["true"], stored.labels["given"]
    at = page(run=finished, part="predictions")
    tables = [table.value for table in at.table]
    predicted = np.array(stored.array("prediction")[-1])
    for table, column, taken_for in zip(
        tables, ("Predicted", "Given"), (predicted, given), strict=True
    ):
        counts = {
            (str(a), str(b)): int(((true == a) & (taken_for == b)).sum())
            for a in range(10)
            for b in range(10)
            if a != b
        }
        shown = [int(n) for n in table["Images"]]
        most = sorted(filter(None, counts.values()), reverse=True)[: len(shown)]
        assert shown == most
        for _, row in table.iterrows():
            a, b, n = row["True"], row[column], int(row["Images"])
            assert counts[a, b] == n
            assert row["Share of the class"] == f"{100 * n / (true == int(a)).sum():.1f} %"


def metrics(at) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def harm_label(folder, sample: int) -> None:
    """Let the last epoch have turned a right label into a wrong one."""
    run = RunFolder(folder)
    soft = np.load(folder / "arrays" / "soft.npy", mmap_mode="r+")
    last = len(run.epochs) - 1
    soft[last, sample] = 0
    soft[last, sample, (run.labels["true"][sample] + 1) % soft.shape[2]] = 1
    soft.flush()


def test_without_a_run_it_says_what_to_do(root):
    at = page()
    assert "no run yet" in texts(at)
    assert not at.error


def test_a_finished_run_in_numbers(root, finished):
    at = page(run=finished)
    assert not at.error
    counts = counted(root / finished)
    assert counts["corrected"] > 0
    assert f"**corrected {counts['corrected']} of {counts['wrong']} wrong labels**" in texts(at)
    assert f"**harmed {counts['harmed']} of {counts['right']} right labels**" in texts(at)
    shown = metrics(at)
    assert shown["✓ Corrected"] == f"{counts['corrected']} of {counts['wrong']}"
    assert shown["✕ Harmed"] == f"{counts['harmed']} of {counts['right']}"
    assert shown["○ Missed"] == f"{counts['missed']} of {counts['wrong']}"
    right = (counts["right"] - counts["harmed"] + counts["corrected"]) / 200
    assert shown["Labels right"] == f"{100 * right:.1f} %"


def test_the_list_holds_every_change_with_its_flips(root, finished):
    table = frame(page(run=finished, part="changes"))
    run = RunFolder(root / finished)
    soft, given, true = run.array("soft"), run.labels["given"], run.labels["true"]
    now = soft[-1].argmax(1)
    assert sorted(table["sample"]) == np.flatnonzero(now != given).tolist()
    for line in table.to_dict("records"):
        sample = line["sample"]
        labels = [given[sample], *soft[:, sample].argmax(1)]
        epochs = [e for e in range(8) if labels[e + 1] != labels[e]]
        assert (line["first_flip"], line["last_flip"], line["flips"]) == (
            epochs[0],
            epochs[-1],
            len(epochs),
        )
        names = [run.info["data"]["classes"][c[sample]] for c in (given, now, true)]
        assert [line["given"], line["corrected"], line["true"]] == names
        assert line["confidence"] == pytest.approx(soft[-1, sample].max())
        outcome = "corrected" if now[sample] == true[sample] else "changed"
        assert line["outcome"] == ("harmed" if given[sample] == true[sample] else outcome)


def test_an_earlier_epoch_shows_its_own_labels(root, finished):
    run = RunFolder(root / finished)
    changed = [int((soft.argmax(1) != run.labels["given"]).sum()) for soft in run.array("soft")]
    epoch = next(e for e in range(7) if 0 < changed[e] < changed[-1])
    at = page(run=finished, epoch=epoch, part="changes")
    assert len(frame(at)) == changed[epoch]
    assert frame(at)["last_flip"].max() <= epoch


def test_before_correction_it_says_when_it_starts(finished):
    at = page(run=finished, epoch=1)
    assert "correction starts at epoch 3" in texts(at)
    assert not at.metric
    assert not at.dataframe
    (button,) = [button for button in at.button if "labels change first" in button.label]
    button.click().run()
    assert "correction has **corrected" in texts(at)


def test_a_method_without_correction_says_so(root, finished):
    records = read_records(root / finished)
    for record in records:
        record["settings"]["correction"] = "none"
        record["metrics"]["changed_labels"] = 0.0
    write_records(root / finished, records)
    soft = np.load(root / finished / "arrays" / "soft.npy", mmap_mode="r+")
    soft[:] = np.eye(10)[RunFolder(root / finished).labels["given"]]
    soft.flush()
    assert "corrects no labels" in texts(page(run=finished))


def test_a_run_that_ends_before_correction_says_so(root, finished):
    folder = root / finished
    info = json.loads((folder / "config.json").read_text())
    info["config"]["epochs"] = 2
    (folder / "config.json").write_text(json.dumps(info))
    write_records(folder, read_records(folder)[:2])
    at = page(run=finished)
    assert "would start at epoch 3, but the run ends with epoch 1" in texts(at)


def test_harmed_labels_are_shown_with_image_and_link(root, finished):
    run = RunFolder(root / finished)
    sample = int(np.flatnonzero(run.labels["given"] == run.labels["true"])[7])
    harm_label(root / finished, sample)
    at = page(run=finished, part="harmed")
    assert "Harmed: right labels that are wrong now" in at.subheader[-1].value
    links = [link for link in at.get("page_link") if link.proto.label == f"Sample {sample}"]
    assert f"sample={sample}" in links[0].proto.query_string
    walls = [element.proto.body for element in at.get("html") if "<figure" in element.proto.body]
    assert any(f"sample {sample}, given" in wall for wall in walls)


def test_a_filter_keeps_one_kind(root, finished):
    counts = counted(root / finished)
    at = page(run=finished, changes="missed")
    assert len(frame(at)) == counts["missed"] > 0
    at.segmented_control(key="w-changes").set_value("corrected").run()
    assert len(frame(at)) == counts["corrected"]
    assert set(frame(at)["outcome"]) == {"corrected"}


@pytest.mark.parametrize(
    ("old", "now"), [("helpful", "corrected"), ("harmful", "harmed"), ("neutral", "changed")]
)
def test_links_of_earlier_versions_show_the_same_list(finished, old, now):
    at = page(run=finished, changes=old)
    assert at.segmented_control(key="w-changes").value == now
    assert "allowed is" not in texts(at)


def test_a_marked_row_is_the_chosen_sample(root, finished):
    at = page(run=finished, part="changes")
    sample = int(frame(at)["sample"].iloc[2])
    at.session_state["changes-table"] = {"selection": {"rows": [2], "columns": [], "cells": []}}
    at = page(run=finished, sample=sample, part="changes")
    links = [link.proto.label for link in at.get("page_link")]
    assert f"Sample {sample}" in links
    assert at.session_state["changes-table"]["selection"]["rows"] == [2]


def test_labels_are_saved_as_of_the_epoch(root, finished, tmp_path):
    at = page(run=finished, part="changes")
    assert "All labels, CSV" in [button.proto.label for button in at.get("download_button")]
    run = RunFolder(root / finished)
    export(run, tmp_path / "labels.csv")
    assert list(csv.DictReader((tmp_path / "labels.csv").open())) == list(label_rows(run, 7))
    assert any(line["given_label"] != line["soft_label_argmax"] for line in label_rows(run, 7))
    early = list(label_rows(run, 1))
    assert all(line["given_label"] == line["soft_label_argmax"] for line in early)
    assert [float(line["p_clean"]) for line in early] == pytest.approx(
        run.array("clean")[1].tolist(), abs=1e-6
    )


@pytest.mark.parametrize("case", ["whole", "early", "fork", "orphan", "no truth"])
def test_export_app_and_notebook_agree_on_every_label(root, finished, tmp_path, case):
    """Notebook 8 and the command line take `label_issues` and `export`, the pages `issues_of`."""
    name, row = finished, 2 if case == "early" else None
    if case in ("fork", "orphan"):
        Runner.fork(root / finished, 4, root / "fork", alpha=0.6, epochs=8).run()
        name = "fork"
    if case == "orphan":
        shutil.rmtree(root / finished)
    if case == "no truth":
        path = root / finished / "labels.npz"
        with np.load(path) as file:
            kept = {k: file[k] for k in file.files if k not in ("true", "matrix_actual")}
        np.savez(path, **kept)
    run = RunFolder(root / name)
    last = len(run.epochs) - 1
    view = RunView(name, last if row is None else row)
    engine, page = label_issues(run, row), issues_of(view)
    assert engine.estimate() == page.estimate()
    for field in fields(engine):
        if field.name == "noise":
            continue
        ours, theirs = getattr(engine, field.name), getattr(page, field.name)
        np.testing.assert_array_equal(ours, theirs, err_msg=field.name)
    if row is None:
        assert export(run, tmp_path / "labels.csv") == len(page.flagged)
        lines = list(csv.DictReader((tmp_path / "labels.csv").open()))
        assert lines == list(label_rows(run, last, page))
        assert [line["label_quality"] for line in lines] == [f"{q:.6f}" for q in page.quality]


def test_the_noise_is_estimated_from_the_corrections(root, finished):
    run = RunFolder(root / finished)
    given, true = run.labels["given"], run.labels["true"]
    now = run.array("soft")[-1].argmax(1)
    gap = np.abs(observed_matrix(now, given, 10) - run.labels["matrix_actual"]).mean()
    text = texts(page(run=finished, part="noise"))
    assert f"**{100 * (now != given).mean():.1f} %** of the given labels are wrong" in text
    assert f"In truth it is **{100 * (true != given).mean():.1f} %**" in text
    assert f"differ by {100 * gap:.1f} points" in text


def test_without_true_labels_it_shows_what_is_possible(root, finished):
    path = root / finished / "labels.npz"
    with np.load(path) as file:
        kept = {name: file[name] for name in file.files if name not in ("true", "matrix_actual")}
    np.savez(path, **kept)
    at = page(run=finished, part="changes")
    assert not at.error
    text = texts(at) + texts(page(run=finished, part="noise"))
    assert "true labels are not known" in text
    assert "true labels of this data are not known" in text
    assert "true transition matrix of this data is not known" in text
    assert list(metrics(at)) == ["Labels changed"]
    assert set(frame(at)["outcome"]) == {"changed"}
    assert "true" not in frame(at)


def test_a_running_run(running):
    at = page(run=running)
    assert not at.error
    assert "paused" in texts(at) or "running" in texts(at)


def test_a_failed_run_shows_what_it_has(root, failed):
    at = page(run=failed)
    assert not at.error
    assert "Epoch **2** of 2" in texts(at)


def test_a_broken_run_says_so(broken):
    at = page(run=broken)
    assert "config.json" in at.error[0].value
    assert not at.dataframe


def test_missing_images_leave_the_rest(root, finished):
    path = root / finished / "config.json"
    info = json.loads(path.read_text())
    info["data"]["fingerprint"] = "other"
    path.write_text(json.dumps(info))
    run = RunFolder(root / finished)
    harm_label(root / finished, int(np.flatnonzero(run.labels["given"] == run.labels["true"])[0]))
    assert "have changed since it was trained" in texts(page(run=finished, part="harmed"))
    at = page(run=finished, part="changes")
    assert not at.error
    assert len(frame(at)) > 1


def test_a_fork_shows_the_flips_before_it(root, finished):
    runner = Runner.fork(root / finished, 5, root / "fork", k=1)
    runner.run()
    assert runner.status.state == "done", runner.status.error
    assert "fork" in runs().names()
    table = frame(page(run="fork", part="changes"))
    assert table["first_flip"].min() < 5
    shutil.rmtree(root / finished)
    assert frame(page(run="fork", part="changes"))["sample"].tolist() == table["sample"].tolist()
