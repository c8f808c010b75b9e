"""Reproducible randomness: every random generator is a function of a seed and a purpose.

No draw depends on earlier draws, so a resumed run continues exactly as if it had not been
interrupted, and all workers and processes agree.
"""

from random import Random


def seeded_rng(seed: int, *purpose: int | str) -> Random:
    """A random generator for one purpose; the same seed and purpose give the same numbers."""
    return Random(repr((seed, *purpose)))


def torch_seed(seed: int, *purpose: int | str) -> int:
    """A seed for torch's generator, for random operations inside the model."""
    return seeded_rng(seed, *purpose).getrandbits(63)
