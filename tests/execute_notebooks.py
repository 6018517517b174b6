"""Execute the notebooks in place, and keep what a code host can show and nothing else.

python -m tests.execute_notebooks [NAME ...]       # 01_noise ...; all of them by default
python -m tests.execute_notebooks --graded FOLDER  # copies that grade empty answers and solutions
"""

import argparse
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

import nbformat

from engine.reports.classkit import INSTRUCTOR, STUDENT, build

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
ANSWER, SOLUTION = "otter_answer_cell", "otter_assign_solution_cell"
WIDGET, PNG = "application/vnd.jupyter.widget-view+json", "image/png"
HIDDEN = re.compile(r"<details>.*?</details>", re.DOTALL)
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def solutions(notebook) -> list[str]:
    """The code in the hidden solutions, in order."""
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    return [
        code for text in texts for hidden in HIDDEN.findall(text) for code in CODE.findall(hidden)
    ]


def graded(student, instructor):
    """A copy of a class kit's notebook that asserts its grades.

    Empty answers get no point of any question, and the solutions all of them, hidden ones included.
    """
    answers = iter(cell.source for cell in student.cells if ANSWER in tags(cell))
    copy = nbformat.from_dict(instructor)
    copy.cells, number = [], 0
    for cell in instructor.cells:
        if cell.cell_type != "code" or SOLUTION not in tags(cell):
            copy.cells.append(cell)
            continue
        number += 1
        check = f'grader.check("exercise{number}")'
        for source in (
            next(answers),
            f"assert {check}.score == 0",
            cell.source,
            f"assert {check}.passed_all, {check}.summary()",
        ):
            copy.cells.append(nbformat.v4.new_code_cell(source))
    assert number
    assert not list(answers)
    return copy


def tags(cell) -> list[str]:
    """The tags of a cell, those by otter-grader among them."""
    return cell.metadata.get("tags", [])


def execute(path: Path) -> None:
    """Run a notebook from its folder and write it with its outputs."""
    from nbclient import NotebookClient

    notebook = nbformat.read(path, 4)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    nbformat.write(cleaned(notebook), path)


def cleaned(notebook):
    """Without what changes from machine to machine, and without sliders that no kernel moves."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if PNG in output.get("data", {}):
                output.data.pop(WIDGET, None)
    return notebook


def run_of_the_app(root: Path) -> None:
    """A run that the app makes and 06 finds."""
    from app.server.run_manager import EVERYONE, RunManager
    from engine.config import configure

    runs = RunManager(root)
    name = runs.submit(configure(rate=0.2, seed=1, epochs=15), visitor=EVERYONE)
    while runs.info(name).active:
        time.sleep(0.2)
    runs.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="stems of the files in notebooks/")
    parser.add_argument("--graded", type=Path, metavar="FOLDER", help="write copies there instead")
    options = parser.parse_args()
    paths = [
        p for p in sorted(FOLDER.glob("*.ipynb")) if p.stem in options.names or not options.names
    ]
    if options.graded:
        kit = options.graded / "kit"
        build(kit, options.names)
        for path in sorted((kit / STUDENT).glob("*.ipynb")):
            versions = (nbformat.read(kit / each / path.name, 4) for each in (STUDENT, INSTRUCTOR))
            nbformat.write(graded(*versions), options.graded / path.name)
        shutil.rmtree(kit)
        return
    with tempfile.TemporaryDirectory() as root:
        os.environ["MIXNN_RUNS"] = root
        if any(path.stem.startswith("06") for path in paths):
            run_of_the_app(Path(root))
        for path in paths:
            start = time.perf_counter()
            execute(path)
            size = path.stat().st_size / 1e6
            print(f"{path.stem}: {time.perf_counter() - start:.1f} s, {size:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
