"""Statistics against other libraries; measures of the experiments on data with known answers; and
every experiment from its command to its files, on tiny settings.
"""

import json
import math
from unittest.mock import create_autospec

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score

from engine.__main__ import main
from engine.analysis.label_issues import label_issues
from engine.analysis.statistics import (
    against_best,
    all_pairs,
    describe_difference,
    differences,
    format_mean,
    holm_sidak,
    interval,
    means,
)
from engine.embedding import projection
from engine.errors import ConfigError
from engine.experiments import accuracy, bimodality, detection, image_files, representation
from engine.experiments.base import RATES, Results, collect, pick, plan
from engine.experiments.figures import FIGURES
from engine.experiments.registry import EXPERIMENTS, answer, configs_of, load
from engine.runs.folder import RunFolder
from engine.runs.naming import run_name
from engine.runs.runner import Runner
from tests.experiments.conftest import tiny_cifar

# --- statistics


def test_interval_is_scipys_t_interval():
    values = [0.91, 0.95, 0.93, 0.97, 0.90]
    found = interval(values)
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    assert (found["low"], found["high"]) == pytest.approx((low, high))
    assert (found["n"], found["mean"]) == (5, pytest.approx(np.mean(values)))
    assert found["std"] == pytest.approx(np.std(values, ddof=1))


def test_interval_of_few_values():
    assert interval([0.5, np.nan])["n"] == 1
    assert interval([0.5])["mean"] == 0.5
    assert math.isnan(interval([0.5])["low"])
    assert interval([])["n"] == 0
    assert math.isnan(interval([])["mean"])


def runs_of(method: str, values: dict[tuple[float, int], float]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"method": method, "rate": r, "seed": s, "a": v} for (r, s), v in values.items()]
    )


def test_differences_pair_runs_by_seed():
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 1, 6)  # difficulty of a seed, the same for both
    own = {(0.4, s): hard[s] + 0.3 + 0.01 * s for s in range(6)}
    other = {(0.4, s): hard[s] for s in range(1, 6)}  # seed 0 is missing
    found = differences(
        runs_of("x", own), runs_of("y", other)[["rate", "seed", "a"]], ["rate"], ["a"]
    )
    expected = stats.ttest_rel([own[0.4, s] for s in range(1, 6)], list(other.values()))
    row = found.iloc[0]
    assert row["n"] == 5
    assert row["mean"] == pytest.approx(0.33)
    assert tuple(expected.confidence_interval()) == pytest.approx((row["low"], row["high"]))
    assert row["clear"]


def test_a_difference_that_is_not_significant_is_no_claim():
    a = runs_of("x", {(0.4, 0): 0.9, (0.4, 1): 0.5})
    b = runs_of("y", {(0.4, 0): 0.5, (0.4, 1): 0.8})[["rate", "seed", "a"]]
    row = differences(a, b, ["rate"], ["a"]).iloc[0]
    assert not row["clear"]
    assert describe_difference(row) == "not significantly different"
    single = differences(a[:1], b[:1], ["rate"], ["a"]).iloc[0]
    assert not single["clear"]


def test_differences_against_one_row_for_all_groups():
    many = pd.concat(
        [runs_of("x", {(0.4, s): s + k for s in range(3)}).assign(k=k) for k in (1, 2)]
    )
    one = runs_of("y", {(0.4, s): s for s in range(3)})[["rate", "seed", "a"]]
    found = differences(many, one, ["rate", "k"], ["a"])
    assert dict(zip(found["k"], found["mean"], strict=True)) == {1: 1, 2: 2}


def table_of(values: np.ndarray) -> pd.DataFrame:
    """Rows of a table (n seeds, k values): columns seed, k and a."""
    n, k = values.shape
    seed, value = np.divmod(np.arange(n * k), k)
    return pd.DataFrame({"seed": seed, "k": value, "a": values.ravel()})


def against(values: np.ndarray) -> pd.DataFrame:
    """`differences` of the columns 1, 2, ... of a table (n, k) to its column 0."""
    rows = table_of(values)
    reference = rows[rows["k"] == 0][["seed", "a"]]
    return differences(rows[rows["k"] > 0], reference, ["k"], ["a"])


def test_many_against_one_reference_are_paired_t_tests_corrected_by_holm():
    rng = np.random.default_rng(3)
    values = rng.normal(0, 1, (6, 5)) + 20 * rng.normal(0, 1, (6, 1))  # seeds differ much
    values[:, 1] += 8
    found = against(values)
    raw = [stats.ttest_rel(values[:, k], values[:, 0]).pvalue for k in range(1, 5)]
    expected, bound = np.empty(4), 0.0
    for step, k in enumerate(np.argsort(raw)):
        bound = max(bound, 1 - (1 - raw[k]) ** (4 - step))
        expected[k] = bound
    assert found["p"].to_numpy() == pytest.approx(expected)
    assert found["clear"].tolist() == [True, False, False, False]


def test_the_best_against_all_is_corrected_for_all_pairs():
    rng = np.random.default_rng(5)
    values = rng.normal(0, 1, (5, 4)) + 9 * rng.normal(0, 1, (5, 1)) + [0, 9, 7, -2]
    found = against_best(table_of(values), "k", "a").set_index("k")
    assert found.index.tolist() == [0, 2, 3]  # 1 is the best
    for k in found.index:
        raw = stats.ttest_rel(values[:, k], values[:, 1]).pvalue
        assert found["p"][k] == pytest.approx(1 - (1 - raw) ** 6)


@pytest.mark.parametrize("spread", [1.0, 6.0])
def test_noise_alone_is_called_different_in_one_of_twenty_families(spread):
    """Also if one value varies much more than the others."""
    rng = np.random.default_rng(0)
    scatter = [1] * 6 + [spread]
    claims = [against(rng.normal(0, scatter, (5, 7)))["clear"].any() for _ in range(60)]
    assert sum(claims) <= 8  # 3 are expected; with intervals side by side 12


def test_families_are_apart_by_reference_and_metric():
    rng = np.random.default_rng(1)
    parts = [table_of(rng.normal(0, 1, (5, 4))).assign(rate=rate) for rate in (0.2, 0.4)]
    rows = pd.concat(parts).assign(b=lambda t: -t["a"])
    reference = rows[rows["k"] == 0][["rate", "seed", "a", "b"]]
    found = differences(rows[rows["k"] > 0], reference, ["rate", "k"], ["a", "b"])
    for (rate, metric), family in found.groupby(["rate", "metric"]):
        alone = parts[int(rate > 0.3)]
        own = differences(
            alone[alone["k"] > 0], alone[alone["k"] == 0][["seed", "a"]], ["k"], ["a"]
        )
        assert family["p"].tolist() == pytest.approx(own["p"].tolist()), (rate, metric)


def test_the_reference_itself_is_no_comparison():
    values = np.random.default_rng(1).normal(0, 1, (5, 3))
    rows = table_of(values)
    found = differences(rows, rows[rows["k"] == 0][["seed", "a"]], ["k"], ["a"])
    assert np.isnan(found["p"][0])
    assert not found["clear"][0]
    assert found["p"][1:].tolist() == pytest.approx(against(values)["p"].tolist())


def test_one_seed_is_no_test():
    values = np.random.default_rng(2).normal(0, 1, (1, 3))
    assert against(values)["p"].isna().all()
    assert not against(values)["clear"].any()
    assert not against_best(table_of(values), "k", "a")["clear"].any()


def test_holm_ignores_missing_p_values():
    found = holm_sidak(pd.Series([0.04, np.nan, 0.01], index=[5, 6, 7]))
    assert found.to_dict() == pytest.approx({5: 0.04, 6: np.nan, 7: 1 - 0.99**2}, nan_ok=True)


def test_means_and_words():
    frame = runs_of("x", {(0.2, 0): 0.97, (0.2, 1): 0.98, (0.2, 2): 0.99})
    row = means(frame, ["rate"], ["a"]).iloc[0]
    assert (row["rate"], row["metric"], row["n"]) == (0.2, "a", 3)
    assert format_mean(row) == "98.0 % [95.5, 100.5], n = 3"
    assert format_mean({"n": 3, "mean": 0.021, "low": 0.01, "high": 0.032}, sign=True) == (
        "+2.1 points [+1.0, +3.2], n = 3"
    )
    assert format_mean(interval([0.5])) == "50.0 %, n = 1"


# --- what is measured


def test_all_pairs_are_those_of_games_and_howell():
    values = {"a": [0.9, 0.92, 0.91, 0.9], "b": [0.7, 0.6, 0.8], "c": [0.9, 0.95, 0.88, 0.9, 0.91]}
    rows = [{"run": key, "x": x} for key, xs in values.items() for x in xs]
    frame = pd.DataFrame([*rows, {"run": "one seed", "x": 0.5}])
    found = all_pairs(frame, "run", "x").set_index(["first", "second"])
    assert list(found.index) == [("a", "b"), ("a", "c"), ("b", "c")]
    for (first, second), row in found.iterrows():
        a, b = np.array(values[first]), np.array(values[second])
        parts = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
        freedom = sum(parts) ** 2 / sum(
            p**2 / (len(x) - 1) for p, x in zip(parts, (a, b), strict=True)
        )
        error = np.sqrt(sum(parts) / 2)
        difference = b.mean() - a.mean()
        p = stats.studentized_range.sf(abs(difference) / error, 3, freedom)
        half = stats.studentized_range.ppf(0.95, 3, freedom) * error
        assert row["mean"] == pytest.approx(difference)
        assert row["p"] == pytest.approx(p, abs=1e-6)
        assert (row["low"], row["high"]) == pytest.approx(
            (difference - half, difference + half), abs=1e-4
        )
        assert row["clear"] == (p < 0.05)
    assert all_pairs(frame[frame["run"] == "a"], "run", "x").empty


def test_features_of_separate_classes_and_of_none():
    rng = np.random.default_rng(0)
    true = np.arange(300) % 3
    apart = np.eye(3)[true] * 10 + rng.normal(0, 0.1, (300, 3))
    found = representation.measure(apart, true)
    assert found["same_class_neighbors"].mean() == 1
    assert found["linear_probe"].mean() == 1
    assert found["silhouette"].mean() > 0.95
    nothing = representation.measure(rng.normal(0, 1, (300, 3)), true)
    assert nothing["same_class_neighbors"].mean() == pytest.approx(1 / 3, abs=0.06)
    assert nothing["linear_probe"].mean() == pytest.approx(1 / 3, abs=0.12)
    assert abs(nothing["silhouette"].mean()) < 0.05


def test_bimodal_losses_are_recognized():
    rng = np.random.default_rng(0)
    two = np.concatenate([rng.normal(0.2, 0.05, 600), rng.normal(0.8, 0.05, 400)]).clip(0, 1)
    one = rng.normal(0.5, 0.1, 1000)
    found, single = bimodality.measure(two), bimodality.measure(one)
    assert found["bimodal"] == 1
    assert found["bic_gain"] > 0.5
    assert single["bimodal"] == 0
    assert single["bic_gain"] < 0.02
    assert bimodality.measure(np.full(50, 0.3))["bimodal"] == 0


def test_rankings_are_scored():
    wrong = np.array([1, 0, 1, 0, 0, 0], bool)
    best = detection.detection_scores(np.array([6, 2, 5, 1, 0, 3.0]), wrong)
    assert best == {"average_precision": 1, "precision_at_wrong": 1, "auroc": 1}
    worse = detection.detection_scores(np.array([6, 5, 4, 1, 0, 3.0]), wrong)  # right, wrong, right
    assert worse["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert worse["precision_at_wrong"] == 0.5
    curve = detection.precision_at(np.array([6, 5, 4, 1, 0, 3.0]), wrong, np.array([0.5, 1.0]))
    assert curve == pytest.approx([1, 2 / 3])


# --- plans


def test_a_plan_takes_five_seeds_on_small_sets_and_three_on_cifar():
    assert plan().seeds == (0, 1, 2, 3, 4)
    assert plan(dataset="cifar10").seeds == (0, 1, 2)
    assert plan(seeds=[7]).seeds == (7,)
    assert plan("full").settings["network"] == "resnet18"
    with pytest.raises(ConfigError, match="'huge'.*quick, full"):
        plan("huge")


def test_the_quick_form_takes_10000_photographs_unless_told_otherwise():
    assert plan(dataset="cifar10").settings["limit"] == 10_000
    assert plan(dataset="cifar10", limit=500).settings["limit"] == 500
    assert plan(dataset="cifar10", limit=None).preset().limit is None
    assert plan("full").preset().limit is None
    assert plan().preset().limit is None  # all digits


def test_every_part_and_quirk_is_a_run_of_its_own():
    names = [
        (label, frozenset(map(run_name, own)), frozenset(map(run_name, against)))
        for (_, label), own, against in accuracy._variants(plan())
    ]
    assert len(names) == len(accuracy.PARTS) + len(accuracy.QUIRKS) - 1  # digits do not augment
    assert len({own for _, own, _ in names}) == len(names)
    assert all(own != against for _, own, against in names)


def test_experiments_share_runs():
    made = plan()
    names = {n: {run_name(c) for c in load(n).configs(made)} for n in EXPERIMENTS}
    assert names["baseline"] < names["mixnn-k1"]
    assert names["representation"] == names["detection"]
    assert names["representation"] < names["mixture"]
    assert names["representation"] < names["methods"] | names["full"]


def test_equal_rates_of_noise_kinds():
    """Each kind makes the same share of labels wrong."""
    from engine.noise.class_dependent import transition_matrix

    made = plan()
    kinds = accuracy._kinds(made)
    assert set(kinds) == {"symmetric", "pair", "instance", "margin", "asymmetric"}
    labels = accuracy.load_data(made.preset()).labels.numpy()
    for kind in ("symmetric", "pair", "asymmetric"):
        matrix = transition_matrix(kind, kinds[kind]["rate"], 10, dataset="digits")
        wrong = 1 - np.diag(matrix)[labels].mean()
        assert wrong == pytest.approx(accuracy.EQUAL_RATE, abs=1e-3), kind


def test_photographs_have_every_kind_of_noise_and_human_labels(cifar, monkeypatch):
    made = plan(dataset="cifar10")
    configs = load("noise-kinds").configs(made)
    kinds = {(c.noise, c.human_labels) if c.noise == "human" else c.noise for c in configs}
    assert kinds == {
        "symmetric", "pair", "instance", "margin", "asymmetric",
        ("human", "aggre"), ("human", "random1"), ("human", "worse"),
    }  # fmt: skip
    assert len(configs) == 8 * 3 * 3  # kinds, methods, seeds
    assert {c.method for c in configs} == {"ce", "mixnn", "mixnn-plus"}


def test_detection_takes_the_human_labels_that_the_plan_names(cifar):
    def sets(**settings):
        return {c.human_labels for c in load("detection").configs(plan(**settings))}

    assert sets(dataset="cifar10", noise="human") == {"aggre", "worse"}
    assert sets(dataset="cifar10", noise="human", human_labels="random1") == {"random1"}
    assert sets(dataset="cifar100", noise="human") == {"noisy"}
    assert {c.rate for c in load("detection").configs(plan(dataset="cifar10"))} == set(RATES)


def test_a_setting_that_the_experiment_varies_is_refused():
    with pytest.raises(ConfigError, match="rate = 0.33: the experiment baseline sets it itself"):
        configs_of("baseline", plan(rate="0.33"), ["rate"])
    assert len(configs_of("baseline", plan(epochs="7", rate="0.2"), ["epochs", "rate"])) == 25


def test_a_missing_library_is_named_before_anything_trains(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("engine.experiments.registry.find_spec", lambda name: None)
    folders = ["--out", str(tmp_path / "results"), "--runs", str(tmp_path / "runs")]
    assert main(["experiment", "detection", *folders]) == 2
    assert "detection needs cleanlab: pip install" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_unknown_names_are_refused(capsys):
    assert main(["experiment", "frobnicate"]) == 2
    assert "'frobnicate': allowed are baseline, mixnn-k1" in capsys.readouterr().err
    assert main(["experiment"]) == 0
    output = capsys.readouterr().out
    assert all(name in output for name in EXPERIMENTS)


# --- every experiment, from its command to its files

TINY = [
    "--limit", "100", "--epochs", "3", "--warmup", "1", "--correction-start", "1", "--seed", "0:1",
]  # fmt: skip


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """All experiments answered in one folder; few rates, values of K and alpha, kinds and parts."""
    root = tmp_path_factory.mktemp("experiments")
    few = pytest.MonkeyPatch()
    # UMAP compiles for long, and pictures need a browser: both have tests of their own
    few.setattr(projection, "umap", projection.pca)
    few.setattr(image_files, "_render", create_autospec(image_files._render, side_effect=OSError))
    for module in (accuracy, representation, bimodality, detection):
        few.setattr(module, "RATES", (0.4,))
    few.setattr(accuracy, "ABLATION_RATES", (0.4,))
    few.setattr(accuracy, "KS", (1, 5))
    few.setattr(accuracy, "ALPHAS", (0.0, 0.8))
    few.setattr(accuracy, "METHODS_COMPARED", ("ce", "elr", "mixnn"))
    few.setattr(accuracy, "KIND_METHODS", ("ce", "mixnn"))
    kinds = accuracy._kinds
    few.setattr(accuracy, "_kinds", lambda plan: dict(list(kinds(plan).items())[-2:]))
    for table in ("PARTS", "QUIRKS"):  # their settings are tested by `configs` alone
        kept = list(getattr(accuracy, table).items())[2:3]
        few.setattr(accuracy, table, dict(kept))
    few.setattr(detection, "FOLD_EPOCHS", 1)
    folders = ["--out", str(root / "results"), "--runs", str(root / "runs")]
    try:
        assert main(["experiment", "all", *folders, *TINY]) == 0
    finally:
        few.undo()
    return root / "results"


# --- human labels, on a tiny CIFAR-10

HUMAN = dict(
    dataset="cifar10", network="small", epochs=4, warmup=1, correction_start=3, batch_size=16
)


def trained(name: str, root, **settings) -> Results:
    """The runs of an experiment with two seeds, trained in this process."""
    made = plan(seeds=[0, 1], **HUMAN | settings)
    configs = load(name).configs(made)
    for config in configs:
        Runner.new(config, root / run_name(config)).run()
    return collect(made, configs, root)


@pytest.fixture(scope="module")
def detected(tmp_path_factory):
    """The finished runs of detection on human labels, and its findings."""
    root = tmp_path_factory.mktemp("human")
    tiny_cifar(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIXNN_DATA", str(root))
        patch.setattr(detection, "FOLD_EPOCHS", 1)
        results = trained("detection", root / "runs", noise="human", vote_from="neighbors")
        yield results, load("detection").evaluate(results)


def test_wrong_human_labels_are_ranked(detected):
    results, findings = detected
    assert len(results.runs) == 2 * 2  # sets of labels, seeds
    scores = findings.tables["scores"]
    assert scores["finder"].nunique() == 7
    assert (scores["n"] == 2).all()
    for labels, n_wrong in (("aggre", 4), ("worse", 16)):
        own = [run for run in results.runs.values() if run.config.human_labels == labels]
        wrong = own[0].labels["given"] != own[0].labels["true"]
        assert wrong.sum() == n_wrong
        by_hand = {
            detection.OURS: [1 - label_issues(run).quality for run in own],
            "MixNN, P(clean) before correction": [1 - run.array("clean")[2] for run in own],
            "MixNN, neighbors' labels before correction": [
                other_neighbors(run, 1) + other_neighbors(run, 2) for run in own
            ],
            "mean loss before correction": [run.array("loss")[:3].mean(0) for run in own],
            "loss after warm-up": [run.array("loss")[0] for run in own],
        }
        for finder, suspicions in by_hand.items():
            row = pick(scores, human_labels=labels, finder=finder, metric="average_precision")
            expected = np.mean([average_precision_score(wrong, s) for s in suspicions])
            assert row["mean"] == pytest.approx(expected), finder
        text = next(a for a in findings.answers if f"labels {labels} (" in a)
        assert f"({100 * n_wrong / 64:.1f} % of 64 wrong, k = {n_wrong})" in text


def test_one_seed_is_said_to_be_no_test(detected):
    results, both = detected
    assert "Better than MixNN, label quality" in both.answers[0]
    single = plan(seeds=[0], **results.plan.settings)
    configs = load("detection").configs(single)
    root = next(iter(results.runs.values())).folder.parent
    answers = load("detection").evaluate(collect(single, configs, root)).answers
    assert answers[0].endswith("With one seed no difference is tested.")
    assert "significant" not in " ".join(answers)


def other_neighbors(run: RunFolder, row: int) -> np.ndarray:
    """Share of the five nearest samples, by features of all, that were given another label."""
    features = run.array("panel_features")[row].astype(np.float64)
    distances = np.linalg.norm(features[:, None] - features, axis=2)
    np.fill_diagonal(distances, np.inf)
    given = run.labels["given"]
    nearest = given[np.argsort(distances, axis=1)[:, :5]]
    return (nearest != given[:, None]).mean(1)


def test_published_scores_stand_beside_with_their_gap(detected):
    findings = detected[1]
    scores, published = findings.tables["scores"], findings.tables["published"]
    assert len(published) == 2 * 3 * 3 * 2  # sets of labels, networks, measures, finders
    row = pick(published, human_labels="aggre", backbone="ResNet-18", finder=detection.OURS)
    ours = pick(scores, human_labels="aggre", finder=detection.OURS, metric=row["metric"])
    assert (row["metric"], row["published"]) == ("average_precision", 0.875)
    assert row["gap"] == pytest.approx(ours["mean"] - 0.875)
    assert "0.875 (ResNet-18)" in findings.answers[-2]
    assert f"{row['gap']:+.3f}" in findings.answers[-2]


def test_out_of_fold_probabilities_are_computed_once_and_again_if_damaged(detected, monkeypatch):
    results, findings = detected
    with monkeypatch.context() as patch:
        patch.setattr(detection, "cross_val_predict_proba", None)  # cannot be called
        again = load("detection").evaluate(results).tables["curves"]
    pd.testing.assert_frame_equal(again, findings.tables["curves"])
    run = next(iter(results.runs.values()))
    before, seconds = detection.out_of_fold(run)
    (file,) = run.folder.glob("out_of_fold*")
    file.write_bytes(file.read_bytes()[:200])
    after, new_seconds = detection.out_of_fold(run)
    np.testing.assert_array_equal(after, before)
    assert new_seconds != seconds


def test_files_of_a_plan_that_sets_the_noise_say_so(detected, tmp_path, monkeypatch):
    results, findings = detected
    monkeypatch.setattr("engine.experiments.image_files.save", lambda figures, *_: ([], None))
    configs = [run.config for run in results.runs.values()]
    root = next(iter(results.runs.values())).folder.parent
    answer("detection", results.plan, configs, root, tmp_path)
    summary = json.loads((tmp_path / "detection-cifar10-human.json").read_text())
    assert set(summary["tables"]) == {"scores", "against_mixnn", "curves", "published"}
    assert summary["varied"]["human_labels"] == ["aggre", "worse"]
    figures = FIGURES["detection"](findings.tables)
    assert "human labels worse" in str(figures["scores"].layout.annotations)


@pytest.mark.slow
def test_kinds_of_noise_on_photographs_are_told_apart(cifar, tmp_path):
    findings = load("noise-kinds").evaluate(trained("noise-kinds", tmp_path))
    actual = findings.tables["actual"].set_index("noise")["mean"]
    assert {"human aggre", "human random1", "human worse", "margin"} < set(actual.index)
    assert actual["human aggre"] == 4 / 64
    assert actual["human worse"] == 16 / 64
    assert (findings.tables["gain"]["n"] == 2).all()
    for method, sentence in zip(("mixnn", "mixnn-plus"), sorted(findings.answers), strict=True):
        assert sentence.startswith(f"{method} against ce, from least to most")
        assert sentence.count("human") == 3
    assert "human worse, 25 % wrong" in FIGURES["noise-kinds"](findings.tables)["final"].to_json()


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_writes_its_answer(answered, name):
    found = json.loads((answered / f"{name}-digits.json").read_text())
    assert found["experiment"] == name
    assert found["n_missing"] == 0
    assert found["seeds"] == [0, 1]
    assert found["n_train"] == [100]
    assert found["settings"]["epochs"] == 3
    assert found["machine"]["cores"] >= 1
    assert found["answers"]
    assert any("n = 2" in line for line in found["answers"])
    for file in found["tables"].values():
        table = pd.read_csv(answered / file)
        assert len(table), file
        if {"low", "high"} <= set(table.columns):
            known = table.dropna(subset=["low"])
            assert (known["low"] <= known["mean"] + 1e-5).all(), file
            assert (known["mean"] <= known["high"] + 1e-5).all(), file
            assert table["n"].max() == 2, file
    assert found["figures"]
    assert all((answered / file).stat().st_size > 1000 for file in found["figures"])


@pytest.mark.slow
def test_the_answers_number_is_the_runs_number(answered):
    """One mean computed by hand from the run folders."""
    from engine.runs.folder import RunFolder

    runs = [RunFolder(path.parent) for path in (answered.parent / "runs").glob("*/config.json")]
    values = [
        run.epochs[-1]["metrics"]["test_accuracy"]
        for run in runs
        if run.config.method == "ce" and run.config.rate == 0.4 and run.config.noise == "symmetric"
    ]
    table = pd.read_csv(answered / "baseline-digits.final.csv")
    row = table[(table["rate"] == 0.4) & (table["metric"] == "test_accuracy")].iloc[0]
    assert (row["n"], row["mean"]) == (2, pytest.approx(np.mean(values), abs=1e-5))
