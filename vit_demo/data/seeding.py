"""Chance that can be repeated: every draw is a function of a seed and of what it is for.

A run that was broken off goes on exactly as it would have, because no draw depends on the ones
before it. Workers and processes agree for the same reason.
"""

from random import Random


def seeded_rng(seed: int, *purpose: int | str) -> Random:
    """Dice of their own for one purpose; the same seed and purpose always throw the same."""
    return Random(repr((seed, *purpose)))


def torch_seed(seed: int, *purpose: int | str) -> int:
    """A seed for torch's own generator, for what draws inside of a model."""
    return seeded_rng(seed, *purpose).getrandbits(63)
