"""Human labels: both kinds of file, and files that are not what they seem."""

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.data import human
from engine.errors import DataError
from tests.conftest import SHARED

rng = np.random.default_rng(0)
ARRAYS = {
    "clean_label": np.arange(50) % 10,
    "aggre_label": rng.integers(10, size=50),
    "random_label1": rng.integers(10, size=50).astype(np.int32),
    "worse_label": rng.integers(10, size=50).astype(np.uint8),
}


class Evil:
    """Runs a command where a pickle of it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def as_written_before_numpy_2(path: Path) -> None:
    """Give the array's parts the names that the authors' NumPy had."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content.replace(b"numpy._core", b"numpy.core"))


@pytest.mark.parametrize("form", ["npz", "pt", "old pt", "pt without zip"])
def test_both_kinds_of_file_give_the_same(tmp_path, form):
    if form == "npz":
        np.savez(tmp_path / "cifar10n_labels.npz", **ARRAYS)
    else:
        path = tmp_path / "CIFAR-10_human.pt"
        torch.save(ARRAYS, path, _use_new_zipfile_serialization=form != "pt without zip")
        if form == "old pt":
            as_written_before_numpy_2(path)
            assert b"numpy.core.multiarray" in path.read_bytes()
    clean, given = human.load("cifar10", "worse", tmp_path)
    np.testing.assert_array_equal(clean, ARRAYS["clean_label"])
    np.testing.assert_array_equal(given, ARRAYS["worse_label"])
    assert clean.dtype == given.dtype == np.int64
    assert human.available("cifar10", tmp_path)
    assert not human.available("cifar100", tmp_path)
    with pytest.raises(DataError, match="'random2' .*contains aggre, random1, worse"):
        human.load("cifar10", "random2", tmp_path)


def test_two_files_complete_each_other(tmp_path):
    np.savez(tmp_path / "cifar10n_labels.npz", **ARRAYS)
    more = {"clean_label": ARRAYS["clean_label"], "random_label2": ARRAYS["aggre_label"]}
    torch.save(more, tmp_path / "CIFAR-10_human.pt")
    assert (human.load("cifar10", "random2", tmp_path)[1] == ARRAYS["aggre_label"]).all()
    assert (human.load("cifar10", "aggre", tmp_path)[1] == ARRAYS["aggre_label"]).all()


def test_cifar100_has_one_set(tmp_path):
    noisy = rng.integers(100, size=50)
    torch.save(
        {"clean_label": np.arange(50), "noisy_label": noisy, "noisy_coarse_label": noisy // 5},
        tmp_path / "CIFAR-100_human.pt",
    )
    np.testing.assert_array_equal(human.load("cifar100", "noisy", tmp_path)[1], noisy)
    with pytest.raises(DataError, match="'worse' with cifar100: .*contains noisy"):
        human.load("cifar100", "worse", tmp_path)


@pytest.mark.parametrize(
    "evil",
    [
        lambda witness: Evil(os.system, f"touch {witness}"),
        lambda witness: Evil(eval, f"open({str(witness)!r}, 'w')"),
        lambda witness: Evil(open, str(witness), "w"),
        lambda witness: Evil(np.save, str(witness), np.zeros(1)),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, evil, zipped):
    path, witness = tmp_path / "CIFAR-10_human.pt", tmp_path / "ran"
    content = ARRAYS | {"extra": evil(witness)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match="it could run code"):
        human.load("cifar10", "worse", tmp_path)
    assert not list(tmp_path.glob("ran*"))
    torch.load(path, weights_only=False)
    assert list(tmp_path.glob("ran*")), "and would have run"


def test_what_is_safe_elsewhere_stays_as_it_was(tmp_path):
    path = tmp_path / "arrays.pt"
    torch.save(ARRAYS, path)
    before = torch.serialization.get_safe_globals()
    human.read(path)
    assert set(torch.serialization.get_safe_globals()) == set(before)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pt", b""),
        ("a.pt", b"hello"),
        ("a.pt", pickle.dumps(ARRAYS)),
        ("a.npz", b""),
        ("a.npz", b"PK\x03\x04"),
        ("a.npz", b"hello"),
    ],
)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_files_say_so(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"a\.(pt|npz) .*(cannot be read: .|run code)"):
        human.read(tmp_path / name)


def test_files_of_other_things_say_so(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(DataError, match="contains a list"):
        human.read(tmp_path / "list.pt")
    np.savez(tmp_path / "objects.npz", clean_label=np.array([{}], dtype=object))
    with pytest.raises(DataError, match="cannot be read"):
        human.read(tmp_path / "objects.npz")
    np.savez(tmp_path / "cifar10n_labels.npz", worse_label=np.zeros(3))
    with pytest.raises(DataError, match="contains none"):
        human.load("cifar10", "worse", tmp_path)


def test_a_missing_file_says_what_belongs_where(tmp_path):
    with pytest.raises(DataError, match=f"CIFAR-10_human.pt or .*npz into {tmp_path} .*https://"):
        human.load("cifar10", "worse", tmp_path)
    with pytest.raises(DataError, match="human labels of 'digits': allowed are cifar10, cifar100"):
        human.load("digits", "worse", tmp_path)


def test_the_real_labels_have_the_published_rates(tmp_path):
    path = SHARED / "data" / "cifar10n_labels.npz"
    if not path.exists():
        pytest.skip("no ../shared/data next to the project")
    (tmp_path / path.name).symlink_to(path)
    for labels, wrong in (("aggre", 0.0901), ("random1", 0.1723), ("worse", 0.4021)):
        clean, given = human.load("cifar10", labels, tmp_path)
        assert len(clean) == 50_000
        assert (clean != given).mean() == pytest.approx(wrong, abs=1e-4)
