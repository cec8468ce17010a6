#!/usr/bin/env python3
"""Serves a packed model with and without a memory limit, in turn.

    memory_limit.py --programs=FOLDER PACKED_MODEL [--rounds=N] ...

A round starts a server inside a control group with --memory-limit, asks it for
one answer, then does the same without either. Prints each answer's speed, the
most memory that the process had resident, the most that the group was charged
(page cache among it) and the page faults that went to disk; at the end medians,
and how two servers share the model's pages.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import time


class Group:
    """A control group of the kernel's with a memory limit, version 1 or 2."""

    def __init__(self, limit):
        for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("memory", ""):
                continue
            self.v1 = controllers == "memory"
            root = "/sys/fs/cgroup" + ("/memory" if self.v1 else "")
            self.path = pathlib.Path(
                f"{root}{path}/lapidary-bench-{os.getpid()}")
            try:
                self.path.mkdir()
                name = "memory.limit_in_bytes" if self.v1 else "memory.max"
                (self.path / name).write_text(str(limit))
                return
            except OSError:
                if self.path.is_dir():
                    self.path.rmdir()
        raise SystemExit("no control group with a memory limit can be made "
                         "here; run as root, outside of an unprivileged "
                         "container")

    def enter(self):
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def peak(self):
        name = "memory.max_usage_in_bytes" if self.v1 else "memory.peak"
        return int((self.path / name).read_text())

    def remove(self):
        self.path.rmdir()


class Server:
    """lapidaryd, on a port of its choice."""

    def __init__(self, args, flags=(), group=None):
        self.args = args
        # Its output goes to a file: nobody would empty a pipe.
        self.log = tempfile.NamedTemporaryFile(prefix="memory_limit-")
        self.process = subprocess.Popen(
            [f"{args.programs}/lapidaryd", f"--model={args.model}",
             "--listen=127.0.0.1:0", *flags],
            stdout=self.log, stderr=subprocess.STDOUT,
            preexec_fn=group.enter if group else None)
        while not (found := re.search(r"listening on (\S+)", self.output())):
            if self.process.poll() is not None:
                raise SystemExit(f"lapidaryd ended:\n{self.output()}")
            time.sleep(0.02)
        self.address = found[1]

    def output(self):
        return pathlib.Path(self.log.name).read_text()

    def ask(self, ids, new):
        """Answers with the timings of `new` tokens behind `ids`."""
        answer = subprocess.run(
            [f"{self.args.programs}/lapidary", "run",
             f"--server={self.address}", "--ids=" + ",".join(map(str, ids)),
             f"--max-tokens={new}", "--temperature=0", "--json"],
            capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            raise SystemExit(f"{answer.stderr}\n{self.output()}")
        return json.loads(answer.stdout)["timings"]

    def faults(self):
        """Page faults that waited for the disk."""
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        return int(stat.rpartition(")")[2].split()[9])

    def bytes_of(self, file, name):
        text = pathlib.Path(f"/proc/{self.process.pid}/{file}").read_text()
        return int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M)[1]) * 1024

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def prompt(tokens, first):
    return [2] + [(first + i * 7919) % 250000 for i in range(tokens - 1)]


def forget(folder):
    """Takes the model's pages out of the page cache: they are charged to the
    group that reads them."""
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def measure(args, limited):
    group = Group(args.group) if limited else None
    forget(args.model)
    flags = [f"--memory-limit={args.limit}" if limited else
             "--memory-limit=none", *args.flags.split()]
    server = Server(args, flags, group)
    server.ask(prompt(8, 99), 4)  # reads every weight once
    before = server.faults()
    timings = server.ask(prompt(args.prompt, 7), args.new)
    result = {
        "prefill": timings["prefill_tokens_per_second"],
        "decode": timings["decode_tokens_per_second"],
        "resident": server.bytes_of("status", "VmHWM"),
        "faults": server.faults() - before,
        "plan": re.findall(r"event=memory (.*)", server.output()),
    }
    server.stop()
    if group:
        result["group"] = group.peak()
        group.remove()
    return result


def print_result(name, result):
    group = f", group's peak {result['group'] / 1e6:.0f} MB" \
        if "group" in result else ""
    print(f"{name}: prompt {result['prefill']:.1f}, then "
          f"{result['decode']:.2f} tokens/s, resident peak "
          f"{result['resident'] / 1e6:.0f} MB{group}, {result['faults']} major "
          "faults", flush=True)


def share(args):
    """Two servers of one model: what each holds, shared pages counted by half."""
    flags = [f"--memory-limit={args.limit}"]
    servers = [Server(args, flags)]
    servers[0].ask(prompt(8, 99), 4)
    alone = servers[0].bytes_of("smaps_rollup", "Pss")
    servers.append(Server(args, flags))
    servers[1].ask(prompt(8, 99), 4)
    pss = [s.bytes_of("smaps_rollup", "Pss") for s in servers]
    rss = [s.bytes_of("smaps_rollup", "Rss") for s in servers]
    print(f"one server: Pss {alone / 1e6:.0f} MB; two: Rss "
          f"{rss[0] / 1e6:.0f} and {rss[1] / 1e6:.0f} MB, Pss "
          f"{pss[0] / 1e6:.0f} and {pss[1] / 1e6:.0f} MB, "
          f"{sum(pss) / 1e6:.0f} MB together")
    for server in servers:
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--programs", required=True)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--limit", default="1600000000")
    parser.add_argument("--group", type=int, default=1800000000)
    parser.add_argument("--prompt", type=int, default=3900)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--flags", default="", help="more, of every server")
    args = parser.parse_args()
    results = {True: [], False: []}
    for index in range(args.rounds):
        for limited in (True, False) if index % 2 == 0 else (False, True):
            result = measure(args, limited)
            if limited and not results[True]:
                print("plan:", *result["plan"])
            results[limited].append(result)
            print_result("limited  " if limited else "unlimited", result)
    for what in ("prefill", "decode"):
        limited, unlimited = (
            statistics.median(r[what] for r in results[kind])
            for kind in (True, False))
        print(f"{what}: median {limited:.2f} limited, {unlimited:.2f} unlimited "
              f"tokens/s ({limited / unlimited - 1:+.1%})")
    share(args)


if __name__ == "__main__":
    main()
