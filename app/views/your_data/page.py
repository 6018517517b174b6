"""Your data: which of my labels are wrong?"""

import io

import numpy as np
import streamlit as st

from app.components import figures, images, live_updates, page, run_picker
from app.components.text import minutes, time_left
from app.server import endpoints, escaping
from app.server.uploads import paths, registry
from app.server.uploads.safe_zip import MB, MOST_UPLOADED, UploadError
from app.server.visible_runs import runs
from app.server.visitors import visitor
from app.state.url_state import bound, get, link, put
from app.views.your_data import export_page
from app.views.your_data import review as desk
from engine.analysis import data_checks
from engine.charts import review as charts
from engine.data import load
from engine.errors import StoreError
from engine.noise.class_dependent import class_dependent_noise

STEPS = {"bring": "1 Bring", "check": "2 Check", "review": "3 Review", "take": "4 Take home"}
PATIENCE = 1.0  # seconds in which most uploads are checked, without a word on how far they are
EXAMPLE = "digits with wrong labels.npz"
FOLDERS = """\
pets.zip
  cat/001.png, cat/002.jpg, ...
  dog/001.png, ...
or with parts:
  train/cat/001.png, test/cat/101.png, ..."""
ARRAYS = """\
mine.npz (as of MedMNIST)
  train_images  (N, H, W) or (N, H, W, 3)
  train_labels  (N,) whole numbers from 0
and, if you have them:
  test_images, test_labels, class_names"""


def bring() -> None:
    """Upload, name a folder, or try the example."""
    left, right = st.columns([3, 2], gap="large")
    with left:
        endpoints.expect_file()
        file = st.file_uploader(
            f"An .npz file, or a .zip of class folders, up to {MOST_UPLOADED // MB} MB",
            type=["npz", "zip"],
            max_upload_size=MOST_UPLOADED // MB,
            key="own-file",
        )
        if file is None:
            leave_file()
        else:
            take_file(file)
        if paths.allowed_folders():
            with st.form("named", border=False):
                text = st.text_input("Or a folder, or an .npz file, of this computer", key="named")
                if st.form_submit_button("Look at it") and text.strip():
                    go_to_check(lambda: registry.named(text, runs().root))
        st.markdown("No data at hand? Try it with digits of which some labels were made wrong.")
        if st.button("Take the example", icon=":material/science:", key="example"):
            go_to_check(lambda: registry.receive(example(), EXAMPLE, runs().root))
        st.caption(
            "What you bring stays on this server: in a folder of its own, deleted a day after you "
            "last looked at it unless a run was made of it. You and the teacher see it, nobody "
            "else, unless you share a run that was made of it."
        )
    with right:
        st.markdown("**How it should look**")
        st.code(FOLDERS, language=None)
        st.code(ARRAYS, language=None)


def take_file(file) -> None:
    """Unpack and check an uploaded file once, in the background, while the page says how far."""
    seen, bringing = st.session_state.get("bringing", ("", None))
    if seen != file.file_id:
        leave_file()
        bringing = registry.UploadThread(file, file.name, runs().root, visitor().id)
        bringing.job.touch()
        bringing.start()
        st.session_state["bringing"] = (file.file_id, bringing)
        bringing.join(PATIENCE)
    if bringing.is_alive():
        unpacking(bringing)
    elif bringing.upload is not None:
        leave_file()
        runs().claim(bringing.upload.key)
        put(upload=bringing.upload.key, step="check")
        st.rerun()
    else:
        st.error(escaping.lines(bringing.refusal), icon=":material/block:")


def leave_file() -> None:
    """The file in the box is another one, or none: what was begun with it ends."""
    _, bringing = st.session_state.pop("bringing", ("", None))
    if bringing is not None:
        bringing.job.cancelled.set()


def unpacking(bringing: registry.UploadThread) -> None:
    """How far an upload is, and the button that ends it."""

    @page.guarded
    def progress() -> None:
        job = bringing.job
        job.touch()
        share = min(1.0, job.done / job.total) if job.total else 0.0
        text = f"{job.what}: {job.done:,} of {job.total:,}" if job.total else job.what
        if job.before:
            text = f"Waiting: {job.before:,} before you. {text}"
        st.progress(share, text)
        if st.button("Cancel", icon=":material/close:", key="cancel-upload"):
            job.cancelled.set()

    live_updates.poll(
        "unpacking", lambda: None if bringing.is_alive() else "app", every=0.5, draw=progress
    )


def go_to_check(receive) -> None:
    try:
        with st.spinner("Checking"):
            about = receive()
    except UploadError as error:
        st.error(escaping.lines(error), icon=":material/block:")
        return
    runs().claim(about.key)
    put(upload=about.key, step="check")
    st.rerun()


def example() -> io.BytesIO:
    """scikit-learn's digits with 10 % of the training labels spoiled, in the MedMNIST layout."""
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


def check() -> None:
    """The report, and the start of a run."""
    key = get("upload") or ""
    # what another visitor brought is answered like what is gone
    about = registry.find(key, runs().root) if runs().may_open(key) else None
    if about is None:
        if get("upload"):
            st.warning(
                "This upload is no longer here. Bring it again, and it will be checked anew."
            )
        else:
            st.info("Nothing was brought yet. Begin with step 1.")
        st.button("Bring data", on_click=put, kwargs={"step": "bring"}, icon=":material/upload:")
        return
    try:
        found, pictures = report(about.dataset, about.at)
    except (StoreError, ValueError) as error:
        st.error(f"{escaping.markdown(about.name)} can no longer be read: {escaping.lines(error)}")
        return
    st.markdown(f"**{escaping.markdown(about.name)}**")
    with st.container(horizontal=True, gap="large", key="counts"):
        for label, value in data_checks.summary(found).items():
            st.metric(label, value, width="content")
    left, middle, right = st.columns([5, 4, 4], gap="medium")
    with left:
        findings(found, pictures, about.notes)
    with middle:
        fig = charts.class_counts(list(found.classes), found.counts)
        st.markdown("**Images of each class**")
        figures.show(fig, "classes", alt="Bars: number of training images of each class")
    with right:
        start(about.dataset, about.at)


def findings(found: data_checks.Checkup, pictures: dict[int, np.ndarray], notes) -> None:
    warnings = [text for level, text in found.findings if level == "warn"]
    others = [text for level, text in found.findings if level == "note"] + list(notes)
    if not warnings:
        st.success("Nothing stands in the way of a run.", icon=":material/check_circle:")
    for text in warnings:
        st.warning(escaping.markdown(text, escaping.MOST_ERROR), icon=":material/warning:")
    if pictures:
        captions = [
            " or ".join(found.classes[label] for label in labels) + "?"
            for _, labels in found.contradictions[: data_checks.PICTURED]
        ]
        images.wall(list(pictures.values()), captions, size=72)
    if others:
        st.caption(
            "\n".join(f"- {escaping.markdown(text, escaping.MOST_ERROR)}" for text in others)
        )


def start(dataset: str, at: float) -> None:
    """Two questions, the time it takes, and the button."""
    with st.container(border=True, key="tuned"):
        st.markdown("**Let MixNN look for wrong labels**")
        mirror = st.checkbox(
            "A mirrored image still shows its class",
            value=False,
            key="mirror",
            help="True of animals and most things, untrue of letters, digits and signs. The "
            "network then learns from mirrored images as well.",
        )
        thorough = st.segmented_control(
            "How long",
            [True, False],
            default=True,
            required=True,
            key="thorough",
            format_func={True: "Thorough", False: "Quick look"}.get,
        )
        left = seconds(dataset, at) * (1 if thorough else 0.5)
        st.caption(
            f"About **{minutes(left)}** on this machine. Your labels are taken as they "
            "are: no noise is added."
        )
        if st.button("Find wrong labels", type="primary", icon=":material/search:", key="find"):
            config = data_checks.suited(load(dataset), mirror=mirror, thorough=thorough)
            name = runs().submit(config, visitor=visitor())
            put(run=name, step="review", epoch=None, sample=None, lasso=None)
            st.rerun()


@st.cache_resource(max_entries=8, show_spinner="Looking at every image")
def report(dataset: str, at: float) -> tuple[data_checks.Checkup, dict[int, np.ndarray]]:
    """The report, and the images whose copies bear other labels."""
    data = load(dataset)
    found = data_checks.examine(data)
    rows = [rows[0] for rows, _ in found.contradictions[: data_checks.PICTURED]]
    return found, {row: data.take([row])[0].permute(1, 2, 0).numpy() for row in rows}


@st.cache_data(max_entries=8, show_spinner="Timing a few steps on this machine")
def seconds(dataset: str, at: float) -> float:
    """About how long a thorough run takes here."""
    data = load(dataset)
    return data_checks.seconds(data, data_checks.suited(data, mirror=False))


def review() -> None:
    """The progress of the run while it trains, then the desk."""
    name = run_picker.pick_run(with_epochs=False)
    where = runs().info(name)
    if where.active:
        training(name)
        return
    if where.state in ("failed", "stopped", "interrupted"):
        st.warning(f"This run {words_of(where.state)}: {escaping.lines(where.message)}.")
        st.page_link("views/train/page.py", label="Resume it on Train", query_params=link(run=name))
    run_picker.need_epochs(where)
    desk.desk(name)


def words_of(state: str) -> str:
    return {"failed": "failed", "stopped": "was stopped", "interrupted": "was interrupted"}[state]


def training(name: str) -> None:
    """How far the run is; the page goes on to the desk by itself."""

    def changed() -> str | None:
        runs().mark_watched(name)
        return None if runs().info(name).active else "app"

    @page.guarded
    def progress() -> None:
        where = runs().info(name)
        if where.state == "queued":
            st.info(f"Waiting for its turn: number {where.position} in the queue.")
            return
        share = (where.epoch + where.batch / max(where.n_batches, 1) / 2) / max(where.n_epochs, 1)
        left = time_left(where.seconds_left)
        paused = "Paused at" if where.state == "paused" else "Learning:"
        st.progress(min(share, 1.0), f"{paused} epoch {where.epoch + 1} of {where.n_epochs}{left}")
        st.markdown(
            "The network first learns what most labels agree on. Labels that go against it stand "
            "out, and the most doubtful ones will appear here when it is done. You may leave: the "
            "run goes on, and this link leads back to it."
        )

    live_updates.poll("learning", changed, every=1.0, draw=progress)
    st.page_link(
        "views/train/page.py",
        label="Watch it learn on Train",
        icon=":material/monitoring:",
        query_params=link(run=name),
    )


page.head(
    "Which of my labels are wrong?",
    "Bring your own images: MixNN learns from them, points at the labels that it doubts, and you "
    "decide. A few hundred clicks can save a data set of thousands.",
    "noisy labels",
    "given label",
    "soft label",
    "P(clean)",
    "label quality",
    "neighbors",
)
default = "check" if get("upload") else "review" if get("run") else "bring"
step = get("step") or default
st.segmented_control(
    "Step",
    list(STEPS),
    format_func=STEPS.get,
    required=True,
    label_visibility="collapsed",
    **bound("step", step),
)
{"bring": bring, "check": check, "review": review, "take": export_page.takehome}[step]()
