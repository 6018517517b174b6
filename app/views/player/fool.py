"""Fool MixNN: wrong labels by hand, and a run on exactly these labels."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from app.components import live_updates, player
from app.components.page import guarded
from app.server import escaping, run_cache
from app.server.run_info import RunsError
from app.server.uploads import registry
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import put
from engine.config import RunConfig
from engine.data.base import Data
from engine.runs.folder import RunFolder

JOB = "fool.job"  # of the session: the run whose labels were changed, and the thread that stores it
FILE = "labels-by-hand.npz"
MOST = 5000  # images that are shown and labeled by hand


def is_possible(run: RunFolder) -> bool:
    """Whether the visitor may train on other labels of a small run without code of its own."""
    name = run.folder.name
    shared = runs().private(name) and not runs().may_control(name, visitor())
    custom = run.is_recorded or bool(run.info.get("parts"))
    return run.info["data"]["n"] <= MOST and not shared and not custom and runs().trains_here


def show(name: str) -> None:
    """The images to be labeled; after "Train on these labels" the progress, then the new run."""
    of, thread = st.session_state.get(JOB, ("", None))
    if of == name and thread is not None:
        if thread.is_alive():
            _wait(thread)
        else:
            st.session_state.pop(JOB)
            _finish(name, thread)

    def on_train(edits: list[list[int]]) -> None:
        guarded(_store)(name, edits)

    player.show_labels(name, key=f"labels-{name}", on_train=on_train)


def _store(name: str, edits: Sequence[Sequence[int]]) -> None:
    """Store the images with these labels as an upload of the visitor, in the background."""
    run = run_cache.run(name)
    if not is_possible(run):
        raise RunsError(f"{name} was shared for viewing: only its owner can train on its images")
    content = labeled(run_cache.data_of(run), run.info["data"]["classes"], edits)
    thread = registry.UploadThread(io.BytesIO(content), FILE, runs().root, visitor().id)
    thread.job.touch()
    thread.start()
    thread.join(1.0)  # most are stored by then
    st.session_state[JOB] = (name, thread)


def labeled(data: Data, classes: Sequence[str], edits: Sequence[Sequence[int]]) -> bytes:
    """An npz file of the data set with right labels but for these rows and wrong labels.

    Raises RunsError where a row or a label does not exist.
    """
    truth = (data.labels if data.true_labels is None else data.true_labels).numpy()
    given = truth.copy()
    for edit in edits:
        if len(edit) != 2 or not all(isinstance(number, int) for number in edit):
            raise RunsError(f"{edit!r:.40}: allowed are pairs of a row and a label")
        row, label = edit
        if not (0 <= row < data.n and 0 <= label < data.n_classes):
            raise RunsError(
                f"row {row}, label {label}: allowed are rows 0 to {data.n - 1} and labels 0 to "
                f"{data.n_classes - 1}"
            )
        given[row] = label
    if (given == truth).all():
        raise RunsError("no label is wrong: give at least one image a wrong label")
    out = io.BytesIO()
    arrays: dict[str, Any] = {
        "train_images": data.images,
        "test_images": data.test_images,
        **({} if data.val_images is None else {"val_images": data.val_images}),
    }
    pictures: dict[str, Any] = {
        key: images.permute(0, 2, 3, 1).numpy() for key, images in arrays.items()
    }
    labels: dict[str, Any] = {"test_labels": data.test_labels.numpy()}
    if data.val_labels is not None:
        labels["val_labels"] = data.val_labels.numpy()
    labels |= {"train_labels": given, "train_true_labels": truth}
    np.savez_compressed(out, class_names=np.array([str(c) for c in classes]), **pictures, **labels)
    return out.getvalue()


def settings(config: RunConfig, dataset: str) -> RunConfig:
    """The settings of a run on these labels: by MixNN where the run itself corrects none."""
    method = "mixnn" if config.correction == "none" else None
    return config.varied(
        method=method, dataset=dataset, noise="none", limit=None, image_size=None, noise_seed=None
    )


def _wait(thread: registry.UploadThread) -> None:
    def draw() -> None:
        thread.job.touch()
        st.progress(0.0, thread.job.what or "Storing the labels")

    live_updates.poll("fool", lambda: None if thread.is_alive() else "app", every=0.5, draw=draw)


def _finish(name: str, thread: registry.UploadThread) -> None:
    """Queue the run on the stored labels, and show it."""
    if thread.upload is None:
        st.error(escaping.lines(thread.refusal), icon=":material/block:")
        return
    runs().claim(thread.upload.key)
    config = settings(run_cache.run(name).config, thread.upload.dataset)
    try:
        new = runs().submit(config, visitor=visitor())
    except RunsError as error:
        st.error(f"{escaping.lines(error)}.", icon=":material/block:")
        return
    put(run=new, fool=None, against=None, epoch=None, sample=None, lasso=None)
    st.rerun()
