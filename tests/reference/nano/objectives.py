"""What training minimises: answers, and what the towers alone see and hear."""

import torch
from torch.nn import functional

from architecture import HIDDEN, IMAGE_SOFT_TOKENS
from batches import IGNORED
from things import LANGUAGES, THINGS
from tokenizer import TEXT_VOCABULARY

SOFTCAP = 30.0
GRID = 4


def _answer_logits(model, hidden, labels):
    """Logits [answer tokens][text vocabulary], their targets, and where they stand [examples][positions - 1]. Rows past the text vocabulary copy pad's at export."""
    wanted = labels[:, 1:] != IGNORED
    weight = model.lm_head.weight[:TEXT_VOCABULARY]
    logits = SOFTCAP * torch.tanh(functional.linear(hidden[:, :-1][wanted], weight) / SOFTCAP)
    return logits, labels[:, 1:][wanted], wanted


def _exact(logits, targets, wanted):
    """Per example, whether all its answer tokens are the arg-max: exact match of greedy decoding."""
    right = torch.ones_like(wanted)
    right[wanted] = logits.argmax(-1) == targets
    return right.all(1)


def answer_loss(model, inputs, labels):
    """(mean cross entropy over answer tokens, exact match [examples], the model's outputs)."""
    outputs = model.model(**inputs, use_cache=False)
    logits, targets, wanted = _answer_logits(model, outputs.last_hidden_state, labels)
    return functional.cross_entropy(logits, targets), _exact(logits, targets, wanted), outputs


class Heads(torch.nn.Module):
    """Classifiers on the mean soft token, thrown away after training: they carry the towers over their plateau."""

    def __init__(self):
        super().__init__()
        self.picture = torch.nn.Linear(HIDDEN, len(THINGS))
        self.word = torch.nn.Linear(HIDDEN, len(THINGS) * len(LANGUAGES))

    def picture_loss(self, seen, examples):
        """(loss, whether each thing is named right) of encoded pictures; of two things each has its half of the grid."""
        grid = seen.pooler_output.view(-1, GRID, GRID, HIDDEN)
        pooled, targets = [], []
        for tokens, example in zip(grid, examples):
            halves = [tokens] if len(example.things) == 1 else [tokens[:, :GRID // 2], tokens[:, GRID // 2:]]
            pooled += [half.mean((0, 1)) for half in halves]
            targets += example.things
        return self._loss(self.picture(torch.stack(pooled)), targets)

    def word_loss(self, heard, clips):
        """(loss, whether each spoken word is recognised) of encoded clips; the mean leaves padding out."""
        spoken = heard.pooler_output[:, :heard.audio_mel_mask.shape[1]]
        valid = (~heard.audio_mel_mask).float()[..., None]
        pooled = (spoken * valid).sum(1) / valid.sum(1)
        codes = list(LANGUAGES)
        return self._loss(self.word(pooled), [c.thing * len(codes) + codes.index(c.language) for c in clips])

    @staticmethod
    def _loss(logits, targets):
        targets = torch.tensor(targets, device=logits.device)
        return functional.cross_entropy(logits, targets), logits.argmax(-1) == targets


assert GRID * GRID == IMAGE_SOFT_TOKENS
