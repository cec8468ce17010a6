#!/usr/bin/env python3
"""Runs lapidary and llama.cpp in turn and prints both sides' figures.

Called by vs_llama.sh, which has made what it needs. Each round of a measure is
one process of each side, in an order that changes from round to round, so that
a spell of a slower machine meets both. The table goes to stdout in Markdown,
all raw figures to --json.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import pathlib
import statistics
import socket
import subprocess
import sys
import time

PROMPTS = (512, 1024, 2048)
TOKENS = 128
STREAMS, STREAM_PROMPT, STREAM_TOKENS = 16, 32, 64
SERVED_PROMPT, SERVED_TOKENS = 128, 128
CONTEXT, CONTEXT_TOKENS = 4096, 16


class Side:
    """How one program is run; each method returns tokens per second."""

    def __init__(self, options):
        self.options = options
        self.peak_bytes = 0  # of the last process

    def run(self, command):
        command = [str(word) for word in command]
        print("  " + " ".join(command)[:160], file=sys.stderr)
        process = subprocess.Popen(command, stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True)
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
        self.peak_bytes = usage.ru_maxrss * 1024
        return output


class Lapidary(Side):
    name = "Lapidary"

    def bench(self, dtype, *flags):
        lists = {"--prompts=": "", "--tokens=": "0", "--depths=": "",
                 "--streams=": "", "--rounds=": "1"}
        given = [flag for flag in lists if any(f.startswith(flag)
                                               for f in flags)]
        defaults = [flag + value for flag, value in lists.items()
                    if flag not in given]
        output = self.run([self.options.lapidary, "bench",
                           self.options.work / dtype, "--json",
                           f"--threads={self.options.threads}",
                           "--kv-dtype=bf16", *defaults, *flags])
        return json.loads(output)["rows"]

    def decode(self, dtype):
        (row,) = self.bench(dtype, f"--tokens={TOKENS}")
        return {"tokens_per_second": row["tokens_per_second"],
                "share_of_limit": row["share_reached"],
                "read_gb_per_second": row["limit"]["bytes_per_second"] / 1e9}

    def prefill(self, dtype, prompt):
        (row,) = self.bench(dtype, f"--prompts={prompt}")
        return {"tokens_per_second": row["tokens_per_second"]}

    def streams(self, dtype):
        (row,) = self.bench(dtype, f"--streams={STREAMS}",
                            f"--stream-prompt={STREAM_PROMPT}",
                            f"--stream-tokens={STREAM_TOKENS}")
        return {"tokens_per_second": row["tokens_per_second"],
                "with_prompts": row["whole_tokens_per_second"]}

    def serve(self, dtype):
        (row,) = self.bench(dtype, "--whole-streams", f"--streams={STREAMS}",
                            f"--stream-prompt={SERVED_PROMPT}",
                            f"--stream-tokens={SERVED_TOKENS}")
        return {"whole_tokens_per_second": row["whole_tokens_per_second"]}

    def memory(self, dtype):
        ids = ",".join(map(str, made_up_ids(0, CONTEXT)))
        self.run([self.options.lapidary, "run", self.options.work / dtype,
                  f"--ids={ids}", f"--max-tokens={CONTEXT_TOKENS}",
                  "--ignore-eos", f"--threads={self.options.threads}",
                  "--kv-dtype=bf16"])
        return {"peak_bytes": self.peak_bytes}


class Llama(Side):
    name = "llama.cpp"

    def program(self, name, quant):
        return [self.options.work / "build/bin" / name, "-m",
                self.options.work / f"e2b-{quant}.gguf",
                "-t", self.options.threads]

    def bench(self, quant, *flags):
        output = self.run([*self.program("llama-bench", quant), "-r", "1",
                           "-o", "json", *flags])
        return json.loads(output)[0]["avg_ts"]

    def decode(self, quant):
        return {"tokens_per_second": self.bench(quant, "-p", "0", "-n", TOKENS)}

    def prefill(self, quant, prompt):
        # Its warm-up would be the whole prompt once more.
        return {"tokens_per_second": self.bench(quant, "-p", prompt, "-n", "0",
                                                "--no-warmup")}

    def streams(self, quant):
        context = STREAMS * (STREAM_PROMPT + STREAM_TOKENS)
        output = self.run([*self.program("llama-batched-bench", quant),
                           "-c", context, "-npp", STREAM_PROMPT,
                           "-ntg", STREAM_TOKENS, "-npl", STREAMS,
                           "--output-format", "jsonl",
                           *self.options.batched_flags.split()])
        lines = [line for line in output.splitlines() if line.startswith("{")]
        row = json.loads(lines[-1])
        tokens = STREAMS * STREAM_TOKENS
        return {"tokens_per_second": row["speed_tg"],
                "with_prompts": tokens / (row["t_pp"] + row["t_tg"])}

    def serve(self, quant):
        with LlamaServer(self, quant) as server:
            server.complete(0, 4)
            began = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(STREAMS) as clients:
                produced = sum(clients.map(
                    lambda i: server.complete(1 + i, SERVED_TOKENS),
                    range(STREAMS)))
            seconds = time.monotonic() - began
        return {"whole_tokens_per_second": produced / seconds}

    def memory(self, quant):
        self.bench(quant, "-p", "0", "-n", CONTEXT_TOKENS, "-d", CONTEXT)
        return {"peak_bytes": self.peak_bytes}


class LlamaServer:
    """llama-server with a slot for each client, and requests to it."""

    def __init__(self, side, quant):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [*side.program("llama-server", quant), "--port", self.port,
                   "-np", STREAMS,
                   "-c", STREAMS * (SERVED_PROMPT + SERVED_TOKENS),
                   *side.options.server_flags.split()]
        command = [str(word) for word in command]
        print("  " + " ".join(command)[:160], file=sys.stderr)
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)

    def __enter__(self):
        while self.process.poll() is None:
            try:
                if self.ask("GET", "/health")[0] == 200:
                    return self
            except ConnectionError:
                pass
            time.sleep(0.2)
        sys.exit(f"llama-server: exit code {self.process.returncode}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(method, path, body and json.dumps(body),
                           {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()

    def complete(self, seed, tokens):
        """Tokens that it says it has produced."""
        status, answer = self.ask("POST", "/completion", {
            "prompt": made_up_ids(seed, SERVED_PROMPT), "n_predict": tokens,
            "ignore_eos": True, "cache_prompt": False, "temperature": 0})
        if status != 200:
            sys.exit(f"llama-server: {status} {answer.decode()}")
        return json.loads(answer)["tokens_predicted"]


def made_up_ids(seed, count):
    """Ids that are words, the same for each seed."""
    return [300 + (seed * 104729 + i * 7919) % 261000 for i in range(count)]


def list_measures():
    """(name, method, Lapidary's arguments, llama.cpp's, {figure: target})"""
    measures = [
        ("decode-int4", "decode", ("int4",), ("Q4_0",),
         {"tokens_per_second": 1.4}),
        ("decode-int8", "decode", ("int8",), ("Q8_0",),
         {"tokens_per_second": 1.4}),
    ]
    for prompt in PROMPTS:
        for dtype, quant in (("int4", "Q4_0"), ("int8", "Q8_0")):
            measures.append((f"prefill-{prompt}-{dtype}", "prefill",
                             (dtype, prompt), (quant, prompt),
                             {"tokens_per_second": 5.0}))
    measures += [
        ("streams-16", "streams", ("int4",), ("Q4_0",),
         {"tokens_per_second": 5.0, "with_prompts": 5.0}),
        ("serve-16", "serve", ("int4",), ("Q4_0",),
         {"whole_tokens_per_second": 5.0}),
        ("memory-4096", "memory", ("int4",), ("Q4_0",), {"peak_bytes": None}),
    ]
    return measures


def median(rounds, key):
    return statistics.median(one[key] for one in rounds)


def run_measure(measure, sides, rounds):
    name, method, ours, theirs, figures = measure
    results = {side.name: [] for side in sides}
    arguments = {Lapidary.name: ours, Llama.name: theirs}
    for number in range(1 if method == "memory" else rounds):
        print(f"{name}, round {number + 1} of {rounds}", file=sys.stderr)
        order = sides if number % 2 == 0 else sides[::-1]
        for side in order:
            result = getattr(side, method)(*arguments[side.name])
            print(f"    {side.name}: {result}", file=sys.stderr)
            results[side.name].append(result)
    medians = {}
    for figure, target in figures.items():
        ours, theirs = (median(results[side.name], figure) for side in sides)
        medians[figure] = {"lapidary": ours, "llama.cpp": theirs,
                           "ratio": ours / theirs, "target": target}
    return {"name": name, "medians": medians, "rounds": results}


UNITS = {"tokens_per_second": "tokens/s",
         "with_prompts": "tokens/s, the prompts' time included",
         "whole_tokens_per_second": "tokens/s of whole requests",
         "peak_bytes": "GB resident at most"}


def print_table(measures):
    print("| measure | | Lapidary | llama.cpp | ratio | target |")
    print("|---|---|---|---|---|---|")
    for one in measures:
        for figure, row in one["medians"].items():
            ours, theirs = (row[side] / (1e9 if figure == "peak_bytes" else 1)
                            for side in ("lapidary", "llama.cpp"))
            target = f"≥ {row['target']:g}" if row["target"] else ""
            print(f"| {one['name']} | {UNITS[figure]} | {ours:.2f} | "
                  f"{theirs:.2f} | {row['ratio']:.2f} | {target} |")


def parse():
    names = [measure[0] for measure in list_measures()]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--lapidary", type=pathlib.Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measures", default=",".join(names),
                        help="any of " + ", ".join(names))
    parser.add_argument("--batched-flags", default="",
                        help="further flags of llama-batched-bench")
    parser.add_argument("--server-flags", default="",
                        help="further flags of llama-server")
    parser.add_argument("--json", type=pathlib.Path,
                        help="file for all raw figures")
    options = parser.parse_args()
    options.measures = options.measures.split(",")
    for name in options.measures:
        if name not in names:
            parser.error(f"no measure {name}; there are {', '.join(names)}")
    return options


def main():
    options = parse()
    sides = [Lapidary(options), Llama(options)]
    measures = [run_measure(measure, sides, options.rounds)
                for measure in list_measures()
                if measure[0] in options.measures]
    print_table(measures)
    if options.json:
        options.json.write_text(json.dumps(
            {"threads": options.threads, "rounds": options.rounds,
             "measures": measures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
