"""What bf16 and channels-last bring: seconds of a training step by network and layout.

python tests/benchmarks/bench_precision.py [--out assets/results/precision.json]
"""

import torch
from common import finish, interleaved, options

from engine import model, optim
from engine.device import choose_device, machine
from engine.losses import soft_cross_entropy

BATCH = 128
NETWORKS = {"small": (1, 8, 8), "fast": (3, 32, 32), "resnet18": (3, 32, 32)}


def step(network: str, device: torch.device, bf16: bool, layout: torch.memory_format):
    net = model.build(network, NETWORKS[network], 10, seed=0).to(device, memory_format=layout)
    optimizer = optim.build("sgd", net.parameters(), momentum=0.9, weight_decay=5e-4)
    images = torch.randn(BATCH, *NETWORKS[network], device=device).contiguous(memory_format=layout)
    targets = torch.eye(10, device=device)[torch.randint(10, (BATCH,), device=device)]

    def run() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits, _ = net(images)
        optimizer.zero_grad()
        soft_cross_entropy(logits, targets).mean().backward()
        optimizer.step()

    return run


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    measured_on = machine(device)
    layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    results = {}
    for network in arguments.networks:
        cases = {
            f"{'bf16' if bf16 else 'float32'} {name}": step(network, device, bf16, layout)
            for bf16 in (False, True)
            for name, layout in layouts.items()
        }
        results[network] = interleaved(cases, 5 if network == "resnet18" else 15, device)
    finish("precision", measured_on, {"batch_size": BATCH}, results, arguments.out)


if __name__ == "__main__":
    main()
