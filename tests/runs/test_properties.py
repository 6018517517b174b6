"""A run folder, whatever its arrays: what was written is read, also after a torn write."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.runs.folder import RunFolder
from engine.runs.schema import ARRAYS, BY_RANK
from engine.runs.writer import RunWriter
from engine.training.snapshot import Snapshot
from engine.training.state import State
from engine.training.train import prepare_state
from tests.conftest import blobs, quick

FEW = settings(max_examples=20, deadline=None, derandomize=True)
N, C, EPOCHS = 9, 3, 6
NUMBERS = st.sampled_from([0.0, -0.0, 1.0, 0.1, 3e-45, 1e30, -1e30, np.nan, np.inf, -np.inf])
FLOATS = ("loss", "scaled_loss", "clean", "confidence", "distances", "weights", "panel_features")


@pytest.fixture(scope="module")
def state() -> State:
    """What a folder begins with; its epochs hold arrays that no training produced."""
    return prepare_state(
        quick(epochs=EPOCHS, k=2, panel_size=4, state_interval=3), blobs(N, C, n_test=3)
    )


@st.composite
def snapshots(draw, epoch: int, k_max: int, n_panel: int) -> Snapshot:
    """One epoch of arbitrary numbers of the types and shapes that ARRAYS allows."""
    k = draw(st.integers(0, k_max))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = {
        "loss": (N,),
        "scaled_loss": (N,),
        "clean": (N,),
        "confidence": (N,),
        "distances": (N, k),
        "weights": (N, k + 1),
        "panel_features": (n_panel, 5),
    }
    values = {name: rng.normal(size=shapes[name]).astype("float32") for name in FLOATS}
    for array in values.values():
        if array.size:  # one extreme value somewhere
            array.flat[rng.integers(array.size)] = draw(NUMBERS)
    settings = {
        "k": k,
        "learning_rate": draw(st.floats(0, 10)),
        "augment": draw(st.text(max_size=5)),
    }
    metric = st.none() | st.floats(-(2**53), 2**53)
    return Snapshot(
        epoch=epoch,
        settings=settings,
        phase=draw(st.sampled_from(["warmup", "early", "main"])),
        metrics={"test_accuracy": draw(metric), "train_loss": draw(metric)},
        mixture={"means": [0.1, 0.9], "stds": [1.0, 1.0], "weights": [0.5, 0.5], "warning": None},
        seconds={"train": draw(st.floats(0, 1e6))},
        prediction=rng.integers(C, size=N).astype("int32"),
        soft=rng.dirichlet([1.0] * C, N).astype("float32"),
        neighbors=rng.integers(N, size=(N, k)).astype("int32"),
        votes=draw(st.none() | st.just(rng.integers(1, 20, (N, C)).astype("uint8"))),
        **values,
    )


def drawn_epochs(data, state: State, k_max: int) -> list[Snapshot]:
    n_panel = len(state.noisy_labels.panel)
    n = data.draw(st.integers(1, EPOCHS))
    return [data.draw(snapshots(epoch, k_max, n_panel)) for epoch in range(n)]


def network(epoch: int) -> dict:
    """Stands in for the network after an epoch."""
    return {"epoch": epoch}


def check(folder: Path, epochs: list[Snapshot]) -> None:
    """The folder holds exactly these epochs, bit for bit."""
    run = RunFolder(folder)
    records = run.epochs
    assert [record["epoch"] for record in records] == [snapshot.epoch for snapshot in epochs]
    for row, (record, snapshot) in enumerate(zip(records, epochs, strict=True)):
        for part in ("settings", "phase", "metrics", "mixture", "seconds"):
            assert record[part] == getattr(snapshot, part)
        for name, (kind, _) in ARRAYS.items():
            if name not in BY_RANK:
                with np.errstate(over="ignore"):  # features beyond float16 become inf
                    expected = getattr(snapshot, name).astype(kind)
                np.testing.assert_array_equal(run.array(name)[row], expected, err_msg=name)
        for name, found in zip(BY_RANK, run.mixing_of(row), strict=True):
            np.testing.assert_array_equal(found, getattr(snapshot, name), err_msg=name)
        np.testing.assert_array_equal(run.votes(row), snapshot.votes)
    kept = run.checkpoints()
    assert set(kept) >= {0, 3} & {snapshot.epoch for snapshot in epochs}
    assert [run.load_checkpoint(epoch) for epoch in kept] == [network(epoch) for epoch in kept]


def check_histories(folder: Path, epochs: list[Snapshot]) -> None:
    """The history of a sample is a column of the epochs."""
    run = RunFolder(folder)
    for index in (0, N - 1):
        history = run.sample(index)
        for row, snapshot in enumerate(epochs):
            k = snapshot.neighbors.shape[1]
            for name in ("loss", "soft", "prediction"):
                np.testing.assert_array_equal(history[name][row], getattr(snapshot, name)[index])
            np.testing.assert_array_equal(history["neighbors"][row, :k], snapshot.neighbors[index])
            np.testing.assert_array_equal(history["weights"][row, : k + 1], snapshot.weights[index])
            assert (history["neighbors"][row, k:] == -1).all()
            assert (history["weights"][row, k + 1 :] == 0).all()


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def tear(folder: Path, before: dict[str, bytes], after: dict[str, bytes], data) -> None:
    """Leave the folder as a process leaves it that is killed on its way from before to after.

    A file that was appended to or written in place has some of its new bytes; one that is replaced
    whole is the old one or the new one, with a part of the new one next to it. The records come
    last, so they are not complete.
    """
    for name in before.keys() | after.keys():
        old, new = before.get(name), after.get(name, b"")
        if old == new:
            continue
        path = folder / name
        records = name.startswith("epochs")
        in_place = old is not None and (name.startswith("arrays") or new.startswith(old))
        if in_place:
            most = len(new) - (2 if records else 0)  # not even its last character
            cut = data.draw(st.integers(min(len(old), most) if records else 0, most))
            path.write_bytes(new[:cut] + old[cut:])
        elif records or name not in after or data.draw(st.booleans()):
            path.with_suffix(".tmp").write_bytes(new[: data.draw(st.integers(0, len(new)))])
            if old is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(old)


@FEW
@given(data=st.data())
def test_what_is_written_is_what_is_read(state, data):
    with TemporaryDirectory() as root:
        folder = Path(root) / "run"
        writer = RunWriter.create(folder, state)
        epochs = drawn_epochs(data, state, writer.k_max)
        for snapshot in epochs:
            writer.write(snapshot, network(snapshot.epoch))
        writer.close()
        check(folder, epochs)
        check_histories(folder, epochs)


@FEW
@given(data=st.data())
def test_a_torn_write_loses_its_own_epoch_and_no_other(state, data):
    with TemporaryDirectory() as root:
        folder = Path(root) / "run"
        writer = RunWriter.create(folder, state)
        epochs = drawn_epochs(data, state, writer.k_max)
        for snapshot in epochs[:-1]:
            writer.write(snapshot, network(snapshot.epoch))
        before = contents(folder)
        writer.write(epochs[-1], network(epochs[-1].epoch))
        writer.close()
        tear(folder, before, contents(folder), data)
        check(folder, epochs[:-1])

        again = RunWriter.resume(folder)
        assert again.n_epochs == len(epochs) - 1
        again.write(epochs[-1], network(epochs[-1].epoch))
        again.close()
        check(folder, epochs)
        assert not list(folder.rglob("*.tmp"))
