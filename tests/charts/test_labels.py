"""Verdicts and flips of labels against counting by hand, and the charts made of them."""

import shutil

import numpy as np
import pandas as pd
import pytest
from plotly.colors import sample_colorscale
from scipy import stats

from engine.analysis import label_changes
from engine.analysis.label_changes import LabelFlips
from engine.analysis.label_outcomes import LabelOutcome, outcomes
from engine.charts import compare, curves, labels, theme
from engine.runs.folder import RunFolder
from engine.runs.runner import Runner
from tests.conftest import blobs, quick
from tests.records import keep_epochs

CLASSES = ["cat", "dog", "eel"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    """A run whose labels flip back and forth: alpha 0 takes the network's word at once."""
    folder = tmp_path_factory.mktemp("runs") / "restless"
    config = quick(
        epochs=8, alpha=0.0, rate=0.6, learning_rate=0.6, warmup=0, correction_start=0, seed=3
    )
    runner = Runner.new(config, folder, data=blobs())
    runner.run()
    assert runner.status.state == "done", runner.status.error
    return RunFolder(folder)


def by_hand(run: RunFolder) -> list[tuple[int, int, int, int]]:
    """(epoch, sample, before, after) of every flip, one label at a time."""
    before, found = run.labels["given"].tolist(), []
    for record, soft in zip(run.epochs, run.array("soft"), strict=True):
        for sample, row in enumerate(soft):
            if (after := int(row.argmax())) != before[sample]:
                found.append((record["epoch"], sample, before[sample], after))
                before[sample] = after
    return found


def as_list(flips: LabelFlips) -> list[tuple[int, ...]]:
    columns = (flips.epoch, flips.sample, flips.before, flips.after)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_flips_are_those_found_label_by_label(run):
    expected = by_hand(run)
    assert len(expected) > 20
    assert as_list(label_changes.label_flips(run)) == expected
    for epoch in range(8):
        seen = [flip for flip in expected if flip[0] <= epoch]
        assert as_list(label_changes.label_flips(run).until(epoch)) == seen


def test_first_and_last_flip_and_their_number(run):
    flips = label_changes.label_flips(run)
    n = len(run.labels["given"])
    first, last, counts = flips.per_sample(n)
    assert counts.max() > 1
    for sample in range(n):
        epochs = [epoch for epoch, s, *_ in by_hand(run) if s == sample]
        assert counts[sample] == len(epochs)
        assert (first[sample], last[sample]) == ((epochs[0], epochs[-1]) if epochs else (-1, -1))


def test_only_new_epochs_are_read(run, tmp_path, monkeypatch):

    folder = tmp_path / "grows"
    shutil.copytree(run.folder, folder)
    every = (folder / "epochs.jsonl").read_text()
    keep_epochs(folder, 5)
    grows = RunFolder(folder)
    assert as_list(label_changes.label_flips(grows)) == as_list(
        label_changes.label_flips(run).until(4)
    )
    (folder / "epochs.jsonl").write_text(every)
    read, expected = [], by_hand(run)
    load = np.load
    monkeypatch.setattr(np, "load", lambda *args, **kw: read.append(args) or load(*args, **kw))
    assert as_list(label_changes.label_flips(grows)) == expected
    assert len(read) == 3
    read.clear()
    label_changes.label_flips(grows)
    assert not read


def test_a_fork_goes_on_with_the_flips_of_its_parent(run, tmp_path):
    child = Runner.fork(run.folder, 4, tmp_path / "child", data=blobs())
    child.run()
    assert child.status.state == "done", child.status.error
    flips = label_changes.label_flips(RunFolder(tmp_path / "child"))
    before = [flip for flip in by_hand(run) if flip[0] <= 4]
    assert as_list(flips)[: len(before)] == before
    labels = np.array(run.labels["given"])
    for _, sample, was, now in as_list(flips):
        assert labels[sample] == was
        labels[sample] = now
    assert labels.tolist() == RunFolder(tmp_path / "child").array("soft")[-1].argmax(1).tolist()


def test_the_summary_counts_the_outcomes():
    def sentence(truth_known: bool = True, **counts: int) -> str:
        found = {outcome: counts.get(outcome.word, 0) for outcome in LabelOutcome}
        return label_changes.outcome_summary(found, 9, truth_known=truth_known)

    text = sentence(clean=900, missed=1, corrected=514, harmed=3, changed=2)
    assert "**corrected 514 of 517 wrong labels**" in text
    assert "**harmed 3 of 903 right labels**" in text
    assert "missed 1 and changed 2 to another wrong one" in text
    assert "**changed 7 of 10 labels**" in sentence(False, changed=7, kept=3)
    assert "true labels are not known" in sentence(False, changed=10)
    assert "No label was wrong" in sentence(clean=10, harmed=1)


def test_the_flow_holds_each_changed_label_once_in_the_color_of_its_outcome():
    rng = np.random.default_rng(0)
    given, corrected, true = rng.integers(3, size=(3, 400))
    (trace,) = labels.label_flow(given, corrected, true, CLASSES).data
    names = list(trace.node.label)
    for kind, test in (
        (LabelOutcome.CORRECTED, (given != true) & (corrected == true)),
        (LabelOutcome.HARMED, (given == true) & (corrected != true)),
        (LabelOutcome.CHANGED, (given != true) & (corrected != true) & (given != corrected)),
    ):
        words = labels.outcome_meaning(kind, True)
        found = {}
        for i, text in enumerate(trace.link.customdata):
            if text == words:
                pair = names[trace.link.source[i]], names[trace.link.target[i]]
                found[pair] = trace.link.value[i]
        expected = pd.Series(
            list(
                zip(np.array(CLASSES)[given[test]], np.array(CLASSES)[corrected[test]], strict=True)
            )
        ).value_counts()
        assert found == expected.to_dict()
    (whole,) = labels.label_flow(given, corrected, true, CLASSES, kept=True).data
    assert sum(whole.link.value) == 400


def test_a_flow_of_many_classes_keeps_the_busiest_and_loses_no_label():
    rng = np.random.default_rng(0)
    given = rng.integers(40, size=3000) ** 2 // 40
    corrected = rng.integers(40, size=3000)
    (trace,) = labels.label_flow(given, corrected, None, [f"c{i}" for i in range(40)]).data
    names = set(trace.node.label)
    assert len(names) == labels.MAX_FLOW_CLASSES
    assert "29 other classes" in names
    assert sum(trace.link.value) == (given != corrected).sum()


def test_nothing_flows_where_nothing_changed():
    same = np.arange(3)
    assert labels.label_flow(same, same, same, CLASSES).data[0].link.value == ()


def test_bars_of_flips_count_each_epoch_and_outcome(run):
    flips, true = label_changes.label_flips(run), run.labels["true"]
    fig = labels.flips_over_time(flips, true, (0, 7), begins=2)
    bars = {trace.name[2:]: np.array(trace.y) for trace in fig.data}
    assert set(bars) == {"corrected", "harmed", "changed"}
    for epoch in range(8):
        here = [flip for flip in by_hand(run) if flip[0] == epoch]
        assert bars["corrected"][epoch] == sum(true[s] == after for _, s, _, after in here)
        assert bars["harmed"][epoch] == sum(true[s] == before for _, s, before, _ in here)
    assert sum(bar.sum() for bar in bars.values()) == len(by_hand(run))
    (unknown,) = labels.flips_over_time(flips, None, (0, 7)).data
    assert sum(unknown.y) == len(by_hand(run))


def test_cells_show_percent_and_none_for_many_classes():
    values = np.array([[0.5, 0.5, 0], [0.004, 0.996, 0], [0, 0, 1]])
    heat, *texts = labels.class_matrix(values, CLASSES, rows="true", columns="given").data
    assert heat.z.tolist() == values.tolist()
    cells = {
        (y, x): t for trace in texts for x, y, t in zip(trace.x, trace.y, trace.text, strict=True)
    }
    a, b, c = CLASSES
    assert cells == {(a, a): "50", (a, b): "50", (b, b): "100", (c, c): "100"}
    many = labels.class_matrix(np.eye(30), [str(i) for i in range(30)], rows="a", columns="b").data
    assert [trace.type for trace in many] == ["heatmap"]


@pytest.mark.parametrize("value", np.linspace(0, 1, 21))
def test_numbers_in_cells_have_a_contrast_of_4_5(value):
    (color,) = sample_colorscale(theme.SEQUENTIAL, [value])
    linear = [((v + 0.055) / 1.055) ** 2.4 if v > 0.04045 else v / 12.92
              for v in np.array(color[4:-1].split(","), float) / 255]  # fmt: skip
    luminance = np.dot([0.2126, 0.7152, 0.0722], linear)
    ink = 1.0 if labels.is_dark(color) else 0.0
    high, low = max(ink, luminance), min(ink, luminance)
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_losses_are_split_by_what_the_labels_are_now():
    given, corrected, true = np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1]), np.array([0, 0, 0, 0])
    codes = outcomes(given, true, corrected)
    loss = np.array([0.1, 0.6, 5.0, np.nan])
    shares = compare.outcome_shares(loss, codes, np.array([0, 0.5, 1.0]))
    assert {kind.word: share.tolist() for kind, share in shares.items()} == {
        "clean": [0.25, 0],
        "corrected": [0, 0.25],
        "missed": [0, 0.25],
        "harmed": [0, 0.25],
    }
    fig = compare.loss_histogram(loss, codes, np.array([0, 0.5, 1.0]))
    assert [bar.name for bar in fig.data] == ["clean", "corrected", "missed", "harmed"]


def test_a_sweep_has_a_map_per_rate_and_words_where_no_run_is():
    cells = pd.DataFrame(
        [(1, 0.5, 0.2, 2, 0.9, 0.01), (5, 0.8, 0.2, 1, 0.8, np.nan), (5, 0.8, 0.4, 1, 0.7, np.nan)],
        columns=["k", "alpha", "rate", "n", "mean", "std"],
    )
    fig = compare.sweep_heatmap(cells, "Test accuracy")
    heats = [trace for trace in fig.data if trace.type == "heatmap"]
    holes = [trace for trace in fig.data if trace.type == "scatter"]
    assert len(heats) == 2
    assert np.array_equal(heats[0].z, [[0.9, np.nan], [np.nan, 0.8]], equal_nan=True)
    assert heats[0].customdata[0][0] == "90.0 % ± 1.0 (standard deviation)<br>mean of 2 seeds"
    assert heats[0].customdata[1][1] == "80.0 %<br>one seed"
    assert [len(hole.x) for hole in holes] == [2, 3]
    assert set(holes[1].text) == {"no run"}
    alone = compare.sweep_heatmap(cells, "Test accuracy", rate=0.4)
    (heat,) = [trace for trace in alone.data if trace.type == "heatmap"]
    assert np.array_equal(heat.z, heats[1].z, equal_nan=True)
    assert (alone.layout.coloraxis.cmin, alone.layout.coloraxis.cmax) == (0.7, 0.9)


@pytest.mark.parametrize(
    ("varying", "axes"),
    [(("k", "rate"), ("K", "noise rate")), (("alpha",), ("alpha", "K")), (("k",), ("K", "alpha"))],
)
def test_a_sweep_shows_the_axes_that_vary(varying, axes):
    cells = pd.DataFrame({"k": [1, 1], "alpha": [0.9, 0.9], "rate": [0.4, 0.4]}).astype(float)
    for axis in varying:
        cells.loc[1, axis] = 0.1
    fig = compare.sweep_heatmap(cells.assign(n=1, mean=0.5, std=np.nan), "x")
    assert (fig.layout.xaxis.title.text, fig.layout.yaxis.title.text) == axes


def test_curves_leave_out_what_is_not_there_and_join_a_fork_to_its_parent():
    records = [{"epoch": e, "metrics": {"memorized": e / 10 if e != 2 else None}} for e in range(5)]
    fig = curves.metric_curves([curves.Curve("A", records[3:], records[:3])], "memorized", epoch=4)
    before, line = fig.data
    assert (before.x, before.y) == ((0, 1, 3), (0.0, 0.1, 0.3))
    assert (line.x, line.y) == ((3, 4), (0.3, 0.4))
    assert not curves.metric_curves([curves.Curve("A", records)], "val_accuracy").data[0].x
    frame = curves.metric_table([curves.Curve("A", records)], ["memorized"])
    assert frame["memorized"].isna().tolist() == [False, False, True, False, False]


def test_seeds_are_a_mean_in_a_band_and_each_on_wish():
    values = {0: [0.2, 0.9], 1: [0.3, 0.8], 2: [0.1, 0.85]}
    seeds = {
        seed: [{"epoch": e, "metrics": {"test_accuracy": v}} for e, v in enumerate(of_seed)]
        for seed, of_seed in values.items()
    }
    run = curves.Curve("A MixNN", seeds[0], seeds=seeds)
    band, mean = curves.metric_curves([run], "test_accuracy").data
    assert list(mean.y) == pytest.approx([0.2, 0.85])
    half = stats.t.ppf(0.975, 2) * np.std(list(values.values()), axis=0, ddof=1) / np.sqrt(3)
    ends = [0.2 + half[0], 0.85 + half[1], 0.85 - half[1], max(0.2 - half[0], 0)]
    assert list(band.y) == pytest.approx(ends)
    each = curves.metric_curves([run], "test_accuracy", each_seed=True).data
    assert [tuple(line.y) for line in each[1:4]] == [tuple(v) for v in values.values()]
    assert curves.metric_table([run])["seed"].tolist() == [0, 0, 1, 1, 2, 2]


def test_the_axis_holds_the_end_of_the_curves_and_their_letters_stay_apart():
    line = lambda name, end: curves.Curve(  # noqa: E731
        name,
        [{"epoch": e, "metrics": {"memorized": v}} for e, v in enumerate([0.1, 0.5, end, end])],
    )
    fig = curves.metric_curves([line("A x", 0.97), line("B x", 0.972)], "memorized")
    low, high = fig.layout.yaxis.range
    assert 0.4 < low < 0.97 < high <= 1.02
    first, second = fig.layout.annotations
    assert [first.text, second.text] == ["<b>A</b>", "<b>B</b>"]
    assert second.y - first.y >= 0.079 * (high - low)
    assert fig.layout.legend.y < 0, "below the axis, not under the tool bar"
