"""The player's modules: their own tests, and what they say against the recording read in Python."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

from engine.reports.reader import Recording, read_recording
from tests.reports.conftest import probabilities

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests" / "reports" / "player"
SHIPPED = ROOT / "assets" / "digits.recording"
NODE = shutil.which("node")
# prints the sums of all arrays, weighted by place, the stories of every sample in both runs, and
# what their networks say of an image
SCRIPT = """
import { readFileSync } from "node:fs";
import { Decoder } from "./engine/reports/player/recording.js";
import { Network } from "./engine/reports/player/network.js";
import { story } from "./engine/reports/player/story.js";
const recording = await new Decoder().push(readFileSync(process.argv[1]));
const sum = (values) => {
    let total = 0;
    values.forEach((value, i) => (total += value * (1 + (i % 97))));
    return total;
};
const sums = recording.runs.map((run) => run.epochs.map(({ arrays }) =>
    Object.fromEntries(Object.entries(arrays).map(([name, values]) => [name, sum(values)]))));
const stories = recording.runs.map((_, run) =>
    Array.from({ length: recording.n }, (_, place) => story(recording, run, place)));
const image = (channel, pixel) => (37 * pixel) % 256;
const answers = recording.runs.map(({ weights }) => new Network(weights).probabilities(image));
console.log(JSON.stringify({ sums, stories, answers }));
"""

pytestmark = pytest.mark.skipif(NODE is None, reason="no node")


def test_unit_tests():
    """One process: each file is a module that registers its tests."""
    files = sorted(TESTS.glob("*.test.mjs"))
    imports = "\n".join(f"import {json.dumps(file.as_uri())};" for file in files)
    ended = subprocess.run(
        [str(NODE), "--input-type=module", "-e", imports], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr


@pytest.fixture(scope="module")
def computed() -> dict:
    """The sums and stories that the modules compute from the shipped recording."""
    ended = subprocess.run(
        [str(NODE), "--input-type=module", "-e", SCRIPT, str(SHIPPED)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def recording() -> Recording:
    return read_recording(SHIPPED.read_bytes())


def test_both_readers_read_the_same(computed, recording):
    for run, epochs in enumerate(recording.epochs):
        assert len(epochs) == len(computed["sums"][run]) == 30
        for epoch, sums in zip(epochs, computed["sums"][run], strict=True):
            weighted = {
                name: int((codes.ravel().astype(np.int64) * (1 + np.arange(codes.size) % 97)).sum())
                for name, codes in epoch.codes.items()
            }
            assert weighted == sums


def test_the_networks_say_what_pytorch_computes(computed, recording):
    image = ((37 * np.arange(64)) % 256).reshape(1, 1, 8, 8)
    for network, answer in zip(recording.networks, computed["answers"], strict=True):
        assert np.abs(probabilities(network, image)[0] - answer).max() < 1e-5


def test_every_sentence_of_every_story_is_true(computed, recording):
    """Each sentence is recognized by its pattern, and its words compared with the arrays."""
    classes = recording.head["dataset"]["classes"]
    assert classes == [str(number) for number in range(10)]  # so that int() reads a label
    seen = set()
    for run, stories in enumerate(computed["stories"]):
        arrays = Arrays(recording, run)
        for place, facts in enumerate(stories):
            for fact in facts:
                matches = [(p, m) for p in CLAIMS if (m := re.fullmatch(p, fact["text"]))]
                assert len(matches) == 1, fact["text"]
                (pattern, match), *_ = matches
                seen.add(pattern)
                assert CLAIMS[pattern](arrays, place, **match.groupdict()), (run, place, match[0])
    # plain training has memorized every label there, and MixNN's labels follow its predictions
    unseen = (Arrays.says_not, Arrays.undecided)
    assert {p for p, claim in CLAIMS.items() if claim not in unseen} <= seen


class Arrays:
    """The arrays of one run, by epoch and place; e: an epoch, i: a place."""

    def __init__(self, recording: Recording, run: int):
        self.epochs = epochs = recording.epochs[run]
        self.given, self.true = recording.given[run], recording.true
        self.label = np.stack([epoch.codes["corrected"] for epoch in epochs])
        self.said = np.stack([epoch.codes["prediction"] for epoch in epochs])
        self.sure = np.stack([epoch.values("confidence") for epoch in epochs])
        self.clean = np.stack([epoch.values("clean") for epoch in epochs])
        self.weight = np.stack([epoch.values("soft_weight") for epoch in epochs])
        self.before = np.vstack([self.given, self.label[:-1]])
        self.recording, self.run = recording, run

    @cached_property
    def other(self) -> "Arrays":
        return Arrays(self.recording, 1 - self.run)

    def moves(self, i: int) -> np.ndarray:
        """The epochs at which a label changed."""
        return np.flatnonzero(self.before[:, i] != self.label[:, i])

    def mix(self, i: int, e: str) -> tuple[np.ndarray, np.ndarray]:
        """Weights in percent, own first, and the neighbors."""
        codes = self.epochs[int(e)].codes
        weights = codes["weights"][i].astype(float)
        return 100 * weights / weights.sum(), codes["neighbors"][i]

    def votes(self, i: int, e: str, own: str, a: str, n="0", share="0") -> bool:
        weights, neighbors = self.mix(i, e)
        voting = self.before[int(e), neighbors] == int(a)
        return (
            close(weights[0], "0" if own == "nothing" else own[:-2], 0.51)
            and voting.sum() == int(n)
            and close(weights[1:][voting].sum(), share)
        )

    def alone(self, i: int, e: str, a: str, wrongly: str | None, share: str) -> bool:
        weights, neighbors = self.mix(i, e)
        one = weights[1:].argmax()
        return (
            close(weights[1:][one], "100" if share == "all" else share[:-5], 0.51)
            and self.before[int(e), neighbors[one]] == int(a)
            and bool(wrongly) == (self.true[neighbors[one]] != int(a))
        )

    def clean_until(self, i: int, e: str, high: str, looked: str, low="", last="") -> bool:
        values = self.clean[: int(e) + 1, i]
        return (
            self.moves(i)[0] == int(e) + 1
            and close(values.max(), high, 0.0051)
            and (values[-1] >= 0.5) == (looked == "right")
            and (not low or close(values.min(), low, 0.0051))
            and (not last or close(values[-1], last, 0.0051))
        )

    def said_since(self, i: int, a: str, since: str | None, e: str, sure: str) -> bool:
        start = int(since or 0)
        return (
            (self.said[start : int(e) + 1, i] == int(a)).all()
            and (start == 0) == (since is None)
            and (start == 0 or self.said[start - 1, i] != int(a))
            and close(100 * self.sure[int(e), i], sure)
        )

    def says_from(self, i: int, a: str, e: str) -> bool:
        """From e on to the end, in three epochs at least, and not in the one before."""
        start = int(e)
        return (
            start <= len(self.said) - 3
            and (self.said[start:, i] == int(a)).all()
            and (start == 0 or self.said[start - 1, i] != int(a))
        )

    def says_not(self, i: int, a: str) -> bool:
        return not (self.said[-3:, i] == int(a)).all()

    def undecided(self, i: int, b: str, sure: str, a: str, weight: str) -> bool:
        return (
            self.end(i) == (False, False)
            and self.said[-1, i] == int(b) != int(a) == self.given[i] == self.label[-1, i]
            and close(100 * self.sure[-1, i], sure)
            and close(100 * self.weight[-1, i], weight)
        )

    def end(self, i: int) -> tuple[bool, bool]:
        """Whether the given label was right, and whether the last one is."""
        return bool(self.given[i] == self.true[i]), bool(self.label[-1, i] == self.true[i])


def close(value: float, stated: str, tolerance: float = 0.051) -> bool:
    """Whether a number is the stated one, as exact as it is written."""
    return abs(value - float(stated)) < tolerance


CLAIMS: dict[str, Callable[..., bool]] = {
    r"Its given label, (?P<a>\d), is right\.":
        lambda r, i, a: r.given[i] == int(a) == r.true[i],
    r"Its given label is (?P<a>\d), but it shows (?P<b>\d): the label is wrong\.":
        lambda r, i, a, b: r.given[i] == int(a) != int(b) == r.true[i],
    r"Until epoch (?P<e>\d+) P\(clean\) was (?:at most )?(?P<high>[\d.]+): "
    r"the label looked (?P<looked>wrong|right)\.": Arrays.clean_until,
    r"Until epoch (?P<e>\d+) P\(clean\) was between (?P<low>[\d.]+) and (?P<high>[\d.]+), "
    r"at last (?P<last>[\d.]+): the label looked (?P<looked>wrong|right)\.": Arrays.clean_until,
    r"In the mix of epoch (?P<e>\d+) one neighbor, labeled (?P<a>\d)(?P<wrongly> \(wrongly\))?, "
    r"had (?P<share>all|[\d.]+ % of) the weight\.": Arrays.alone,
    r"In the mix of epoch (?P<e>\d+) it weighed (?P<own>nothing|[\d.]+ %) itself, and "
    r"(?P<n>\d+) neighbors? labeled (?P<a>\d) weighed (?P<share>[\d.]+) %\.": Arrays.votes,
    r"In the mix of epoch (?P<e>\d+) it weighed (?P<own>nothing|[\d.]+ %) itself, and "
    r"no neighbor was labeled (?P<a>\d)\.": Arrays.votes,
    r"The network said (?P<a>\d) (?:from the start|since epoch (?P<since>\d+)), "
    r"at epoch (?P<e>\d+) with (?P<sure>[\d.]+) %\.": Arrays.said_since,
    r"So the label moved from (?P<a>\d) to (?P<b>\d) at epoch (?P<e>\d+)\.":
        lambda r, i, a, b, e: r.moves(i)[0] == int(e)
        and r.before[int(e), i] == int(a) and r.label[int(e), i] == int(b),
    r"It moved (?P<n>\d+) more times?, at last to (?P<a>\d) at epoch (?P<e>\d+)\.":
        lambda r, i, n, a, e: len(r.moves(i)) == int(n) + 1
        and r.moves(i)[-1] == int(e) and r.label[-1, i] == int(a),
    r"In the end the network says (?P<b>\d) with (?P<sure>[\d.]+) %, but (?P<a>\d) still has "
    r"(?P<weight>[\d.]+) % of the soft label\.": Arrays.undecided,
    r"Now the label is right: corrected\.": lambda r, i: r.end(i) == (False, True),
    r"That was a mistake: the given label was right\. It is harmed\.":
        lambda r, i: r.end(i) == (True, False),
    r"The new label is wrong as well\.":
        lambda r, i: r.end(i) == (False, False) and r.label[-1, i] != r.given[i],
    r"The label never moved: the network said (?P<a>\d) in (?P<n>\d+) of 30 epochs, and "
    r"P\(clean\) was at least 0\.5 in (?P<clean>\d+)\.":
        lambda r, i, a, n, clean: len(r.moves(i)) == 0
        and (r.said[:, i] == int(a)).sum() == int(n)
        and (r.clean[:, i] >= 0.5).sum() == int(clean) and r.given[i] == int(a),
    r"In the end the network repeats the wrong label, so nothing corrects it\.":
        lambda r, i: r.end(i) == (False, False) and r.said[-1, i] == r.given[i] == r.label[-1, i],
    r"The network says (?P<a>\d) from epoch (?P<e>\d+) on\.": Arrays.says_from,
    r"From epoch (?P<e>\d+) on it repeats the wrong label (?P<a>\d): memorized\.":
        lambda r, i, a, e: r.says_from(i, a, e) and r.given[i] == int(a) != r.true[i],
    r"The network never said (?P<a>\d) to the end\.": Arrays.says_not,
    r"It has not memorized the wrong label (?P<a>\d)\.": Arrays.says_not,
    r"The network said (?P<b>\d), which is right, in (?P<n>\d+) of 30 epochs\.":
        lambda r, i, b, n: (r.said[:, i] == int(b)).sum() == int(n) and r.true[i] == int(b),
    r"MixNN corrected this label at epoch (?P<e>\d+)\.":
        lambda r, i, e: (r.other.label[:, i] == r.true[i]).argmax() == int(e)
        and r.other.end(i) == (False, True),
    r"(?:Plain training|MixNN) memorized the wrong label: "
    r"it says (?P<a>\d) from epoch (?P<e>\d+) on\.":
        lambda r, i, a, e: r.other.says_from(i, a, e) and r.given[i] == int(a) != r.true[i],
}  # fmt: skip
