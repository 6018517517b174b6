"""A class as its teacher and its students see it: leading, results, questions, exports."""

import pytest

from app.server import class_answers, classes
from app.server.class_answers import AFTER, AGAIN, BEFORE, NAME
from app.server.run_manager import Visitor, runs
from app.views.lesson import class_results, join_link
from app.views.lesson.questions import QUESTIONS
from app.views.lesson.steps import STEPS
from engine.analysis.lesson_explanations import Explanation
from engine.files import frame_csv
from tests.app.conftest import app, texts
from tests.app.views.test_lesson import (  # noqa: F401 - fixtures
    lesson,
    open_class,
    place,
    predict,
    prepared,
    trained,
    visitor_of,
)

FOUND = {1: Explanation("dip", ("",) * 4, {"as_good": ["peak"]}), 5: Explanation("90", ("",) * 4)}


def press(at, key: str):
    at.button(key=key).click().run()
    assert not at.exception
    return at


def started(**settings):
    """A class, as its teacher sees it, and its code."""
    at = app("lesson", lesson_view="teacher")
    for name, value in settings.items():
        at.toggle(key=f"class-{name}").set_value(value).run()
    press(at, "class-go")
    (code,) = classes_of(at)
    return at, code


def classes_of(at) -> list[str]:
    return [one.code for one in classes.of_owner(runs().root, Visitor(visitor_of(at)))]


def student(code: str, **params):
    return app("lesson", guide="1", class_code=code, **params)


def test_a_class_is_led_from_the_first_question_to_the_end(prepared):  # noqa: F811
    teacher, code = started(questions=False)
    assert f"guide=1&class_code={code}" in teacher.code[0].value
    ann, bob = student(code), student(code)
    predict(ann, 1, "rise")
    assert "The result comes when your teacher shows it" in texts(ann)
    assert not ann.get("plotly_chart")
    assert "lesson-next" not in [b.key for b in ann.button]
    press(ann, "lesson-again")
    predict(ann, 1, "dip")  # before the result: still a prediction
    assert "**1 answer of class" in texts(teacher.run())
    assert "2 students are here**, 1 of them answered" in texts(teacher)
    teacher.toggle(key="w-class-voting").set_value(False).run()
    assert bob.run().button(key="lesson-lock").disabled
    assert "Voting is closed" in texts(bob)
    press(teacher, "class-reveal")
    assert "You said: **It rises, falls" in texts(ann.run())
    assert "The result: **" in texts(bob.run())
    predict(press(bob, "lesson-again"), 1, "dip")
    assert class_answers.counts(prepared, code, 1) == {"dip": 1}
    assert class_answers.counts(prepared, code, 1 + AGAIN) == {"dip": 1}
    press(teacher, "class-next")
    assert STEPS[1].question in texts(ann.run())
    assert teacher.selectbox(key="w-class-step-1").value == 2  # a late event of the old one is lost
    assert not classes.find(prepared, code).shows_result(2, True)
    at = teacher.segmented_control(key="w-class-phase").set_value("end").run()
    assert "Predictions" in [s.value for s in at.subheader]
    assert STEPS[0].learned in texts(ann.run())
    assert "of your first predictions came true" in texts(ann)
    assert any("/player?run=mixnn" in block.value for block in ann.code)


def test_a_student_cannot_lead(prepared):  # noqa: F811
    code = open_class(prepared, held=True)
    for view in ("teacher", "projector"):
        at = app("lesson", class_code=code, lesson_view=view)
        assert "class-reveal" not in [b.key for b in at.button]
        assert not at.get("download_button")
        assert "browser" in texts(at)


def test_where_there_is_a_teacher_only_the_teacher_starts(lesson, monkeypatch):  # noqa: F811
    monkeypatch.setenv("MIXNN_PASSCODE", "owl")
    at = app("lesson", lesson_view="teacher")
    assert "class-go" not in [b.key for b in at.button]
    at.text_input[0].set_value("owl")
    next(b for b in at.button if b.label == "Unlock").click().run()
    press(at, "class-go")
    assert len(classes_of(at)) == 1


def test_names_are_asked_for_and_shown_to_the_teacher_literally(prepared):  # noqa: F811
    teacher, code = started(questions=False, names=True)
    ann = student(code)
    assert STEPS[0].question not in texts(ann)
    ann.text_input(key="lesson-name").set_value("<b>*Ann*</b> ![x](y)")
    next(b for b in ann.button if b.label == "Join").click().run()
    assert STEPS[0].question in texts(ann)
    assert "<b>*Ann*</b> ![x](y) …" in texts(teacher.run())
    assert "Ann" not in texts(app("lesson", class_code=code))


def test_ten_questions_before_and_after_show_the_gain(prepared):  # noqa: F811
    teacher, code = started()
    ann = student(code)

    def fill_in(offset: int, n_right: int) -> None:
        for number, question in enumerate(QUESTIONS[:n_right], 1):
            ann.radio(key=f"question-{offset}-{number}").set_value(str(question.right))
        next(b for b in ann.button if b.label == "Hand in").click().run()
        assert "Your answers are stored" in texts(ann)

    fill_in(BEFORE, 3)
    teacher.segmented_control(key="w-class-phase").set_value("after").run()
    ann.run()
    fill_in(AFTER, 8)
    gains = class_results.gains(class_answers.of_class(prepared, code))
    assert gains["Gain"].tolist() == [0] * 3 + [100] * 5 + [0] * 2
    assert gains["Students"].tolist() == [1] * 10
    assert len(teacher.run().dataframe) == 2


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.topic)
def test_each_question_has_four_answers_of_which_one_is_right(question):
    assert len({*question.options}) == 4
    assert sum(question.is_right(str(i)) for i in range(4)) == 1
    longest = max(range(4), key=lambda i: len(question.options[i]))
    rest = [len(o) for i, o in enumerate(question.options) if i != longest]
    assert len(question.options[longest]) < 2.2 * max(rest)  # its length does not give it away


def test_the_right_answers_have_no_pattern():
    right = [question.right for question in QUESTIONS]
    assert all(2 <= right.count(i) <= 3 for i in range(4))
    assert sum(question.transfer for question in QUESTIONS) >= 3


def test_all_answers_in_one_table_that_no_spreadsheet_executes():
    answers = {
        "a": {NAME: "=HYPERLINK(1)", 1: "peak", 1 + AGAIN: "rise", 5: "", BEFORE + 1: "2"},
        "b": {1: "gone", 5: "88", AFTER + 1: "?", AFTER + 99: "0", 42: "x"},
    }
    table = class_results.table(answers, FOUND)
    assert len(table) == 7  # without questions that do not exist
    assert table["right"].tolist() == ["yes", "no", "", "yes", "", "yes", "no"]
    assert table["kind"].nunique() == 4
    text = frame_csv(table)
    assert "'=HYPERLINK(1)" in text
    assert "student 2" in text
    one = classes.Class("abc", "me", 0.0, 0.4, 0)
    sheet = class_results.sheet(one, answers | {"c": {1: "<script>x"}}, FOUND)
    assert "<script" not in sheet
    assert "HYPERLINK" not in sheet  # no names on it
    assert "3 students" in sheet


def test_scores_count_first_predictions_alone():
    answers = {"a": {1: "peak", 5: "84"}, "b": {1: "rise", 1 + AGAIN: "dip", 5: "88"}, "c": {1: ""}}
    scores = class_results.scores(answers, FOUND).set_index("Step")
    early = scores.loc["1. Early learning"]
    assert (early["Predicted"], early["Right"]) == (2, 1)
    assert (early["Answered again"], early["Right then"]) == (1, 1)
    assert scores.loc["5. Correction", "Right"] == 1
    assert scores.loc["2. Losses", "Result"] == "not trained yet"
    assert class_results.score_of(answers["a"], FOUND) == (1, 2)


def test_the_address_for_students_is_not_localhost(monkeypatch):
    monkeypatch.setattr(join_link, "network_address", lambda: "10.1.2.3")

    class Here:
        url = "http://localhost:8501/base/lesson"

    monkeypatch.setattr(join_link.st, "context", Here)
    assert join_link.page_address("lesson", guide="1") == "http://10.1.2.3:8501/base/lesson?guide=1"
    Here.url = "https://mixnn.school.edu/lesson"
    assert join_link.page_address("player") == "https://mixnn.school.edu/player"
    monkeypatch.setattr(join_link, "network_address", lambda: None)
    Here.url = "http://[::1]:8501/lesson"
    assert join_link.page_address("lesson") == "http://[::1]:8501/lesson"


def test_the_projector_shows_one_question_and_then_the_result(prepared):  # noqa: F811
    teacher, code = started(questions=False)
    teacher.session_state["choices"] |= {"lesson_view": "projector", "guide": True}
    teacher.run()
    assert STEPS[0].question in texts(teacher)
    bars = [h.value for h in teacher.get("html") if "class-bars" in h.value]
    assert all(words in bars[0] for words in STEPS[0].options.values())
    assert not teacher.get("plotly_chart")
    classes.change(prepared, code, Visitor(visitor_of(teacher)), given=(1,))
    teacher.run()
    assert len(teacher.get("plotly_chart")) == 1
    assert not teacher.get("download_button")
