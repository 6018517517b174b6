"""python tests/benchmarks/hostile_addresses.py [--n 420] [--seed 0]: a server of its own gets
for hostile addresses, every parameter with hostile values. Every one must be answered, without an
exception box, without "Unexpected error", and with nothing of a stranger's text that acts."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg  # noqa: E402

from engine.config import configure  # noqa: E402
from engine.runs.runner import Runner  # noqa: E402
from tests.benchmarks.served import server  # noqa: E402
from tests.benchmarks.viewers import Viewer, spread  # noqa: E402
from tests.hostile import acting, addresses, named_by_strangers  # noqa: E402

WRONG = "Unexpected error"


class Reader(Viewer):
    """A viewer that searches everything it receives for active content."""

    def __post_init__(self):
        self.boxes: list[str] = []  # exceptions
        self.wrong: list[str] = []
        self.acted: list[str] = []
        self.not_found = False  # the address names no page
        super().__post_init__()

    def _on_page_not_found(self, message: ForwardMsg) -> None:
        self.not_found = True

    def _on_delta(self, message: ForwardMsg) -> None:
        super()._on_delta(message)
        kind = message.delta.WhichOneof("type")
        if kind not in ("new_element", "add_block"):
            return
        proto = getattr(message.delta, kind)
        self.acted += acting(proto)
        shown = proto.WhichOneof("type")
        if shown == "exception":
            self.boxes.append(proto.exception.message)
        elif shown == "alert" and WRONG in proto.alert.body:
            self.wrong.append(proto.alert.body)


async def ask(url: str, n: int, seed: int) -> int:
    """Every address by a visitor of its own; returns how many were answered wrongly."""
    nowhere = ("no_such_page", "no/such/page")
    requests = [*addresses(n, seed), *((page, {"run": "x"}) for page in nowhere)]
    failures, seconds = 0, []
    for page, params in requests:
        viewer = await Reader.join(url)
        try:
            answer = await viewer.open(page, **params)
            seconds.append(answer.seconds)
            problems = [("box", viewer.boxes), ("wrong", viewer.wrong), ("acts", viewer.acted)]
            found = {what: texts for what, texts in problems if texts}
            if viewer.not_found != (page in nowhere):
                found["page"] = ["not found" if viewer.not_found else "found"]
        except (RuntimeError, TimeoutError) as error:
            found = {"no answer": [str(error)]}
        if found:
            failures += 1
            shown = {name: value[:50] for name, value in params.items()}
            print(f"{page} {shown}: {str(found)[:300]}")
        await viewer.leave()
    numbers = spread(seconds)
    print(
        f"{len(requests)} addresses, {len(seconds)} answered, {failures} wrongly; "
        f"median {numbers['median']:.2f} s, p95 {numbers['p95']:.2f} s"
    )
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=420, help="addresses (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of their choice")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "runs"
        root.mkdir()
        made = Path(folder) / "made"
        Runner.new(configure(dataset="digits", limit=200, epochs=6, warmup=1), made).run()
        named_by_strangers(made, root)
        start = time.monotonic()
        with server(root) as url:
            failures = asyncio.run(ask(url, options.n, options.seed))
        print(f"{time.monotonic() - start:.0f} s in all")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
