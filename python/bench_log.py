#!/usr/bin/env python3
"""Compares the cost of logging one scalar: stoa.log and the loggers people use.

    python bench_log.py [--calls 10000] [--rounds 5] [--peers tensorboardX,wandb,mlflow,trackio] [--json FILE]

Every logger runs the same loop in a fresh process, in interleaved rounds. Counted are, from after the set-up until after the
logger was closed: the median time of a call (over batches of 100), and the processor time of the whole process tree, helpers and
servers that a logger starts included (by a cgroup of its own where one can be made, else by the resource usage of the
process and the children it waited for). `close` is the time from the last call until the logger says that
everything is on its file. Peers that are not installed are reported as skipped.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

LOGGERS = ["stoa", "tensorboardX", "wandb", "mlflow", "trackio"]
BATCH = 100
#: A scalar that changes, so that nothing can be left out as unchanged.
VALUES = [1.0 / (n + 1) for n in range(BATCH)]


def open_stoa(folder):
    os.environ["STOA_RUN_DIR"] = folder
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import atexit

    import stoa

    # Closing is what the interpreter does at its end.
    return lambda step, value: stoa.log({"loss": value}, step=step), atexit._run_exitfuncs


def open_tensorboardX(folder):
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(folder)
    return lambda step, value: writer.add_scalar("loss", value, step), writer.close


def open_wandb(folder):
    os.environ.update(WANDB_MODE="offline", WANDB_DIR=folder, WANDB_SILENT="true", WANDB_CACHE_DIR=folder)
    os.environ.update(WANDB_CONFIG_DIR=folder, WANDB_DATA_DIR=folder)
    import wandb

    run = wandb.init(project="bench")
    return lambda step, value: run.log({"loss": value}, step=step), run.finish


def open_mlflow(folder):
    os.environ.update(MLFLOW_TRACKING_URI="file://" + folder, MLFLOW_ALLOW_FILE_STORE="true")
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true")
    import mlflow

    mlflow.set_tracking_uri("file://" + folder)
    mlflow.set_experiment("bench")
    mlflow.start_run()
    return lambda step, value: mlflow.log_metric("loss", value, step=step), mlflow.end_run


def open_trackio(folder):
    os.environ.update(TRACKIO_DIR=folder, HF_HUB_OFFLINE="1", GRADIO_ANALYTICS_ENABLED="False")
    import trackio

    trackio.init(project="bench")
    return lambda step, value: trackio.log({"loss": value}, step=step), trackio.finish


def contestant(name, folder, calls):
    """The process of one logger: sets up, waits to be told to go, logs, closes, waits to be told to leave."""
    reply = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    log, close = globals()["open_" + name](folder)
    log(0, 1.0)
    reply.write("ready\n")
    reply.flush()
    sys.stdin.readline()
    own = time.process_time()
    clock = time.perf_counter
    batches = []
    step = 1
    for _ in range(calls // BATCH):
        start = clock()
        for value in VALUES:
            log(step, value)
            step += 1
        batches.append((clock() - start) / BATCH)
    last = clock()
    close()
    closed = clock() - last
    reply.write(json.dumps({"median": statistics.median(batches), "close": closed, "own": time.process_time() - own}))
    reply.write("\n")
    reply.flush()
    sys.stdin.readline()
    os._exit(0)


class Cpu:
    """Processor time of a process tree, by a cgroup of version 1 or 2."""

    def __init__(self):
        self.folder = None
        for root, file in (("/sys/fs/cgroup/cpuacct", "cpuacct.usage"), ("/sys/fs/cgroup", "cpu.stat")):
            folder = os.path.join(root, "stoa-bench-%d" % os.getpid())
            try:
                os.mkdir(folder)
            except OSError:
                continue
            self.folder, self.file = folder, os.path.join(folder, file)
            if os.path.exists(self.file):
                return
            self.close()

    def take_in(self, pid):
        if self.folder:
            with open(os.path.join(self.folder, "cgroup.procs"), "w") as procs:
                procs.write(str(pid))

    def seconds(self):
        if not self.folder:
            return None
        with open(self.file) as usage:
            text = usage.read()
        if "usage_usec" in text:
            return int(text.split()[1]) / 1e6
        return int(text) / 1e9

    def close(self):
        if not self.folder:
            return
        for _ in range(50):
            with open(os.path.join(self.folder, "cgroup.procs")) as procs:
                left = [int(pid) for pid in procs.read().split()]
            for pid in left:
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass
            try:
                os.rmdir(self.folder)
                break
            except OSError:
                time.sleep(0.1)
        self.folder = None


def one_round(name, calls):
    """Runs one logger: its figures, or the reason why it cannot run."""
    folder = tempfile.mkdtemp(prefix="stoa-bench-")
    cpu = Cpu()
    command = [sys.executable, os.path.abspath(__file__), "--contestant", name, folder, str(calls)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder)
    try:
        cpu.take_in(child.pid)
        if child.stdout.readline().strip() != b"ready":
            lines = child.stderr.read().decode("utf-8", "replace").strip().splitlines()
            return lines[-1] if lines else "it ended"
        before = cpu.seconds()
        child.stdin.write(b"go\n")
        child.stdin.flush()
        line = child.stdout.readline()
        after = cpu.seconds()
        if not line:
            return "it ended while logging"
        figures = json.loads(line)
        figures["cpu"] = (figures["own"] if before is None else after - before) / calls
        return figures
    finally:
        child.stdin.close()
        child.stderr.close()
        child.wait()
        cpu.close()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default=",".join(LOGGERS[1:]))
    parser.add_argument("--json")
    asked = parser.parse_args()
    names = ["stoa"] + [name for name in asked.peers.split(",") if name in LOGGERS[1:]]
    results = {name: [] for name in names}
    for _ in range(asked.rounds):
        for name in list(results):
            figures = one_round(name, asked.calls)
            if isinstance(figures, str):
                print("skipped: %s: %s" % (name, figures))
                del results[name]
            else:
                results[name].append(figures)
    report(results, asked)


def report(results, asked):
    print("one scalar, %d calls, median of %d rounds, Python %s" % (asked.calls, asked.rounds, sys.version.split()[0]))
    print("%-14s %14s %14s %12s %22s" % ("logger", "call, us", "CPU tree, us", "close, ms", "CPU / CPU of stoa"))
    table = {}
    for name, rounds in results.items():
        row = {key: statistics.median(figures[key] for figures in rounds) for key in ("median", "cpu", "close")}
        ratios = [figures["cpu"] / own["cpu"] for figures, own in zip(rounds, results.get("stoa", []))]
        row["ratio"], row["ratio_min"], row["ratio_max"] = statistics.median(ratios), min(ratios), max(ratios)
        table[name] = row
        spread = "%.1f [%.1f, %.1f]" % (row["ratio"], row["ratio_min"], row["ratio_max"])
        print("%-14s %14.3f %14.3f %12.2f %22s" % (name, row["median"] * 1e6, row["cpu"] * 1e6, row["close"] * 1e3, spread))
    if asked.json:
        with open(asked.json, "w") as out:
            json.dump(table, out, indent=2)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "--contestant":
        contestant(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
