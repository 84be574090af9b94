# /// script
# requires-python = ">=3.10"
# dependencies = [
#     "gymnasium>=1.0",
#     "stable-baselines3>=2.4",
#     "torch>=2.3",
# ]
# ///
"""Trains PPO on CartPole-v1 until the pole stays up, then proves it on episodes it has never seen.

    stoa run examples/cartpole_ppo.py
    uv run examples/cartpole_ppo.py --seed 7

A plain script: it needs no Stoa. Inside a Stoa run the same script also draws its curves.
Exit code 0 when solved (mean reward of at least 475 over the evaluation), 1 when not.
"""

import argparse
import os
import resource
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import KVWriter, Logger

try:
    import stoa  # present in every Stoa run, nothing to install
except ImportError:
    stoa = None

SOLVED_AT = 475.0
ENVIRONMENTS = 8
STEPS_PER_ROLLOUT = 32
# Training resets its environments with `seed` to `seed + 7`; evaluation starts far above, so that no seed is used twice.
FIRST_EVALUATION_SEED = 1_000_000


class Progress(KVWriter):
    """Receives what Stable-Baselines3 logs after each rollout: curves go to Stoa, a line now and then to the terminal."""

    def __init__(self, total_steps: int, lines: int = 10) -> None:
        self.total_steps = total_steps
        self.every = max(1, total_steps // lines)
        self.next_line = self.every

    def write(self, key_values, key_excluded, step=0) -> None:
        numbers = {key: value for key, value in key_values.items() if isinstance(value, (int, float, np.number))}
        if stoa:
            stoa.log(numbers, step=step)
        if step >= self.next_line:
            self.next_line += self.every
            reward = numbers.get("rollout/ep_rew_mean", float("nan"))
            loss = numbers.get("train/loss", float("nan"))
            print(f"step {step:>7,} of {self.total_steps:,}   reward {reward:6.1f}   loss {loss:8.4f}", flush=True)

    def close(self) -> None:
        pass


def falling(start: float):
    """A value that falls linearly from `start` to 0 over the training."""
    return lambda remaining: start * remaining


def train(steps: int, seed: int) -> PPO:
    environments = make_vec_env("CartPole-v1", n_envs=ENVIRONMENTS, seed=seed)
    model = PPO(
        "MlpPolicy",
        environments,
        n_steps=STEPS_PER_ROLLOUT,
        batch_size=ENVIRONMENTS * STEPS_PER_ROLLOUT,
        n_epochs=20,
        gamma=0.98,
        gae_lambda=0.8,
        ent_coef=0.0,
        learning_rate=falling(1e-3),
        clip_range=falling(0.2),
        seed=seed,
        device="cpu",  # the network is tiny: copying to a GPU would take longer than the work
    )
    model.set_logger(Logger(folder=None, output_formats=[Progress(steps)]))
    model.learn(steps)
    environments.close()
    return model


def evaluate(model: PPO, episodes: int) -> np.ndarray:
    """The rewards of `episodes` whole episodes, all played side by side with the most likely action."""
    games = [gymnasium.make("CartPole-v1") for _ in range(episodes)]
    observations = np.stack([game.reset(seed=FIRST_EVALUATION_SEED + n)[0] for n, game in enumerate(games)])
    rewards = np.zeros(episodes)
    playing = np.ones(episodes, dtype=bool)
    while playing.any():
        active = np.flatnonzero(playing)
        actions, _ = model.predict(observations[active], deterministic=True)
        for n, action in zip(active, actions):
            observations[n], reward, terminated, truncated, _ = games[n].step(action)
            rewards[n] += reward
            playing[n] = not (terminated or truncated)
    for game in games:
        game.close()
    return rewards


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=50_000, help="environment steps to train (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the training (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=100, help="fresh evaluation episodes (default: %(default)s)")
    args = parser.parse_args()
    if args.steps < 1 or args.episodes < 1:
        parser.error("--steps and --episodes must be at least 1")
    if not 0 <= args.seed < FIRST_EVALUATION_SEED - ENVIRONMENTS:
        parser.error(f"--seed must lie between 0 and {FIRST_EVALUATION_SEED - ENVIRONMENTS - 1}")
    return args


def main() -> int:
    args = parse_arguments()
    # One thread beats many here: the matrices are 64 wide.
    torch.set_num_threads(1)

    started = time.monotonic()
    model = train(args.steps, args.seed)
    trained = time.monotonic() - started

    rewards = evaluate(model, args.episodes)
    score = float(rewards.mean())
    solved = score >= SOLVED_AT

    path = Path(os.environ.get("STOA_RUN_DIR", ".")) / "cartpole_ppo.zip"
    model.save(path)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    print()
    print(f"{'solved' if solved else 'not solved'}: mean reward {score:.1f} of 500 over {args.episodes} fresh episodes")
    print(f"  worst episode  {rewards.min():.0f}")
    print(f"  training       {model.num_timesteps:,} steps in {trained:.1f} s (seed {args.seed})")
    print(f"  peak memory    {peak} MiB")
    print(f"  model          {path}")
    if stoa:
        stoa.summary(
            {
                "score": score,
                "worst": float(rewards.min()),
                "solved": solved,
                "steps": model.num_timesteps,
                "seconds": round(trained, 2),
                "episodes": args.episodes,
                "seed": args.seed,
                "model": str(path),
            }
        )
    return 0 if solved else 1


if __name__ == "__main__":
    sys.exit(main())
