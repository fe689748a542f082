"""How commands use the processor."""


def set_up_torch(threads: int | None = None) -> None:
    """Prepare torch for a command: its number of threads, and denormal numbers as zeros.

    Far from a query, softmax weights are denormal, which some processors handle many times slower
    than zero: whole tracks cost 6 % more for digits beyond 1e-38. Importing the package leaves
    this process-wide switch alone; a command owns its process.

    Args:
        threads: of torch; None: its own choice.
    """
    import torch

    torch.set_flush_denormal(True)
    if threads is not None:
        torch.set_num_threads(threads)
