"""Memory of a large table of soft labels: the peak of an evaluation that corrects all labels.

    python tests/benchmarks/bench_memory.py [--out assets/results/memory.json]

Gray 8 x 8 noise images, so that the table of N samples and C classes is nearly all there is.
"""

import resource
import time

import torch
from common import finish, options

from engine.config import configure
from engine.data.base import assemble
from engine.hardware import hardware_info, threads
from engine.training.control import Control
from engine.training.evaluation import estimate_clean_probability, evaluate
from engine.training.train import prepare_state


def peak() -> int:
    """Megabytes that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=1000)
    arguments = parser.parse_args()
    n, n_classes = arguments.n, arguments.classes
    images = torch.randint(256, (n, 1, 8, 8), dtype=torch.uint8)
    labels = torch.arange(n) % n_classes
    names = [str(c) for c in range(n_classes)]
    data = assemble("noise", (images, labels), (images[:10], labels[:10]), names)
    config = configure(preset="plain", network="small", noise="none", device=arguments.device)
    before = peak()
    state = prepare_state(config, data)
    made = peak()
    start = time.perf_counter()
    with threads(state.threads):
        evaluation = evaluate(state, state.evaluation_network(), Control(), 0, correct=True)
        estimate_clean_probability(state, evaluation)
    results = {
        "type": str(state.soft.dtype),
        "table_megabytes": state.soft.nbytes // 2**20,
        "peak_megabytes": {"images": before, "state": made, "look": peak()},
        "look_seconds": time.perf_counter() - start,
    }
    settings = {"n": n, "classes": n_classes}
    finish("memory", hardware_info(state.device), settings, results, arguments.out)


if __name__ == "__main__":
    main()
