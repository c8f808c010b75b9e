"""Classes are ranked by probability, and a class is found by its label or its index."""

import pytest
import torch

from vit_demo.errors import TargetError
from vit_demo.predictions import find_class, rank


def test_ties_keep_the_order_of_the_classes():
    ranked = rank(torch.tensor([1.0, 3.0, 1.0, 3.0]), ("a", "b", "c", "d"))
    assert [prediction.label for prediction in ranked] == ["b", "d", "a", "c"]


def test_a_class_is_found_by_its_label_or_its_index():
    ranked = rank(torch.tensor([1.0, 3.0]), ("roses", "tulips"))
    assert find_class("roses", ranked) == find_class(0, ranked) == find_class("0", ranked)
    for wrong, words in (("rose", "did you mean 'roses'"), (2, "no class 2"), ("7", "no class 7")):
        with pytest.raises(TargetError, match=words):
            find_class(wrong, ranked)


def test_an_ambiguous_label_is_refused_with_both_indices():
    """ImageNet has two classes called "crane"; choosing one of them silently would be a guess."""
    ranked = rank(torch.tensor([0.1, 0.5, 0.3, 0.2]), ("crane", "rose", "crane", "2"))
    likely = r"'crane' is the label of classes 0 \(20\.8%\) and 2 \(25\.3%\); give the index"
    with pytest.raises(TargetError, match=likely):
        find_class("crane", ranked)
    assert find_class("rose", ranked).index == 1
    assert find_class(2, ranked).index == 2
    assert find_class("2", ranked).index == 3, "a label takes precedence over an index"
    assert find_class("0", ranked).index == 0
    assert find_class("index:2", ranked).index == 2, "not a label"
    with pytest.raises(TargetError, match="no class 9"):
        find_class("index:9", ranked)
    with pytest.raises(TargetError, match="has no class 'index:crane'"):
        find_class("index:crane", ranked)
