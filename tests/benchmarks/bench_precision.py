"""Speedup of training and evaluation by bf16, channels-last, memory, compiling, folding, strips.

    python tests/benchmarks/bench_precision.py [--out assets/results/precision.json]

Seconds of a step and of an evaluation of a batch by network, first as the C library handles memory,
then with `retain_freed_memory`, after which there is no way back within a process.
"""

import torch
from common import finish, interleaved, options

from engine import models
from engine.config import registry
from engine.hardware import choose_device, hardware_info, retain_freed_memory
from engine.method import optimization
from engine.method.losses import soft_cross_entropy
from engine.models import layers

BATCH = 128
NETWORKS = {
    "small": (1, 8, 8),
    "resnet9-w16": (3, 32, 32),
    "resnet18": (3, 32, 32),
    "resnet34": (3, 32, 32),
}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def prepared(network: str, device: torch.device, layout: torch.memory_format):
    net = models.build(registry.function("networks", network), NETWORKS[network], 10, seed=0)
    net.to(device, memory_format=layout)
    images = torch.randn(BATCH, *NETWORKS[network], device=device).contiguous(memory_format=layout)
    return net, images


def step(
    network: str, device: torch.device, bf16: bool, layout: torch.memory_format, mode: str = "none"
):
    net, images = prepared(network, device, layout)
    optimizer = optimization.build("sgd", net.parameters(), momentum=0.9, weight_decay=5e-4)
    targets = torch.eye(10, device=device)[torch.randint(10, (BATCH,), device=device)]
    forward = models.compiled(net, mode)

    def run() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits, _ = forward(images)
        optimizer.zero_grad()
        soft_cross_entropy(logits, targets).mean().backward()
        optimizer.step()

    return run


def evaluation(network: str, device: torch.device, precision: str, mode: str = "none"):
    """precision "bf16" folds on a CPU; "float32" leaves the network as it is. Both compute bf16."""
    net, images = prepared(network, device, torch.channels_last)
    net = models.for_evaluation(net, device, precision, mode)

    def run() -> None:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            net(images)

    return run


def without_strips(run):
    """The same, with narrow images convolved one by one."""

    def plain() -> None:
        before, layers.NARROW = layers.NARROW, 0
        try:
            run()
        finally:
            layers.NARROW = before

    return plain


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--compile", nargs="*", default=[], help="modes of torch.compile")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    measured_on = hardware_info(device)
    results = {network: {} for network in arguments.networks}
    for kept in (False, True):
        if kept:
            retain_freed_memory()
        for network in arguments.networks:
            last = torch.channels_last
            cases = {
                f"{'bf16' if bf16 else 'float32'} {name}": step(network, device, bf16, layout)
                for bf16 in (False, True)
                for name, layout in LAYOUTS.items()
            }
            cases["evaluation"] = evaluation(network, device, "float32")
            cases["evaluation, folded"] = evaluation(network, device, "bf16")
            if device.type == "cpu":
                for name in ("bf16 channels_last", "evaluation, folded"):
                    cases[f"{name}, no strips"] = without_strips(cases[name])
            for mode in arguments.compile if kept else ():
                cases[f"bf16 channels_last, compiled {mode}"] = step(
                    network, device, True, last, mode
                )
                if device.type == "cpu":
                    cases[f"evaluation, folded, compiled {mode}"] = evaluation(
                        network, device, "bf16", mode
                    )
            found = interleaved(cases, 5 if network.startswith("resnet") else 15, device)
            name = "memory kept" if kept else "memory given back"
            results[network][name] = found
    finish("precision", measured_on, {"batch_size": BATCH}, results, arguments.out)


if __name__ == "__main__":
    main()
