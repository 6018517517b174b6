"""What came of a class: scores, the gain by question, and all answers as CSV or to print."""

import time
from collections.abc import Mapping
from typing import Any

import pandas as pd

from app.server import class_answers, escaping
from app.server.class_answers import AFTER, AGAIN, BEFORE, NAME
from app.server.classes import Class
from app.server.visible_runs import runs
from app.views.lesson.questions import QUESTIONS
from app.views.lesson.steps import STEPS
from engine.analysis.lesson_explanations import Explanation

Answers = Mapping[str, Mapping[int, str]]  # token -> question -> answer, see `class_answers`
Findings = Mapping[int, Explanation]  # step -> its outcome, of steps whose runs are done
STYLE = """body { font: 15px/1.4 sans-serif; margin: 2em; max-width: 60em }
table { border-collapse: collapse; width: 100%; margin: 0 0 1.5em }
th, td { border-bottom: 1px solid #999; padding: 3px 10px 3px 0; text-align: left }
td.n { text-align: right } h2 { font-size: 1.1em; margin: 0 0 .3em; break-after: avoid }
table { break-inside: avoid }"""


def of_class(one: Class) -> Answers:
    """All answers of a class. Raises StorageError."""
    return class_answers.of_class(runs().root, one.code)


def scores(answers: Answers, findings: Findings) -> pd.DataFrame:
    """A row a step: how many predicted, the share of right ones among them, second answers."""
    rows = []
    for step in STEPS:
        finding = findings.get(step.number)
        first = [a for one in answers.values() if (a := one.get(step.number)) and step.takes(a)]
        later = [
            a for one in answers.values() if (a := one.get(step.number + AGAIN)) and step.takes(a)
        ]
        rows.append(
            {
                "Step": f"{step.number}. {step.title}",
                "Predicted": len(first),
                "Right": None if finding is None else sum(map(finding.is_correct, first)),
                "Answered again": len(later),
                "Right then": None if finding is None else sum(map(finding.is_correct, later)),
                "Result": "not trained yet" if finding is None else step.words_of(finding.outcome),
            }
        )
    return pd.DataFrame(rows).astype({"Right": "Int64", "Right then": "Int64"})


def score_of(mine: Mapping[int, str], findings: Findings) -> tuple[int, int]:
    """How many first predictions of a student came true, and of how many steps with a result."""
    right = sum(
        finding.is_correct(answer)
        for number, finding in findings.items()
        if (answer := mine.get(number)) and STEPS[number - 1].takes(answer)
    )
    return right, len(findings)


def gains(answers: Answers) -> pd.DataFrame:
    """A row a question: shares of right answers before and after, in percent.

    Gain: percentage points, of those only who answered before and after.
    """
    rows = []
    for number, question in enumerate(QUESTIONS, 1):
        before, after = (
            {
                token: question.is_right(one[offset + number])
                for token, one in answers.items()
                if offset + number in one
            }
            for offset in (BEFORE, AFTER)
        )
        both = before.keys() & after.keys()
        gain = sum(after[token] - before[token] for token in both)
        rows.append(
            {
                "Question": f"{number}. {question.topic}" + " (transfer)" * question.transfer,
                "Before": _percent(sum(before.values()), len(before)),
                "After": _percent(sum(after.values()), len(after)),
                "Gain": _percent(gain, len(both)),
                "Students": len(both),
            }
        )
    return pd.DataFrame(rows)


def _percent(n: int, of: int) -> float:
    return 100 * n / of if of else float("nan")


def table(answers: Answers, findings: Findings) -> pd.DataFrame:
    """All answers, one a row: student (a number, or the name that was given), kind, question,
    answer, right ("yes", "no", or empty if the result is not known)."""
    rows = []
    for number, one in enumerate(answers.values(), 1):
        student = one.get(NAME) or f"student {number}"
        for asked, answer in one.items():
            if asked != NAME and (row := _row(asked, answer, findings)) is not None:
                rows.append({"student": student} | row)
    return pd.DataFrame(rows, columns=["student", "kind", "question", "answer", "right"])


def _row(asked: int, answer: str, findings: Findings) -> dict[str, Any] | None:
    """One answer in words; None if the question does not exist any more."""
    offset, number = asked - asked % AGAIN, asked % AGAIN
    if offset in (BEFORE, AFTER):
        if number > len(QUESTIONS):
            return None
        question = QUESTIONS[number - 1]
        return {
            "kind": "before the lesson" if offset == BEFORE else "after the lesson",
            "question": f"{number}. {question.text}",
            "answer": question.words_of(answer),
            "right": "yes" if question.is_right(answer) else "no",
        }
    if number > len(STEPS):
        return None
    step, finding = STEPS[number - 1], findings.get(number)
    known = finding is not None and answer and step.takes(answer)
    return {
        "kind": "answer after the result" if offset == AGAIN else "prediction",
        "question": f"{number}. {step.title}: {step.question}",
        "answer": step.words_of(answer) if answer else "I do not know",
        "right": ("yes" if finding.is_correct(answer) else "no") if finding and known else "",
    }


def sheet(one: Class, answers: Answers, findings: Findings) -> str:
    """A page (HTML) to print: scores, gains, and how many gave each answer, without names."""
    day = time.strftime("%Y-%m-%d", time.localtime(one.started))
    parts = [f"<h1>Class {escaping.html(one.code)}, {day}: {len(answers)} students</h1>"]
    parts += ["<h2>Predictions</h2>", _html(scores(answers, findings))]
    if one.questions:
        parts += [
            "<h2>Ten questions, percent right before and after</h2>",
            _html(gains(answers).round(0)),
        ]
    for (_, question), group in table(answers, findings).groupby(["kind", "question"], sort=False):
        counts = group.groupby(["answer", "right"]).size().reset_index(name="students")
        kind = group["kind"].iloc[0]
        parts += [f"<h2>{escaping.html(question, 500)} ({kind})</h2>", _html(counts)]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Class {one.code}</title>'
        f"<style>{STYLE}</style>{''.join(parts)}</html>"
    )


def _html(frame: pd.DataFrame) -> str:
    """A table as HTML, texts shown literally."""
    heads = "".join(f"<th>{escaping.html(name)}</th>" for name in frame.columns)
    rows = [
        "".join(
            f"<td class=n>{'' if pd.isna(cell) else f'{cell:g}'}</td>"
            if not isinstance(cell, str)
            else f"<td>{escaping.html(cell, 500)}</td>"
            for cell in row
        )
        for row in frame.itertuples(index=False)
    ]
    return f"<table><tr>{heads}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
