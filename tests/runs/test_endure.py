"""Each fault of tests/benchmarks/faults.py once, on a short run; `endure.py` is the long form."""

from random import Random

import pytest

from tests.benchmarks import faults
from tests.benchmarks.faults import FAULTS, Place, Skipped
from tests.conftest import slow

SMALL = {  # the cheapest form of a fault that is tried in several
    "kill -9": dict(n=3),
    "few descriptors": dict(limits=(14,)),
    "little memory": dict(megabytes=(60,)),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return Place.make(tmp_path_factory.mktemp("endure"), limit=150, epochs=12, state_interval=4)


FAST = ("full disk", "few descriptors")
NAMES = [pytest.param(name, marks=() if name in FAST else slow) for name in FAULTS]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_lost(name, place):
    try:
        FAULTS[name](place, Random(7), **SMALL.get(name, {}))
    except Skipped as why:
        pytest.skip(str(why))


@slow
@pytest.mark.parametrize("size", [16_384])
def test_a_disk_that_is_full_at_once(size, place):
    try:
        faults.full_disk(place, Random(0), size)
    except Skipped as why:
        pytest.skip(str(why))


@slow
def test_kills_between_two_written_states_change_nothing(tmp_path):
    """The epochs after the state that was written last are computed again, bit for bit."""
    place = Place.make(tmp_path, limit=150, epochs=20, state_interval=20, checkpoint_every=6)
    assert place.whole.checkpoints() == [0, 19]
    assert faults.kills(place, Random(3), n=3) > 0
