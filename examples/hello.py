# /// script
# requires-python = ">=3.8"
# dependencies = []
# ///
"""Logs a learning curve that looks like one, in about a second. Needs nothing but Python.

    stoa run examples/hello.py
    python examples/hello.py --steps 50
"""

import argparse
import math
import random
import time

try:
    import stoa  # present in every Stoa run, nothing to install
except ImportError:
    stoa = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="points of the curve (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="time to spread them over (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (default: %(default)s)")
    args = parser.parse_args()
    if args.steps < 1:
        parser.error("--steps must be at least 1")

    noise = random.Random(args.seed)
    loss = accuracy = math.nan
    for step in range(1, args.steps + 1):
        progress = step / args.steps
        loss = 2.3 * math.exp(-4 * progress) + 0.05 + 0.04 * noise.random()
        accuracy = 1 - math.exp(-3 * progress) * 0.9 - 0.03 * noise.random()
        if stoa:
            stoa.log({"loss": loss, "accuracy": accuracy}, step=step)
        time.sleep(args.seconds / args.steps)

    print(f"hello: {args.steps} steps, loss {loss:.3f}, accuracy {accuracy:.3f}")
    if stoa:
        stoa.summary({"loss": loss, "accuracy": accuracy, "steps": args.steps})


if __name__ == "__main__":
    main()
