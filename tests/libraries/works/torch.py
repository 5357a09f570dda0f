"""torch, for a processor: training, and a graph that is gone through backwards."""

import warnings
from functools import wraps

from hosts import Missing, pause

try:
    import torch
except ImportError as error:
    raise Missing(f"torch for a processor is not installed: {error}") from error

DISTRIBUTION = "torch"
torch.set_num_threads(2)


def _with_gradients(fn):
    """Gradients are off on a thread after backward() of a chain has been left."""

    @wraps(fn)
    def call():
        with torch.enable_grad():
            return fn()

    return call


@_with_gradients
def small():
    x = torch.arange(6.0, requires_grad=True)
    (x * x).sum().backward()
    return x.grad.tolist()


@_with_gradients
def heavy():
    torch.manual_seed(1)
    model = torch.nn.Sequential(
        torch.nn.Linear(20, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    x, y = torch.randn(256, 20), torch.randn(256, 1)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(round(loss.item(), 4))
    long = start = torch.ones(3, requires_grad=True)
    for _ in range(5000):
        long = long * 1.0001
    long.sum().backward()
    solved = []
    for n in (100, 500, 1000):
        a = torch.randn(n, n, dtype=torch.float64) + n**0.5 * torch.eye(n).double()
        b = torch.ones(n, dtype=torch.float64)
        error = (a @ torch.linalg.solve(a, b) - b).abs().max().item()
        solved.append((n, error < 1e-8))
    scripted = torch.jit.trace(lambda t: torch.relu(t) * 2, torch.ones(3))
    return [
        losses,
        start.grad.tolist(),
        solved,
        scripted(torch.tensor([-1.0, 2])).tolist(),
    ]


class _Stop(torch.autograd.Function):
    @staticmethod
    def forward(context, x, number):
        context.number = number
        return x * number

    @staticmethod
    def backward(context, gradient):
        pause()
        return gradient * context.number, None


def callback(number):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = torch.arange(4.0, requires_grad=True)
        x.register_hook(lambda gradient: pause() or gradient + number)
        y = _Stop.apply(x, number + 1)
        y.register_hook(lambda gradient: pause() or gradient * 2)
        (y * y).sum().backward()
    return x.grad.tolist()


@_with_gradients
def exception():
    class Failing(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return x * 1

        @staticmethod
        def backward(context, gradient):
            pause()
            raise LookupError("from below backward")

    Failing.apply(torch.ones(2, requires_grad=True)).sum().backward()
