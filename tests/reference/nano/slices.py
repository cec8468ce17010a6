"""MatFormer slices: which FFN widths and layers a smaller model keeps, as a mask and as a checkpoint of its own.

A slice keeps the first `widths[layer]` neurons of each FFN and leaves some layers
out. Masking and cutting give the same float32 logits, bit for bit (check_slices.py).
"""

import copy
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers import Gemma3nForConditionalGeneration
from transformers.models.gemma3n import modeling_gemma3n

from architecture import FFN_WIDTH, LAYERS, restore_saveable_config


@dataclass(frozen=True)
class Slice:
    widths: tuple  # of the FFN, one per layer of the whole model
    skipped: tuple = ()  # layers left out


HALF = FFN_WIDTH // 2
# e2b leaves out two layers of the KV-shared tail, as the published E2B does with E4B's; what stays of layer_types is
# S S S S F S S F, which regenerating the pattern would get wrong. mix is one fixed row of what training draws from.
SLICES = {
    "full": Slice((FFN_WIDTH,) * LAYERS),
    "mix": Slice((192, 256, 256, 320, 384, 384, 320, 256, 256, 384), (6,)),
    "half": Slice((HALF,) * LAYERS),
    "e2b": Slice((HALF,) * LAYERS, (5, 6)),
}


def random_mix(rng):
    """A slice with widths of its own in every layer, sometimes without the layers that can be left out."""
    return Slice(tuple(rng.choice((192, 256, 320, 384)) for _ in range(LAYERS)), rng.choice(((), (), (6,), (5, 6))))


def _sliced_mlp(self, x):
    """Gemma3nTextMLP.forward over the first `self.width` neurons; the sparsity cutoff is taken over those alone."""
    gate = functional.linear(x, self.gate_proj.weight[:self.width])
    up = functional.linear(x, self.up_proj.weight[:self.width])
    if self.activation_sparsity > 0:
        gate = self._gaussian_topk(gate)
    return functional.linear(self.act_fn(gate) * up, self.down_proj.weight[:, :self.width])


_whole_layer = modeling_gemma3n.Gemma3nTextDecoderLayer.forward


def _skippable_layer(self, hidden_states, *args, **kwargs):
    return hidden_states if self.left_out else _whole_layer(self, hidden_states, *args, **kwargs)


def make_sliceable(model):
    """Lets select_slice work on this process's Gemma 3n models; selects the whole model."""
    modeling_gemma3n.Gemma3nTextMLP.forward = _sliced_mlp
    modeling_gemma3n.Gemma3nTextDecoderLayer.forward = _skippable_layer
    select_slice(model, SLICES["full"])


def select_slice(model, chosen):
    """The model answers as `chosen` until another is selected."""
    for index, layer in enumerate(model.model.language_model.layers):
        layer.mlp.width = chosen.widths[index]
        layer.left_out = index in chosen.skipped


def _cut_config(config, chosen, kept):
    config = copy.deepcopy(config)
    text = config.text_config
    first_shared = LAYERS - text.num_kv_shared_layers
    text.num_hidden_layers = len(kept)
    text.intermediate_size = [chosen.widths[i] for i in kept]
    text.layer_types = [text.layer_types[i] for i in kept]
    text.activation_sparsity_pattern = [text.activation_sparsity_pattern[i] for i in kept]
    text.num_kv_shared_layers = sum(i >= first_shared for i in kept)
    return config


def _cut_tensor(name, tensor, chosen, kept):
    """(new name, the slice's part of the tensor), or None where the layer is left out."""
    if "embed_tokens_per_layer" in name:
        return name, tensor.view(tensor.shape[0], LAYERS, -1)[:, kept].flatten(1)
    if "per_layer_model_projection" in name:
        return name, tensor.view(LAYERS, -1, tensor.shape[1])[kept].flatten(0, 1)
    if ".language_model.layers." not in name:
        return name, tensor
    head, tail = name.split(".language_model.layers.")
    number, rest = tail.split(".", 1)
    layer = int(number)
    if layer not in kept:
        return None
    if rest.startswith(("mlp.gate_proj", "mlp.up_proj")):
        tensor = tensor[:chosen.widths[layer]]
    elif rest.startswith("mlp.down_proj"):
        tensor = tensor[:, :chosen.widths[layer]]
    return f"{head}.language_model.layers.{kept.index(layer)}.{rest}", tensor


def cut(model, chosen):
    """The slice as a model of its own, in the parent's dtype (gemma3n-text.md §6.1)."""
    kept = [i for i in range(LAYERS) if i not in chosen.skipped]
    restore_saveable_config(model)
    smaller = Gemma3nForConditionalGeneration(_cut_config(model.config, chosen, kept)).to(model.dtype)
    parts = [_cut_tensor(name, tensor, chosen, kept) for name, tensor in model.state_dict().items()]
    smaller.load_state_dict({name: tensor.clone() for name, tensor in filter(None, parts)})
    smaller.tie_weights()
    restore_saveable_config(smaller)
    return smaller.eval()
