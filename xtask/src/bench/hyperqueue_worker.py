"""HyperQueue as a worker of `cargo xtask bench`: answers the same orders as worker.rs.

The package has no command line, so jobs are submitted by a client that stays connected, which leaves out what starting
a client costs. Its wait looks once a second, so the end of a job is told by the job itself, through a named pipe. Both
are in HyperQueue's favour.
"""

import json
import os
import shlex
import sys
import tempfile
import time

# The cluster prints a banner; standard output is for answers only.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

from hyperqueue import Job, LocalCluster  # noqa: E402
from hyperqueue.cluster import WorkerConfig  # noqa: E402


def once(client, command, pipe):
    job = Job()
    job.program(["/bin/sh", "-c", f"{shlex.join(command)}; echo $? > {pipe}"], stdout=None, stderr=None)
    start = time.perf_counter_ns()
    client.submit(job)
    with open(pipe) as ended:
        status = ended.read().strip()
    took = time.perf_counter_ns() - start
    if status != "0":
        raise RuntimeError(f"the command ended with {status}")
    return took


def main():
    with tempfile.TemporaryDirectory() as folder, LocalCluster(folder, WorkerConfig(cores=2)) as cluster:
        client = cluster.client()
        pipe = os.path.join(folder, "ended")
        os.mkfifo(pipe)
        for line in sys.stdin:
            order = json.loads(line)
            try:
                answer = {"Took": [once(client, order["command"], pipe) for _ in range(order["times"])]}
            except Exception as error:
                answer = {"Failed": repr(error)}
            print(json.dumps(answer), file=answers, flush=True)


main()
