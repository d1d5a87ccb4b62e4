"""Hugging Face's sequence classifiers as trainers: built from a config, trained as PyTorch modules. No download."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

from mia_jax.targets.frameworks import heads, pytorch


@dataclasses.dataclass(frozen=True)
class Trainer(pytorch.Trainer):
    """``fit(x, y, *, seed)`` of a sequence classifier."""

    title: ClassVar[str] = "Hugging Face"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")


def logits(module: Any, tokens: Any) -> Any:
    """The logits [b, c] of token indices [b, L]; what is padded is masked."""
    pad = module.config.pad_token_id
    mask = None if pad is None else (tokens != pad).long()
    return module(input_ids=tokens, attention_mask=mask).logits


def huggingface(
    make_model: Callable[[], Any],
    *,
    optimizer: Callable[[Any], Any] | None = None,
    epochs: int = 3,
    batch_size: int = 16,
    device: str | None = None,
) -> Trainer:
    """A sequence classifier as ``fit(x, y, *, seed) -> predict``, where x is int [n, L], indices of tokens.

    Args:
        make_model: () -> a model that gives ``logits``, as
            ``lambda: AutoModelForSequenceClassification.from_config(config)``; the padding is the config's.
        optimizer: parameters -> an optimizer; by default AdamW at 5e-5.
        epochs, batch_size, device: as of ``torch``.

    Raises:
        InputError: transformers or PyTorch is not installed.
    """
    for module in ("transformers", "torch"):
        heads.installed(module, module, "platforms.huggingface")
    return Trainer(make_model, optimizer or _adamw, epochs, batch_size, "logits", device, logits)


def huggingface_predictor(model: Any, *, batch_size: int = 64) -> pytorch.Predictor:
    """A trained sequence classifier as ``predict(x) -> probabilities``.

    Args:
        model: trained; it is asked where it lies.
        batch_size: records asked about at once.
    """
    return pytorch.Predictor(model, "logits", logits, batch_size)


def _adamw(parameters: Any) -> Any:
    import torch

    return torch.optim.AdamW(parameters, lr=5e-5)
