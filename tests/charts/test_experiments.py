"""Charts of experiments draw what their tables say; they reach the disk, browser or not."""

import shutil

import numpy as np
import pandas as pd
import pytest

from engine.analysis.statistics import INTERVAL_COLUMNS, differences, means
from engine.charts import experiments as charts
from engine.experiments import figures, image_files

RATES = (0.2, 0.4)
METRICS = ["test_accuracy", "memorized"]


def runs(n_seeds: int = 5, **columns) -> pd.DataFrame:
    """Rows of made-up metrics, one per combination of the columns' values and the seeds."""
    rng = np.random.default_rng(0)
    keys = pd.MultiIndex.from_product(
        [*columns.values(), range(n_seeds)], names=[*columns, "seed"]
    ).to_frame(index=False)
    return keys.assign(**{m: rng.uniform(0.3, 0.7, len(keys)) for m in METRICS})


def curves(n_seeds: int = 5) -> pd.DataFrame:
    frame = runs(n_seeds, method=["ce", "mixnn"], rate=RATES, epoch=range(4))
    return means(frame, ["method", "rate", "epoch"], METRICS)


def gains() -> pd.DataFrame:
    """Two clear differences and one that is not."""
    rows = [("a", 0.2, 0.1, 0.3, True), ("b", 0.0, -0.1, 0.1, False), ("c", -0.2, -0.3, -0.1, True)]
    frame = pd.DataFrame(rows, columns=["variant", "mean", "low", "high", "clear"])
    return frame.assign(n=5, std=0.1, metric="test_accuracy")


def lines(fig, name: str) -> list:
    """Traces of this name with data, panel by panel."""
    return [t for t in fig.data if t.name == name and t.x is not None and t.x[0] is not None]


def xaxis(trace) -> str:
    return trace.xaxis or "x"


def test_lines_are_means_and_bands_their_intervals():
    table = curves()
    fig = charts.mean_curves(table, metrics=METRICS, color="method", facet="rate", row="metric")
    found = lines(fig, "MixNN")
    filled = [t for t in fig.data if t.fill == "toself" and t.legendgroup == "MixNN"]
    assert len(found) == len(filled) == 4  # two metrics, two rates
    panels = [(metric, rate) for metric in METRICS for rate in RATES]
    for line, band, (metric, rate) in zip(found, filled, panels, strict=True):
        rows = table[table["metric"] == metric]
        rows = rows[(rows["method"] == "mixnn") & (rows["rate"] == rate)]
        assert np.array_equal(line.x, rows["epoch"])
        assert np.array_equal(line.y, rows["mean"])
        assert np.array_equal(band.y, [*rows["high"], *rows["low"][::-1]])
        first = rows.iloc[0]
        assert f"{100 * first['low']:.1f}, {100 * first['high']:.1f}" in line.text[0]
        assert "n = 5" in line.text[0]
    assert len({xaxis(t) for t in found}) == 4
    assert sum(bool(t.showlegend) for t in found) == 1


def test_lines_differ_by_more_than_color():
    fig = charts.mean_curves(curves(), metrics=METRICS[:1], color="method", facet="rate")
    ce, ours = lines(fig, "cross-entropy")[0], lines(fig, "MixNN")[0]
    assert ce.line.color != ours.line.color
    assert ce.line.dash != ours.line.dash
    assert ce.marker.symbol != ours.marker.symbol
    table = curves().rename(columns={"rate": "labels"}).replace({0.2: "clean", 0.4: "wrong"})
    fig = charts.mean_curves(table, metrics=METRICS[:1], color="method", dash="labels")
    right, wrong = lines(fig, "MixNN, label right")[0], lines(fig, "MixNN, label wrong")[0]
    assert right.line.color == wrong.line.color
    assert right.line.dash != wrong.line.dash


def test_a_method_has_the_same_style_in_all_figures():
    table = curves()
    both = charts.mean_curves(table, metrics=METRICS[:1], color="method")
    alone = charts.mean_curves(table[table["method"] == "ce"], metrics=METRICS[:1], color="method")
    a, b = lines(both, "cross-entropy")[0], lines(alone, "cross-entropy")[0]
    assert (a.line, a.marker.symbol) == (b.line, b.marker.symbol)


def test_one_seed_has_lines_and_dots_without_intervals():
    fig = charts.mean_curves(curves(1), metrics=METRICS[:1], color="method", facet="rate")
    assert len(lines(fig, "MixNN")) == 2
    assert not [t for t in fig.data if t.fill]
    assert "One seed" in fig.layout.title.text
    one = gains().assign(n=1, low=np.nan, high=np.nan, clear=False)
    fig = charts.intervals(one, metric="test_accuracy", category="variant", zero="x")
    (dots,) = fig.data
    assert np.isnan(dots.error_x.array).all()
    assert set(dots.marker.color) == {"white"}


def test_a_table_without_rows_gives_an_empty_picture():
    none = charts.mean_curves(curves().iloc[:0], metrics=METRICS, color="method", facet="rate")
    assert none.layout.annotations[-1].text == "no value"
    none = charts.intervals(gains().iloc[:0], metric="test_accuracy", category="variant", zero="x")
    assert "no run" in none.layout.title.text


def test_a_panel_without_values_is_marked_and_keeps_its_axes():
    table = curves()
    table.loc[(table["rate"] == 0.2) & (table["metric"] == "memorized"), INTERVAL_COLUMNS[1:]] = (
        np.nan
    )
    fig = charts.mean_curves(table, metrics=METRICS, color="method", facet="rate", row="metric")
    (note,) = [a for a in fig.layout.annotations if a.text == "no value"]
    assert note.xref == "x3 domain"
    assert "x3" in {xaxis(t) for t in fig.data}


def test_differences_are_filled_where_their_interval_excludes_0():
    fig = charts.intervals(gains(), metric="test_accuracy", category="variant", zero="MixNN")
    (dots,) = fig.data
    assert dots.x.tolist() == [20, 0, -20]
    assert np.allclose(dots.error_x.array, 10)
    assert np.allclose(dots.error_x.arrayminus, 10)
    assert [c == "white" for c in dots.marker.color] == [False, True, False]
    assert [s.x0 for s in fig.layout.shapes] == [0]
    assert list(dots.text) == ["+20.0", "0.0", "−20.0"]
    assert "+20.0 points [+10.0, +30.0], n = 5" in dots.customdata[0]
    assert "MixNN (percentage points)" in fig.layout.xaxis.title.text


def test_means_are_in_percent_sorted_and_without_a_line_at_0():
    table = means(runs(method=["ce", "elr", "mixnn"], rate=RATES), ["method", "rate"], METRICS)
    fig = charts.intervals(
        table, metric="test_accuracy", category="method", facet="rate", sort=True
    )
    names = list(fig.layout.yaxis.ticktext)
    order = table[table["metric"] == "test_accuracy"].groupby("method")["mean"].mean()
    words = [charts.value_words("method", m) for m in order.sort_values(ascending=False).index]
    assert names == words
    assert not fig.layout.shapes
    for dots, rate in zip(fig.data, RATES, strict=True):
        rows = table[(table["metric"] == "test_accuracy") & (table["rate"] == rate)]
        drawn = {names[int(y)]: x for x, y in zip(dots.x, dots.y, strict=True)}
        means_of = zip(rows["method"], rows["mean"], strict=True)
        assert drawn == {charts.value_words("method", m): mean for m, mean in means_of}
        assert np.allclose(dots.error_x.array, rows["high"] - rows["mean"])
    assert fig.layout.xaxis.range == fig.layout.xaxis2.range
    assert "white" not in {c for dots in fig.data for c in dots.marker.color}


def test_panels_that_share_no_scale_have_their_own():
    table = means(runs(method=["ce", "mixnn"], rate=RATES), ["method", "rate"], METRICS)
    table.loc[table["rate"] == 0.4, ["mean", "low", "high"]] -= 0.2
    fig = charts.intervals(
        table, metric="test_accuracy", category="method", facet="rate", shared=False
    )
    assert fig.layout.xaxis.range != fig.layout.xaxis2.range


@pytest.fixture(scope="module")
def grid() -> dict[str, pd.DataFrame]:
    """The tables of the experiment `full`, preset K 5 and alpha 0.8."""
    frame = runs(rate=RATES, k=[1, 5, 20], alpha=[0.0, 0.8]).assign(label_accuracy=0.5)
    preset = frame[(frame["k"] == 5) & (frame["alpha"] == 0.8)].drop(columns=["k", "alpha"])
    keys = ["rate", "k", "alpha"]
    against = differences(frame, preset, keys, METRICS)
    return {"cells": means(frame, keys, METRICS), "against_preset": against}


def test_sensitivity_goes_through_the_preset_with_knobs_evenly_apart(grid):
    cells = grid["cells"]
    fig = charts.sensitivity(
        cells, ["k", "alpha"], metric="test_accuracy", preset={"k": 5, "alpha": 0.8}
    )
    assert list(fig.layout.xaxis.ticktext) == ["1", "5", "20"]
    assert list(fig.layout.xaxis2.ticktext) == ["0", "0.8"]
    by_k, by_alpha = lines(fig, "noise rate 0.4")
    for line, axis, fixed in ((by_k, "k", "alpha == 0.8"), (by_alpha, "alpha", "k == 5")):
        rows = cells.query(f"rate == 0.4 and metric == 'test_accuracy' and {fixed}")
        rows = rows.sort_values(axis)
        assert np.array_equal(line.y, rows["mean"])
        assert np.allclose(line.error_y.array, rows["high"] - rows["mean"])
        assert np.allclose(np.diff(line.x), 1)
    assert sorted((s.x0 + s.x1) / 2 for s in fig.layout.shapes) == [1, 1]  # 5 of K, 0.8 of alpha


def test_the_preset_is_read_off_the_table_and_a_whole_grid_gets_heat_maps(grid):
    assert figures._preset(grid["against_preset"]) == {"k": 5, "alpha": 0.8}
    drawn = figures.FIGURES["full"](grid)
    assert {"grid-0.2", "grid-0.4"} < set(drawn)
    cross = {n: t[(t["k"] == 5) | (t["alpha"] == 0.8)] for n, t in grid.items()}
    assert not [name for name in figures.FIGURES["full"](cross) if name.startswith("grid")]
    variants = set(
        figures._one_setting_off(grid["against_preset"], {"k": 5, "alpha": 0.8})["variant"]
    )
    assert variants == {"K 1", "K 20", "alpha 0"}


def test_maps_hold_each_point_in_the_color_of_its_class():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "method": np.repeat(["ce", "mixnn"], 40),
            "epoch": np.tile([0, 9], 40),
            "x": rng.normal(size=80),
            "y": rng.normal(size=80),
            "true": rng.integers(3, size=80),
            "wrong": rng.random(80) < 0.4,
        }
    )
    fig = charts.embedding_maps(frame)
    drawn = [t for t in fig.data if len(t.x) > 1]
    assert sum(len(t.x) for t in drawn) == 80
    assert len({xaxis(t) for t in drawn}) == 4
    for trace in drawn:
        own = frame.set_index("x").loc[list(trace.x)]
        assert own["wrong"].nunique() == 1
        assert (trace.marker.symbol == "x") == own["wrong"].iloc[0]
        assert own.groupby("true")["y"].count().to_dict() == {
            c: (np.array(trace.marker.color) == charts.class_color(c)).sum()
            for c in own["true"].unique()
        }


def test_a_scatter_has_a_mark_a_run():
    frame = pd.DataFrame(
        {"rate": [0.2, 0.2, 0.4], "bimodal_share": [0.1, 0.5, 0.9], "gain": [0.01, np.nan, 0.03]}
    )
    fig = charts.run_scatter(frame, x="bimodal_share", y="gain", color="rate", zero="cross-entropy")
    assert [(t.x[0], t.y[0]) for t in fig.data] == [(0.1, 1.0), (0.9, 3.0)]


def test_every_experiment_has_its_figures():
    from engine.experiments.registry import EXPERIMENTS

    assert set(EXPERIMENTS) == set(figures.FIGURES)


@pytest.mark.slow
def test_figures_are_saved_as_pictures_by_one_browser(tmp_path):
    if not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("no Chrome or Chromium")
    pytest.importorskip("kaleido")
    from engine.data.images import open_image

    fig = charts.intervals(gains(), metric="test_accuracy", category="variant", zero="MixNN")
    paths, note = image_files.save({"gain": fig, "again": fig}, tmp_path / "new", "made")
    assert [p.name for p in paths] == ["made-gain.png", "made-again.png"]
    assert note == ""
    with open_image(paths[0]) as picture:
        assert picture.size == (1500, round(1.5 * fig.layout.height))
        assert picture.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    assert paths[0].stat().st_size < 150_000


def test_without_a_browser_figures_are_saved_as_pages(tmp_path, monkeypatch):
    def none(_):
        raise RuntimeError("no browser\nat all")

    monkeypatch.setattr(image_files, "_render", none)
    fig = charts.intervals(gains(), metric="test_accuracy", category="variant")
    paths, note = image_files.save({"gain": fig}, tmp_path, "made")
    assert [p.name for p in paths] == ["made-gain.html"]
    assert "no browser" in note
    assert "at all" not in note
    assert {p.name for p in tmp_path.iterdir()} == {"made-gain.html", "plotly.min.js"}
