"""Runs Hugging Face's Gemma 3n decoder as the reference: float32 and float64, eager, with a cache.

Float64 is the truth that goldens hold; float32 tells how much of a difference is
mere rounding. A float64 model alone would not do: Hugging Face computes its
norms, softmax, router tanh and rope angles in float32 whatever the model's dtype.
`WideIslands` widens those too. Constants stay as Hugging Face makes them, in
float32: rope inverse frequencies, the Gaussian multiplier, embedding scales.
"""

import contextlib

import torch
from torch.overrides import TorchFunctionMode
from transformers import Gemma3nForCausalLM, Gemma3nTextConfig


class WideIslands(TorchFunctionMode):
    """Turns `x.float()` and `softmax(..., dtype=float32)` into float64."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.float:
            return args[0].double()
        if func is torch.nn.functional.softmax and kwargs.get("dtype") is torch.float32:
            kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)


def islands(dtype):
    """The context to run a model of `dtype` in."""
    return WideIslands() if dtype is torch.float64 else contextlib.nullcontext()


def text_config(raw):
    """A Hugging Face config object from a text config as a dict.

    `final_logit_softcapping: null` is refused by the config class but honoured by
    the model code, so it is put in past the class's check.
    """
    fields = dict(raw)
    uncapped = "final_logit_softcapping" in fields and fields["final_logit_softcapping"] is None
    if uncapped:
        del fields["final_logit_softcapping"]
    config = Gemma3nTextConfig(**fields)
    if uncapped:
        object.__setattr__(config, "final_logit_softcapping", None)
    config._attn_implementation = "eager"
    return config


def empty_model(raw, dtype):
    """A text model with unset weights in `dtype`, ready to be filled."""
    return Gemma3nForCausalLM(text_config(raw)).to(dtype).eval()


@torch.no_grad()
def prompt_logprobs(model, ids):
    """log-softmax over the whole vocabulary at every position of a prompt: float64 [T][V]."""
    with islands(model.dtype):
        logits = model(torch.tensor([ids]), use_cache=True).logits[0]
    return torch.log_softmax(logits.double(), dim=-1)


@torch.no_grad()
def greedy_logprobs(model, ids, steps, allowed, stop=()):
    """Greedy decoding with a cache.

    Ids at or above `allowed` are never chosen, but keep their share of probability.
    Returns (chosen ids, float64 [steps][V] log-probs the choices were made from);
    the last id is one of `stop` if one was met.
    """
    chosen, rows, cache = [], [], None
    step_ids = torch.tensor([ids])
    with islands(model.dtype):
        while len(chosen) < steps:
            out = model(step_ids, cache=cache, use_cache=True, logits_to_keep=1)
            cache = out.cache
            row = torch.log_softmax(out.logits[0, -1].double(), dim=-1)
            chosen.append(int(row[:allowed].argmax()))
            rows.append(row)
            if chosen[-1] in stop:
                break
            step_ids = torch.tensor([chosen[-1:]])
    return chosen, torch.stack(rows)


def margins(rows, allowed):
    """Log-prob of the best id minus that of the second best, per row, ids below `allowed` only."""
    top = rows[:, :allowed].topk(2, dim=-1).values
    return (top[:, 0] - top[:, 1]).tolist()


def rounded(values):
    """Numbers as goldens hold them: six digits after the point."""
    return [round(float(v), 6) for v in values]


def versions():
    """What made a golden."""
    import transformers

    return {"torch": torch.__version__, "transformers": transformers.__version__}
