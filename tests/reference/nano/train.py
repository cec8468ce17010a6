"""Trains nano: Hugging Face's classes, float32, one kind of example per step, gradients averaged over workers.

    python tests/reference/nano/train.py --work WORK

WORK holds tokenizer/ (tokenizer.py) and clips.pkl (speech.py); the state is written
to WORK/state.pt, from which the same command goes on. A worker is one thread of one
process on CPUs (two such are 1.4 times as fast as two threads of one, measured on
two Zen 4 cores), or the GPU where there is one. Every step's examples are a
function of (seed, step, worker), so that a resumed run sees what an unbroken one would.
"""

import argparse
import json
import math
import os
import pathlib
import random
import time
import warnings

import torch
import torch.distributed as distributed
from torch import multiprocessing

import lessons
import speech
from architecture import fresh_model
from objectives import Heads
from slices import make_sliceable

PEAK_RATE = 2.5e-3
TOWER_SHARE = 0.5  # of the decoder's learning rate
WARM_UP = 60
LAST_SHARE = 0.02  # of the peak rate, at the end of the cosine
WEIGHT_DECAY = 0.02
SAVE_EVERY = 400
LOG_EVERY = 50


def learning_rate(step, steps, peak):
    """Warm-up, then a cosine."""
    cosine = 0.5 + 0.5 * math.cos(math.pi * step / steps)
    return peak * min(1.0, (step + 1) / WARM_UP) * (LAST_SHARE + (1 - LAST_SHARE) * cosine)


def make_optimizer(model, heads):
    """AdamW; weight decay on matrices only, towers at their share of the rate."""
    groups = {}
    for name, parameter in [*model.named_parameters(), *heads.named_parameters()]:
        decayed = parameter.ndim > 1 and "embed" not in name
        tower = "vision_tower" in name or "audio_tower" in name
        groups.setdefault((decayed, tower), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": parameters, "weight_decay": WEIGHT_DECAY * decayed, "share": TOWER_SHARE if tower else 1.0}
         for (decayed, tower), parameters in groups.items()], lr=PEAK_RATE, betas=(0.9, 0.98), fused=True)


def average_over_workers(parameters, workers):
    """Replaces gradients by their mean; all workers practise the same kind, so they have the same gradients."""
    if workers == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    distributed.all_reduce(flat)
    flat /= workers
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients])):
        gradient.copy_(mean.view_as(gradient))


class Run:
    """The state of one training run, the same in every worker."""

    def __init__(self, options, worker, device):
        self.options, self.worker = options, worker
        self.model = fresh_model(options.seed).to(device).train()
        self.heads = Heads().to(device)
        make_sliceable(self.model)
        self.optimizer = make_optimizer(self.model, self.heads)
        self.step, self.seconds, self.mastery = 0, 0.0, {}
        self._file = options.work / "state.pt"
        if self._file.exists():
            self._resume(torch.load(self._file, map_location=device, weights_only=True))
        if options.compile_towers:
            self.model.model.vision_tower.compile(dynamic=False)
            self.model.model.audio_tower.compile(dynamic=False)
        self.parameters = [*self.model.parameters(), *self.heads.parameters()]
        clips = speech.load_pool(options.work / "clips.pkl")
        self.lessons = lessons.Lessons(self.model, self.heads, options.work / "tokenizer", clips, options.workers)

    def _resume(self, state):
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds, self.mastery = state["step"], state["seconds"], state["mastery"]

    def save(self):
        state = {"model": self.model.state_dict(), "heads": self.heads.state_dict(), "step": self.step,
                 "optimizer": self.optimizer.state_dict(), "seconds": self.seconds, "mastery": self.mastery}
        torch.save(state, self._file.with_suffix(".new"))
        os.replace(self._file.with_suffix(".new"), self._file)

    def practise(self):
        """One step; returns (kind, loss, share of right answers)."""
        began = time.monotonic()
        progress = self.step / self.options.steps
        shared = random.Random(f"{self.options.seed} step {self.step}")  # the same draw in every worker
        own = random.Random(f"{self.options.seed} step {self.step} worker {self.worker}")
        odds = lessons.weights(progress, self.mastery)
        kind = shared.choices(list(odds), list(odds.values()))[0]
        begin = self.options.begin
        rate = learning_rate(self.step - begin, self.options.steps - begin, self.options.peak)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        self.optimizer.zero_grad(set_to_none=True)
        loss, right = self.lessons.loss(kind, own, lessons.draw_slice(shared), progress,
                                        self.mastery.get("lines", lessons.FIRST_LINES))
        loss.backward()
        average_over_workers(self.parameters, self.options.workers)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        score = torch.tensor([loss.item(), right.float().mean().item()])
        if self.options.workers > 1:
            distributed.all_reduce(score)
        loss, accuracy = (score / self.options.workers).tolist()
        self.mastery = lessons.updated_mastery(self.mastery, kind, accuracy)
        self.step += 1
        self.seconds += time.monotonic() - began
        return kind, loss, accuracy, time.monotonic() - began


class Log:
    """Prints what was practised since the last line, and keeps it as JSON lines."""

    def __init__(self, path):
        self._path, self._sums = path, {}

    def add(self, kind, *values):
        count, sums = self._sums.get(kind, (0, (0.0,) * len(values)))
        self._sums[kind] = (count + 1, tuple(a + b for a, b in zip(sums, values)))

    def flush(self, run):
        means = {kind: [round(s / count, 4) for s in sums] + [count] for kind, (count, sums) in sorted(self._sums.items())}
        with open(self._path, "a", encoding="utf8") as file:
            file.write(json.dumps({"step": run.step, "seconds": round(run.seconds), "practised": means}) + "\n")
        parts = [f"{kind} {loss:.2f} {right:.2f} ({seconds:.2f}s x{count})"
                 for kind, (loss, right, seconds, count) in means.items()]
        print(f"{run.step} {run.seconds:.0f}s lines {run.mastery.get('lines', 0):.0f} | " + " | ".join(parts), flush=True)
        self._sums = {}


def work(worker, options):
    """The loop of one worker."""
    warnings.filterwarnings("ignore")
    device = torch.device("cuda") if options.device == "cuda" else torch.device("cpu")
    if device.type == "cpu":
        torch.set_num_threads(max(1, os.cpu_count() // options.workers))
    if options.workers > 1:
        distributed.init_process_group("gloo", rank=worker, world_size=options.workers,
                                       init_method=f"file://{options.work.resolve()}/rendezvous")
    run, log = Run(options, worker, device), Log(options.work / "log.jsonl")
    while run.step < options.steps:
        practised = run.practise()
        if worker:
            continue
        log.add(*practised)
        if run.step % LOG_EVERY == 0:
            log.flush(run)
        if run.step % SAVE_EVERY == 0 or run.step == options.steps:
            run.save()
    if options.workers > 1:
        distributed.destroy_process_group()


def main():
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=9500, help="at which to end, those of earlier runs counted")
    parser.add_argument("--begin", type=int, default=0, help="step at which the learning rate's schedule starts (again)")
    parser.add_argument("--peak", type=float, default=PEAK_RATE, help="the decoder's highest learning rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if cuda else "cpu")
    parser.add_argument("--workers", type=int, default=1 if cuda else os.cpu_count())
    parser.add_argument("--compile-towers", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    if options.begin >= options.steps:
        parser.error("--steps must be larger than --begin")
    (options.work / "rendezvous").unlink(missing_ok=True)
    multiprocessing.spawn(work, args=(options,), nprocs=options.workers)


if __name__ == "__main__":
    main()
