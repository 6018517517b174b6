"""Several seeds of one or two methods: which runs belong together, and what the page says."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from engine.cli.parser import main
from engine.errors import StoreError
from engine.reports import page
from engine.reports.publish import html_page
from engine.reports.reader import read_recording
from engine.reports.seeds import by_seed
from engine.runs.folder import RunFolder
from tests.records import read_records, write_records


@pytest.fixture(scope="module")
def seeds(pair, tmp_path_factory) -> list[Path]:
    """Three seeds of each run of the pair, whose own seed comes first; other accuracies."""
    root, folders = tmp_path_factory.mktemp("seeds"), []
    for run in pair:
        folders.append(run)
        for seed in (7, 8):
            folders.append(with_settings(run, root / f"{run.name}-{seed}", seed=seed))
            records = read_records(folders[-1])
            for record in records:
                record["metrics"]["test_accuracy"] = (seed + record["epoch"]) / 20
            write_records(folders[-1], records)
    return folders


def with_settings(run: Path, folder: Path, **settings) -> Path:
    """A copy of a run with other settings in its config.json."""
    shutil.copytree(run, folder)
    info = json.loads((folder / "config.json").read_text())
    info["config"] |= settings
    (folder / "config.json").write_text(json.dumps(info))
    return folder


def opened(folders) -> list[RunFolder]:
    return [RunFolder(folder) for folder in folders]


def names(groups) -> list[list[str]]:
    return [[run.folder.name for run in group] for group in groups]


def test_runs_that_differ_in_the_seed_alone_belong_together(seeds, tmp_path):
    mixed = [seeds[i] for i in (0, 4, 1, 3, 5, 2)]
    assert names(by_seed(opened(mixed))) == [
        ["cross-entropy", "cross-entropy-7", "cross-entropy-8"],
        ["mixnn", "mixnn-7", "mixnn-8"],  # begins with the seed of the first run
    ]
    # two are compared; a run whose K was changed while it trained is another kind
    assert names(by_seed(opened(seeds[3:5]))) == [["mixnn"], ["mixnn-7"]]
    steered = Path(shutil.copytree(seeds[5], tmp_path / "steered"))
    records = read_records(steered)
    records[-1]["settings"]["k"] += 1
    write_records(steered, records)
    kinds = by_seed(opened([*seeds[3:5], steered]))
    assert names(kinds) == [["mixnn", "mixnn-7"], ["steered"]]
    # settings of the machine do not count
    slower = with_settings(seeds[5], tmp_path / "slower", threads=3)
    assert names(by_seed(opened([*seeds[3:5], slower]))) == [["mixnn", "mixnn-7", "slower"]]


def test_a_seed_that_occurs_twice_and_three_methods_are_refused(seeds, tmp_path, capsys):
    with pytest.raises(StoreError, match=r"same settings and seed \(7\)"):
        by_seed(opened([*seeds[3:5], seeds[4]]))
    other = with_settings(seeds[3], tmp_path / "other", k=7)
    arguments = [str(seeds[0]), str(seeds[3]), str(other), "--out", str(tmp_path / "x.html")]
    assert main(["publish", *arguments]) == 2
    assert "3 kinds of runs (cross-entropy, mixnn, other)" in capsys.readouterr().err


def test_curves_of_other_seeds_are_recorded_and_all_else_is_of_the_first(seeds, tmp_path):
    out = tmp_path / "seeds.recording"
    assert main(["publish", *map(str, seeds), "--recording", "--out", str(out)]) == 0
    recording = read_recording(out.read_bytes())
    alone = tmp_path / "pair.recording"
    assert main(["publish", str(seeds[0]), str(seeds[3]), "--recording", "--out", str(alone)]) == 0
    pair = read_recording(alone.read_bytes())
    assert pair.seeds == [[], []]
    for number, first in enumerate((0, 3)):
        found = {one["seed"]: one for one in recording.seeds[number]}
        assert [*found] == [7, 8]
        for folder, seed in zip(seeds[first + 1 : first + 3], (7, 8), strict=True):
            metrics = [record["metrics"] for record in read_records(folder)]
            assert found[seed]["name"] == folder.name
            for name in ("test_accuracy", "memorized"):
                assert found[seed]["metrics"][name] == [one[name] for one in metrics]
        for with_seeds, one in zip(recording.epochs[number], pair.epochs[number], strict=True):
            assert with_seeds.record == one.record
            for name, codes in one.codes.items():
                np.testing.assert_array_equal(with_seeds.codes[name], codes)
    assert len(out.read_bytes()) - len(alone.read_bytes()) < 3000


def test_the_page_states_means_intervals_and_whose_images_it_shows(seeds):
    content = html_page(opened(seeds), None)
    own = read_records(seeds[3])[-1]["metrics"]["test_accuracy"]
    values = [own, (7 + 5) / 20, (8 + 5) / 20]
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    stated = f"{100 * np.mean(values):.1f} ± {50 * (high - low):.1f} % (n = 3)"
    (row,) = re.findall(r"<tr><th[^>]*>test images right, last epoch</th>(.*?)</tr>", content)
    assert row.count("<td>") == 2
    assert stated in row
    seed = RunFolder(seeds[0]).config.seed
    assert f"means with 95 % intervals. All else is of seed {seed}." in content
    assert f"labels corrected (seed {seed})" in content
    assert "intervals" not in page.lead(page.results(opened(seeds[:1])))
