"""Every hostile upload through the real door, and what each took.

python tests/benchmarks/hostile_uploads.py --out hostile.json
"""

import collections
import io
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from app.server.uploads import paths, registry  # noqa: E402
from app.server.uploads.jobs import Job  # noqa: E402
from app.server.uploads.limits import Limits  # noqa: E402
from app.server.uploads.safe_zip import UploadError  # noqa: E402
from engine.data import load  # noqa: E402
from engine.hardware import choose_device, hardware_info  # noqa: E402
from tests import hostile_files as hostile  # noqa: E402
from tests.app.server.test_hostile import NO_SENTENCE  # noqa: E402
from tests.benchmarks.common import finish, options  # noqa: E402

MB = 1 << 20


def one(case: hostile.Case, root: Path, marker: Path) -> dict:
    """Outcome, reason, seconds and memory of one upload."""
    content, job = case.make(), Job()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, notes, reason = time.perf_counter(), [], ""
    try:
        about = registry.receive(io.BytesIO(content), "mine.zip", root, job)
        notes, outcome = [*about.notes, *load(about.dataset).notes], "taken"
        shutil.rmtree(root / paths.FOLDER / about.key)
    except UploadError as error:
        outcome, reason = "refused", str(error)
        if NO_SENTENCE.search(reason):
            outcome = "refused without a sentence"
    except Exception as error:
        outcome, reason = "crash", repr(error)
    left = [path for path in root.parent.rglob("*") if path.is_file()]
    for path in left:
        path.unlink()
    expected = case.outcome in ("either", outcome) and case.reason in reason + " ".join(notes)
    return {
        "case": case.name,
        "bytes": len(content),
        "outcome": outcome,
        "reason": reason,
        "as_expected": expected and outcome in ("taken", "refused"),
        "left_over": len(left),
        "ran": marker.exists(),
        "seconds": round(time.perf_counter() - start, 2),
        "peak_mb": job.peak // MB,
        "server_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024,
    }


def main() -> None:
    given = options(__doc__).parse_args()
    measured_on = hardware_info(choose_device(given.device))
    load("digits")  # torch is in memory before the first upload
    with tempfile.TemporaryDirectory() as folder:
        root, marker = Path(folder) / "a" / "runs", Path(folder) / "ran"
        root.mkdir(parents=True)
        rows = [one(case, root, marker) for case in hostile.cases(str(marker))]
    counts = collections.Counter(row["outcome"] for row in rows)
    for row in rows:
        if not row["as_expected"] or row["left_over"] or row["ran"] or row["seconds"] > 5:
            print(row)
    print(f"{'outcome':30}{'cases':>8}{'most seconds':>14}{'most MB':>9}")
    for outcome, n in counts.most_common():
        own = [row for row in rows if row["outcome"] == outcome]
        seconds, peak = (max(row[key] for row in own) for key in ("seconds", "peak_mb"))
        print(f"{outcome:30}{n:8}{seconds:14.2f}{peak:9}")
    summary = {
        "cases": len(rows),
        "not_as_expected": sum(not row["as_expected"] for row in rows),
        "left_over": sum(row["left_over"] for row in rows),
        "ran": any(row["ran"] for row in rows),
        "server_mb": max(row["server_mb"] for row in rows),
    }
    print(summary)
    settings = {"limits": vars(Limits.from_environment())}
    finish("hostile_uploads", measured_on, settings, summary | {"each": rows}, given.out)


if __name__ == "__main__":
    main()
