"""PyTorch modules as trainers and as targets: in batches, in ``eval()`` and without gradients when asked, anywhere."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from mia_jax.targets.frameworks import heads
from mia_jax.targets.frameworks.heads import Head
from mia_jax.types import Array, InputError

ASKED = 1024  # records in a batch when a module is only asked
SHAPING = (
    "View",
    "Squeeze",
    "Reshape",
    "Select",
    "Slice",
    "Clone",
    "Copy",
    "Transpose",
    "TBackward",
)  # what changes no number


def _forward(module: Any, x: Any) -> Any:
    return module(x)


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A trained module that answers: records [n, *f] -> probabilities [n, c]."""

    module: Any
    head: Head
    forward: Callable[[Any, Any], Any] = _forward
    batch_size: int = ASKED

    def __call__(self, x: Array) -> np.ndarray:
        """Ask in batches, in ``eval()`` and without gradients, where the module lies."""
        import torch

        inputs, device = _tensor(x), _device(self.module)
        self.module.eval()
        with torch.no_grad():
            parts = [self.forward(self.module, part.to(device)) for part in inputs.split(self.batch_size)]
        outputs = torch.cat(parts).float().cpu().numpy()
        heads.check(outputs, self.head, "the module")
        return heads.probabilities(outputs, self.head)


@dataclasses.dataclass(frozen=True)
class Trainer:
    """``fit(x, y, *, seed)`` of a PyTorch module; what it returns is a Predictor."""

    title: ClassVar[str] = "PyTorch"
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    make_module: Callable[[], Any]
    optimizer: Callable[[Any], Any] | None
    epochs: int
    batch_size: int
    head: Head
    device: str | None
    forward: Callable[[Any, Any], Any] = _forward

    def __call__(self, x: Array, y: Array, *, seed: int) -> Predictor:
        """Train a fresh module on records [m, *f] with labels [m]; PyTorch's own random state stays as it was."""
        import torch

        devices = [*range(torch.cuda.device_count())] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            module = self.make_module().to(self.device or "cpu")
            self._train(module, _tensor(x), torch.as_tensor(np.array(y, np.int64)))
        return Predictor(module, self.head, self.forward)

    def _train(self, module: Any, x: Any, y: Any) -> None:
        import torch

        make = self.optimizer or (lambda parameters: torch.optim.Adam(parameters, lr=1e-3))
        optimizer, device = make(module.parameters()), _device(module)
        module.train()
        first = True
        for _ in range(self.epochs):
            for rows in _batches(torch.randperm(len(y)), self.batch_size):
                outputs = self.forward(module, x[rows].to(device))
                if first:
                    heads.check(outputs.detach().float().cpu().numpy(), self.head, "the module")
                    _refuse_sigmoid(outputs, self.head)
                    first = False
                optimizer.zero_grad()
                _loss(outputs, y[rows].to(device), self.head).backward()
                optimizer.step()


def torch(
    make_module: Callable[[], Any],
    *,
    optimizer: Callable[[Any], Any] | None = None,
    epochs: int = 20,
    batch_size: int = 100,
    head: Head = "logits",
    device: str | None = None,
) -> Trainer:
    """A PyTorch module as ``fit(x, y, *, seed) -> predict``.

    Floats become float32, and so do bits and bytes (bool, uint8); wider integers stay, as indices of tokens are. The
    loss is the cross-entropy; of a head with a single column, that of its sigmoid.

    Args:
        make_module: () -> a fresh module: the class, or a function. Its random numbers are the seed's.
        optimizer: parameters -> an optimizer, as ``lambda p: torch.optim.SGD(p, lr=0.1)``; by default Adam at 1e-3.
        epochs, batch_size: passes over the records, and records in a step.
        head: what the module gives: "logits" ([b, c], or [b, 1] or [b] for two classes), or "probabilities" of a module
            that ends in a softmax or a sigmoid.
        device: where it is trained and asked, as "cuda"; by default the CPU.

    Raises:
        InputError: PyTorch is not installed.
    """
    heads.installed("torch", "torch", "platforms.torch")
    return Trainer(make_module, optimizer, epochs, batch_size, head, device)


def torch_predictor(module: Any, *, head: Head = "logits", batch_size: int = ASKED) -> Predictor:
    """A trained PyTorch module as ``predict(x) -> probabilities``, in batches, in ``eval()`` and without gradients.

    Args:
        module: trained; it is asked where it lies.
        head: as of ``torch``.
        batch_size: records asked about at once.
    """
    return Predictor(module, head, batch_size=batch_size)


def _refuse_sigmoid(outputs: Any, head: Head) -> None:
    """Refuse a single column of "logits" that comes from a sigmoid: its numbers alone could be logits.

    Raises:
        InputError: it does, by what PyTorch noted of its gradient.
    """
    if head != "logits" or not (outputs.ndim == 1 or outputs.shape[1] == 1):
        return
    node = outputs.grad_fn
    while node is not None and any(word in node.name() for word in SHAPING) and node.next_functions:
        node = node.next_functions[0][0]
    if node is not None and node.name().startswith("Sigmoid"):
        raise InputError(
            'the module gives probabilities already, as of a sigmoid: give head="probabilities", or leave the sigmoid'
            " out"
        )


def _tensor(x: Any) -> Any:
    """Records [n, *f] as a tensor on the CPU."""
    import torch

    values = x if isinstance(x, torch.Tensor) else torch.as_tensor(np.array(x))
    narrow = values.is_floating_point() or values.dtype in (torch.bool, torch.uint8)
    return values.float() if narrow else values.long()


def _device(module: Any) -> Any:
    return next((parameter.device for parameter in module.parameters()), "cpu")


def _batches(order: Any, size: int) -> Iterator[Any]:
    """Rows in batches; a last one of a single record joins the one before it, for batch statistics need two."""
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [order[-(size + 1) :]]
    return iter(parts)


def _loss(outputs: Any, y: Any, head: Head) -> Any:
    from torch.nn import functional

    if outputs.ndim == 1 or outputs.shape[1] == 1:
        if int(y.max()) > 1:
            raise InputError(f"the module gives one number for each record, and there is a label {int(y.max())}")
        loss = functional.binary_cross_entropy_with_logits if head == "logits" else functional.binary_cross_entropy
        return loss(outputs.reshape(len(y)), y.float())
    if head == "probabilities":
        return functional.nll_loss(outputs.clamp_min(1e-30).log(), y)
    return functional.cross_entropy(outputs, y)
