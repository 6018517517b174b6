"""The lesson: every step predicted, run and explained; shared runs; a class; a teacher's link."""

import json
import re
import shutil

import numpy as np
import pytest

from app.server import class_answers, classes
from app.server.run_manager import Visitor, runs
from app.server.storage import storage_of
from app.views.lesson.steps import PERCENT, RATES, RUNS, STEPS, settings
from engine.analysis import lesson_explanations
from engine.analysis.lesson_explanations import Explanation
from engine.config import configure
from engine.runs.runner import Runner
from tests.app.conftest import ANYONE, app, n_epochs, texts, wait_until
from tests.conftest import quick_digits
from tests.records import keep_epochs

ANSWERS = {1: "peak", 2: "large", 3: "half", 4: "neighbors", 5: "90", 6: "alpha0"}


def brief(name: str, *, rate: float = 0.4, seed: int = 0):
    """The lesson's settings, but a run takes a second."""
    small = dict(limit=200, epochs=6, state_interval=1)
    return settings_of(name, rate=rate, seed=seed).changed(**small)


settings_of = settings


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of one run of each kind, to be copied."""
    folder = tmp_path_factory.mktemp("lesson")
    for name in RUNS:
        runner = Runner.new(brief(name), folder / name)
        runner.run()
        assert runner.status.state == "done", runner.status.error
    return folder


@pytest.fixture
def lesson(root, monkeypatch):
    """The lesson with brief runs, none of which is there yet."""
    monkeypatch.setattr("app.views.lesson.class_session.settings", brief)
    return root


@pytest.fixture
def prepared(lesson, trained):
    """The lesson with all runs there."""
    place(lesson, trained)
    return lesson


def place(root, trained, **names):
    """Put trained runs where the registry looks for shared ones; names: run -> folder."""
    root.mkdir(exist_ok=True)
    for name in RUNS:
        shutil.copytree(trained / name, root / name)
    keys = {json.dumps(brief(n).model_dump(mode="json"), sort_keys=True): n for n in RUNS}
    storage_of(root).replace("shared", keys)


def predict(at, step: int, answer: str | None = None):
    """Answer the question of a step and lock it in."""
    answer = ANSWERS[step] if answer is None else answer
    if STEPS[step - 1].kind == PERCENT:
        at.slider(key=f"lesson-answer-{step}").set_value(int(answer)).run()
    else:
        at.radio(key=f"lesson-answer-{step}").set_value(answer).run()
    at.button(key="lesson-lock").click().run()
    assert not at.exception
    return at


def all_done() -> bool:
    return not runs().active()


# --- the steps


@pytest.mark.parametrize("step", range(1, 7))
def test_a_step_asks_first_and_then_explains_in_four_sentences(prepared, step):
    at = app("lesson", lesson=step)
    assert f"{step}. {STEPS[step - 1].title}" in texts(at)
    assert STEPS[step - 1].question in texts(at)
    assert not at.get("plotly_chart")  # nothing is shown before the prediction
    assert at.button(key="lesson-lock").disabled == (STEPS[step - 1].kind != PERCENT)
    predict(at, step)
    assert len(at.get("plotly_chart")) >= 1
    text = texts(at)
    assert "You said: **" in text
    assert STEPS[step - 1].words_of(ANSWERS[step]) in text
    assert not at.error


@pytest.mark.parametrize("step", range(1, 7))
def test_skipping_the_question_shows_the_result(prepared, step):
    at = app("lesson", lesson=step)
    at.button(key="lesson-skip").click().run()
    assert "The result: **" in texts(at)
    assert "You said" not in texts(at)
    at.button(key="lesson-again").click().run()
    assert STEPS[step - 1].question in texts(at)


def test_the_way_through_all_six_steps_and_back(prepared):
    at = app("lesson")
    for step in range(1, 7):
        assert at.query_params.get("lesson", ["1"]) in (str(step), [str(step)])
        predict(at, step)
        if step < 6:
            at.button(key="lesson-next").click().run()
    bars = next(h.value for h in at.get("html") if "lesson-steps" in h.value)
    assert bars.count("lesson-done") == 5
    assert bars.count("lesson-here") == 1
    at.button(key="lesson-back").click().run()
    assert "5. Correction" in texts(at)
    assert "You said: **90 %**" in texts(at)  # an answer stays


def test_the_next_step_opens_without_an_answer(lesson):
    at = app("lesson")
    at.button(key="lesson-next").click().run()
    assert "2. Losses" in texts(at)
    assert runs().names() == []  # and no run is started by it


@pytest.mark.parametrize("text", ["0", "7", "x", "-1"])
def test_an_invalid_step_is_named_and_the_first_shown(lesson, text):
    at = app("lesson", lesson=text)
    assert f"lesson = '{text}' in the link: allowed is a step, 1 to 6" in texts(at)
    assert "1. Early learning" in texts(at)


# --- the runs


def test_an_answer_starts_the_run_and_shows_its_progress(lesson):
    at = predict(app("lesson"), 1)
    (where,) = [runs().info(name) for name in runs().names()]
    assert where.owner == "everyone"
    assert "Everybody in this lesson sees the same run" in texts(at) or where.state == "done"
    wait_until(all_done)
    at.run()
    assert "You said: **It rises first" in texts(at)
    assert n_epochs(runs().folder(where.name)) == 6


def test_the_curve_of_a_run_is_drawn_while_it_trains(lesson, monkeypatch):
    monkeypatch.setattr(
        "app.views.lesson.class_session.settings", lambda name, **_: quick_digits(epochs=5000)
    )
    at = predict(app("lesson"), 1)
    (name,) = runs().names()
    wait_until(lambda: runs().info(name).epoch > 1)
    at.run()
    assert "Test accuracy so far" in texts(at)
    assert at.get("vega_lite_chart") or at.get("arrow_vega_lite_chart")


def test_students_who_press_the_same_button_share_one_run(lesson):
    for _ in range(5):
        predict(app("lesson"), 1)
    wait_until(all_done)
    assert len(runs().names()) == 1


def test_a_queue_shows_the_position(lesson):
    long = runs().submit(quick_digits(epochs=5000), visitor=ANYONE)
    wait_until(lambda: runs().info(long).state == "running")
    at = predict(app("lesson", lesson=2), 2)
    lines = [str(bar.proto.text) for bar in at.get("progress")]
    assert any("MixNN: waiting, number 1 in the queue" in line for line in lines)
    assert any("plain training: waiting, number 2 in the queue" in line for line in lines)


def test_a_run_that_failed_says_why_and_can_be_tried_again(lesson, monkeypatch):
    monkeypatch.setattr(
        "app.views.lesson.class_session.settings",
        lambda name, **_: quick_digits(dataset="npz:/nowhere.npz"),
    )
    at = predict(app("lesson"), 1)
    wait_until(all_done)
    at.run()
    assert "is failed: /nowhere.npz does not exist" in texts(at)
    monkeypatch.setattr("app.views.lesson.class_session.settings", brief)
    at.button(key="lesson-train").click().run()
    wait_until(all_done)
    assert "You said" in texts(at.run())


def test_an_interrupted_run_continues(prepared):
    keep_epochs(prepared / "plain", 3)
    (prepared / "plain" / "status.json").unlink()
    at = predict_without_start(prepared)
    assert "was interrupted before its end" in texts(at)
    at.button(key="lesson-train").click().run()
    wait_until(all_done)
    assert n_epochs(prepared / "plain") == 6
    assert "You said" in texts(at.run())


def open_class(root, **settings) -> str:
    """The code of a class that someone else leads; results follow each answer."""
    free = dict(rate=0.4, seed=0, held=False, together=False)
    return classes.start(root, Visitor("ms-noether"), **free | settings).code


def predict_without_start(root):
    """An answer of an earlier visit, which starts nothing."""
    code = open_class(root)
    at = app("lesson", class_code=code)
    class_answers.record(root, code, 1, "peak", class_answers.token(code, visitor_of(at)))
    del at.session_state["lesson.mine"]
    return at.run()


def visitor_of(at) -> str:
    import hashlib

    return hashlib.sha256(at.session_state["visitor"]).hexdigest()[:12]


@pytest.mark.parametrize("damage", ["config.json", "epochs.jsonl"])
def test_a_broken_run_is_named_and_trained_again(prepared, damage):
    (prepared / "plain" / damage).write_text("{\n")
    at = predict_without_start(prepared)
    assert "The run of plain training is broken" in texts(at)
    at.button(key="lesson-train").click().run()
    wait_until(all_done)
    at.run()
    assert "You said" in texts(at)
    assert not at.error


def test_a_run_without_its_arrays_is_an_error_and_no_traceback(prepared):
    shutil.rmtree(prepared / "mixnn" / "arrays")
    at = app("lesson", lesson=2)
    at.button(key="lesson-skip").click().run()
    assert "loss cannot be read" in texts(at)
    assert "Unexpected error" not in texts(at)


def test_too_many_shared_runs_are_refused_in_words(lesson, monkeypatch):
    monkeypatch.setattr("app.server.shared_runs.MOST_SHARED", 0)
    at = predict(app("lesson"), 1)
    assert "allowed are 0 at once; try again in a minute" in texts(at)
    assert at.button(key="lesson-train")


def test_other_noise_and_seed_are_other_runs_and_in_the_link(lesson):
    at = app("lesson", lesson_rate=0.6, lesson_seed=3)
    assert "about 54 % of them a wrong label" in texts(at)
    predict(at, 1)
    wait_until(all_done)
    (name,) = runs().names()
    assert "0.6-seed3" in name
    at = app("lesson", lesson_rate=0.3)
    assert "lesson_rate = '0.3' in the link: allowed is 0.2 | 0.4 | 0.6" in texts(at)


# --- a class


def test_an_answer_that_is_not_kept_is_a_sentence_and_no_crash(prepared, monkeypatch):
    code = open_class(prepared)
    monkeypatch.setattr(class_answers, "MOST_CLASSES", 0)
    at = predict(app("lesson", class_code=code), 1, "rise")
    assert "answers of 0 classes are stored, the most allowed" in texts(at)
    assert "Unexpected error" not in texts(at)


def test_the_first_prediction_stays_and_a_second_answer_is_counted_apart(prepared):
    code = open_class(prepared)
    for number, answer in enumerate(["rise", "dip", "dip"]):
        class_answers.record(prepared, code, 1, answer, f"other {number}")
    at = app("lesson", class_code=code)
    assert f"answers of class {code}" not in texts(at)  # only after one's own
    predict(at, 1, "rise")
    assert f"**4 answers of class {code}**" in texts(at)
    at.button(key="lesson-again").click().run()
    assert "Your first prediction stays" in texts(at)
    predict(at, 1, "peak")
    assert class_answers.counts(prepared, code, 1) == {"rise": 2, "dip": 2}
    assert class_answers.counts(prepared, code, 1 + class_answers.AGAIN) == {"peak": 1}
    assert "You said: **It rises to the end" in texts(at)
    assert "After the result you said: It rises first and falls later" in texts(at)
    assert "**4 answers" in texts(at)
    assert "and 1 after the result was shown" in texts(at)
    assert "answers of class" not in texts(predict(app("lesson"), 1))


def test_an_answer_is_known_again_after_a_reload_and_a_skip_is_not_counted(prepared):
    at = predict_without_start(prepared)
    assert "You said: **It rises first and falls later**" in texts(at)
    code = open_class(prepared)
    other = app("lesson", class_code=code, lesson=2)
    other.button(key="lesson-skip").click().run()
    assert class_answers.counts(prepared, code, 2) == {}
    other.button(key="lesson-again").click().run()
    predict(other, 2)  # it was skipped, and the result seen
    assert class_answers.counts(prepared, code, 2) == {}


def test_invalid_answers_of_earlier_versions_are_ignored(prepared):
    code = open_class(prepared)
    class_answers.record(prepared, code, 1, "gone", "other")
    class_answers.record(prepared, code, 5, "900", "other")
    at = predict(app("lesson", class_code=code), 1)
    assert f"**1 answer of class {code}**" in texts(at)
    at = predict(app("lesson", class_code=code, lesson=5), 5)
    assert f"**1 answer of class {code}**" in texts(at)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("../x", "class_code = '../x' in the link: allowed is letters, digits and hyphens"),
        ("7b", "There is no class 7b on this server"),
    ],
)
def test_a_bad_class_code_is_named(lesson, code, says):
    at = app("lesson", class_code=code)
    for _ in range(12):  # more often than wrong codes are allowed
        assert says in texts(at)
        at.run()
        if "class_code =" in says:  # a problem of the link is shown once
            break
    assert STEPS[0].question in texts(at)


def test_a_class_is_joined_by_typing_its_code(prepared):
    code = open_class(prepared, together=True, step=3)
    at = app("lesson")
    at.text_input(key="lesson-code").set_value(code.upper())
    next(b for b in at.button if b.label == "Join the class").click().run()
    assert STEPS[2].question in texts(at)
    assert at.query_params["class_code"] in (code, [code])


def test_a_guide_hides_controls_and_fixes_settings(prepared):
    at = app("lesson", guide="1", lesson=3)
    assert "Other noise, another run" not in [e.label for e in at.get("expander")]
    assert not at.get("page_link")
    predict(at, 3)
    assert not at.get("page_link")
    assert "lesson-another" not in [button.key for button in at.button]
    assert {"lesson-back", "lesson-next"} <= {button.key for button in at.button}
    assert "No run chosen" not in texts(at)


# --- the numbers


def record(epoch: int, **metrics) -> dict:
    return {"epoch": epoch, "metrics": metrics}


def sentences(finding: Explanation) -> None:
    assert len(finding.sentences) == 4
    for sentence in finding.sentences:
        assert re.fullmatch(r"[A-Z0-9].*[^.]\.", sentence), sentence
        assert not re.search(r"[.!?] [A-Z]", sentence), sentence


@pytest.mark.parametrize(
    ("tests", "outcome", "says"),
    [
        ([0.5, 0.9, 0.7], "peak", "accuracy was 90.0 % after epoch 1"),
        ([0.5, 0.9, 0.89], "rise", "little harm"),
        ([0.2, 0.3, 0.2], "flat", "never learned"),
        ([0.5, 0.9, 0.5, 0.75], "dip", "the best one, 50.0 % after epoch 2, and 75.0 %"),
        ([0.5, 0.9, 0.5, 0.89], "dip", "little harm"),
    ],
)
def test_early_learning_is_read_from_the_curve(tests, outcome, says):
    made = [
        record(e, test_accuracy=t, memorized=0.1 + 0.4 * e, fit_clean=0.8)
        for e, t in enumerate(tests)
    ]
    finding = lesson_explanations.explain_early_learning(made)
    assert finding.outcome == outcome
    assert says in " ".join(finding.sentences)
    ends = "peak" if tests[-1] < 0.8 else "rise"  # of a dip: how it ends is right as well
    assert finding.is_correct(ends) or outcome == "flat"
    sentences(finding)


def test_a_run_without_memorization():
    made = [record(e, test_accuracy=0.9, memorized=0.05, fit_clean=0.9) for e in range(3)]
    assert (
        "predicted 5.0 % of the wrong labels, hardly more"
        in lesson_explanations.explain_early_learning(made).sentences[2]
    )


def test_losses_are_compared_by_pairs():
    wrong = np.array([True, True, False, False])
    clean = np.array([0.1, 0.9, 0.9, 0.2])
    apart, mixed = np.array([5.0, 6.0, 0.1, 0.2]), np.array([1.0, 4.0, 2.0, 3.0])
    good = lesson_explanations.explain_losses(apart, clean, wrong, mixed, 2)
    assert good.outcome == "large"
    assert good.numbers["auroc"] == 1.0
    assert good.numbers["late"] == 0.5  # by hand: 4 > 2, 4 > 3, but 1 < 2, 1 < 3
    assert good.numbers["precision"] == good.numbers["recall"] == 0.5
    assert "best early" in good.sentences[3]
    assert lesson_explanations.explain_losses(mixed, clean, wrong, apart, 2).outcome == "spread"
    assert lesson_explanations.explain_losses(-apart, clean, wrong, apart, 2).outcome == "small"
    assert (
        "flag no label"
        in lesson_explanations.explain_losses(apart, clean + 1, wrong, apart, 2).sentences[1]
    )
    for finding in (good, lesson_explanations.explain_losses(mixed, clean, wrong, apart, 2)):
        sentences(finding)


def test_neighbors_are_counted_by_true_class():
    true = np.array([0, 0, 0, 1, 1, 1])
    given = np.array([1, 0, 0, 1, 1, 0])  # the first and the last are wrong
    neighbors = np.array([[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 0]])
    finding = lesson_explanations.explain_neighbors(neighbors, given, true)
    assert finding.numbers["same"].tolist() == [0, 1, 1]
    assert finding.numbers["mean"] == 1.5
    assert finding.numbers["elected"] == 1.0  # labels 0, 0 name 0; 1, 1 name 1, one by mistake
    assert finding.outcome == "most"
    sentences(finding)
    strangers = np.array([[3, 4], [0, 2], [0, 1], [4, 5], [3, 5], [1, 2]])
    few = lesson_explanations.explain_neighbors(strangers, given, true)
    assert few.outcome == "few"
    assert "weak evidence" in few.sentences[3]


def test_mixing_says_who_gets_the_weight():
    true, given = np.array([0, 0, 1]), np.array([1, 0, 1])
    neighbors, soft = np.array([[1], [0], [1]]), np.eye(2)[given]
    weights = np.array([[0.1, 0.9], [0.8, 0.2], [1.0, 0.0]])
    finding = lesson_explanations.explain_mixing(weights, neighbors, soft, given, true)
    assert finding.outcome == "neighbors"
    assert finding.numbers["own_wrong"] == 0.1
    assert finding.numbers["own_right"] == 0.9
    assert finding.numbers["on_true"] == pytest.approx(0.9)  # 0.9 of a label that says 0
    assert "correct the wrong label" in finding.sentences[3]
    sentences(finding)
    selfish = lesson_explanations.explain_mixing(weights[[2, 1, 0]], neighbors, soft, given, true)
    assert selfish.outcome == "itself"
    assert "corrected few" in selfish.sentences[3]


def test_correction_counts_corrected_and_harmed_labels():
    true, given = np.array([0, 0, 1, 1]), np.array([1, 0, 1, 0])
    corrected = np.array([0, 1, 1, 1])
    made = [record(29, test_accuracy=0.9)], [record(29, test_accuracy=0.7)]
    finding = lesson_explanations.explain_correction(*made, given, corrected, true)
    assert finding.outcome == "75"
    assert (finding.numbers["corrected"], finding.numbers["harmed"]) == (2, 1)
    assert finding.is_correct("80")
    assert finding.is_correct("70")
    assert not finding.is_correct("81")
    assert "better labels" in finding.sentences[3]
    sentences(finding)
    nothing = lesson_explanations.explain_correction(*made, given, given, true)
    assert "did not help" in nothing.sentences[3]
    unused = lesson_explanations.explain_correction(made[1], made[0], given, corrected, true)
    assert "test accuracy did not" in unused.sentences[3]


def test_the_costliest_change_is_found_and_ties_count():
    def ended(test: float, label: float) -> list[dict]:
        return [record(29, test_accuracy=test, label_accuracy=label)]

    made = {
        "mixnn": ended(0.97, 0.98),
        "many": ended(0.8, 0.9),
        "alpha0": ended(0.805, 0.9),
        "alpha1": ended(0.95, 0.64),
        "quiet": ended(0.97, 0.99),
        "quiet_plain": ended(0.98, 0.95),
    }
    finding = lesson_explanations.explain_failures(made)
    assert finding.outcome == "many"
    assert finding.is_correct("alpha0")  # half a point less: chance
    assert not finding.is_correct("alpha1")
    assert "17.0 percentage points" in finding.sentences[3]
    sentences(finding)
    none = lesson_explanations.explain_failures(
        made | {name: ended(0.96, 0.98) for name in ("many", "alpha0", "alpha1")}
    )
    assert none.outcome == "none"
    assert none.is_correct("none")
    assert not none.is_correct("many")


def test_every_outcome_of_a_step_is_an_option():
    assert [step.number for step in STEPS] == [1, 2, 3, 4, 5, 6]
    assert all(set(step.runs) <= set(RUNS) for step in STEPS)
    assert all(settings(name, rate=rate) for name in RUNS for rate in RATES)
    assert settings("mixnn") == configure(dataset="digits", rate=0.4, k=5, seed=0)
    outcomes = {
        1: {"rise", "peak", "dip", "flat"},
        2: {"large", "small", "spread"},
        3: {"most", "half", "few"},
        4: {"itself", "equal", "neighbors"},
        6: {"many", "alpha0", "alpha1", "quiet", "none"},
    }
    for number, names in outcomes.items():
        assert set(STEPS[number - 1].options) == names


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0.0 %"),
        (1.0, "100.0 %"),
        (0.9999, "more than 99.9 %"),
        (0.0001, "less than 0.1 %"),
        (0.976, "97.6 %"),
    ],
)
def test_only_all_is_a_hundred_percent(share, text):
    assert lesson_explanations.percent(share) == text
