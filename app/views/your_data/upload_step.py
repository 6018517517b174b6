"""Step 1 of Your data: an upload, a folder of the server, or the example."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import streamlit as st

from app.components import live_updates, page
from app.server import endpoints, escaping
from app.server.uploads import paths, registry
from app.server.uploads.safe_zip import MB, MOST_UPLOADED, UploadError
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import put
from engine.data import load
from engine.data.tables import SUFFIXES
from engine.noise.class_dependent import class_dependent_noise

UPLOAD = "your_data.upload"  # of the session: id of the file, and the thread that unpacks it
PATIENCE = 1.0  # seconds in which most uploads are checked, so that no progress is shown
EXAMPLE = "digits with wrong labels.npz"
FOLDERS = """\
pets.zip
  cat/001.png, cat/002.jpg, ...
  dog/001.png, ...
or with parts:
  train/cat/001.png, test/cat/101.png, ...
or with a table (.csv, .jsonl):
  labels.csv   file_name,label
  images/001.png, ..."""
ARRAYS = """\
mine.npz (as of MedMNIST)
  train_images  (N, H, W) or (N, H, W, 3)
  train_labels  (N,) whole numbers from 0
and, if you have them:
  test_images, test_labels, class_names"""
ROWS = """\
mine.csv (or .tsv, .jsonl, .parquet)
  id,label,length,color, ...
or mine.npz, such as embeddings
  train_features  (N, D)
  train_labels    (N,)"""


def show() -> None:
    """Upload a file, name a folder of the server, or try the example."""
    left, right = st.columns([3, 2], gap="large")
    with left:
        endpoints.expect_file()
        file = st.file_uploader(
            f"A .zip of images, an .npz or a table of features, up to {MOST_UPLOADED // MB} MB",
            type=["zip", "npz", *(suffix.removeprefix(".") for suffix in SUFFIXES)],
            max_upload_size=MOST_UPLOADED // MB,
            key="own-file",
        )
        if file is None:
            cancel_upload()
        else:
            receive_file(file)
        if paths.allowed_folders():
            folder_form()
        st.markdown("No data yet? Try it with digits, some of which have wrong labels.")
        if st.button("Use the example", icon=":material/science:", key="example"):
            check_next(lambda: registry.receive(example(), EXAMPLE, runs().root))
        st.caption(
            "Your data is stored on this server in a folder of its own and deleted a day after you "
            "last opened it, unless a run uses it. Only you and the teacher see it, unless you "
            "share a run that uses it."
        )
    with right:
        st.markdown("**Expected format**")
        st.code(FOLDERS, language=None)
        st.code(ARRAYS, language=None)
        st.code(ROWS, language=None)
        st.caption(
            "Images: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, in any subfolder of a class. What is "
            "not read is named in the next step, and handed back as it came."
        )


def folder_form() -> None:
    """A field for a folder or file of the server."""
    with st.form("named", border=False):
        text = st.text_input("Or a folder, an .npz file or a table, of this computer", key="named")
        if st.form_submit_button("Check it") and text.strip():
            check_next(lambda: registry.named(text, runs().root))


def receive_file(file: Any) -> None:
    """Unpack and check an uploaded file once, in the background, while the page shows progress."""
    file_id, thread = st.session_state.get(UPLOAD, ("", None))
    if file_id != file.file_id:
        cancel_upload()
        thread = registry.UploadThread(file, file.name, runs().root, visitor().id)
        thread.job.touch()
        thread.start()
        st.session_state[UPLOAD] = (file.file_id, thread)
        thread.join(PATIENCE)
    if thread.is_alive():
        show_progress(thread)
    elif thread.upload is not None:
        cancel_upload()
        open_upload(thread.upload.key)
    else:
        st.error(escaping.lines(thread.refusal), icon=":material/block:")


def cancel_upload() -> None:
    """Stop unpacking a file that is no longer in the box."""
    _, thread = st.session_state.pop(UPLOAD, ("", None))
    if thread is not None:
        thread.job.cancelled.set()


def show_progress(thread: registry.UploadThread) -> None:
    """The progress of an upload, and the button that cancels it."""

    @page.guarded
    def progress() -> None:
        job = thread.job
        job.touch()
        share = min(1.0, job.done / job.total) if job.total else 0.0
        text = f"{job.what}: {job.done:,} of {job.total:,}" if job.total else job.what
        if job.before:
            text = f"Waiting: {job.before:,} before you. {text}"
        st.progress(share, text)
        if st.button("Cancel", icon=":material/close:", key="cancel-upload"):
            job.cancelled.set()

    live_updates.poll(
        "unpacking", lambda: None if thread.is_alive() else "app", every=0.5, draw=progress
    )


def check_next(receive: Callable[[], registry.Upload]) -> None:
    """Receive data and go to the next step; data that is refused says why."""
    try:
        with st.spinner("Checking"):
            upload = receive()
    except UploadError as error:
        st.error(escaping.lines(error), icon=":material/block:")
        return
    open_upload(upload.key)


def open_upload(key: str) -> None:
    """Note the visitor as owner of an upload, and show its checks."""
    runs().claim(key)
    put(upload=key, step="check")
    st.rerun()


def example() -> io.BytesIO:
    """scikit-learn's digits with 10 % wrong training labels, in the MedMNIST layout."""
    data = load("digits")
    noisy = class_dependent_noise(
        data.labels.numpy(), "symmetric-exclusive", 0.1, n_classes=10, seed=0
    )
    out = io.BytesIO()
    np.savez_compressed(
        out,
        train_images=data.images[:, 0].numpy(),
        train_labels=noisy.labels.astype(np.uint8),
        test_images=data.test_images[:, 0].numpy(),
        test_labels=data.test_labels.numpy().astype(np.uint8),
    )
    out.seek(0)
    return out
