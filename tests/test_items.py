"""Which score speaks for a part that was photographed several times."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segdec.items import score_items

IMAGES = st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.sampled_from("abcd"))


@given(st.lists(IMAGES, max_size=12), st.sampled_from([0.15, 0.4, 0.6]))
@settings(max_examples=80, deadline=None)
def test_items_pass_and_are_rejected_as_the_glossary_says(images, threshold):
    labels, scores, groups = ([image[i] for image in images] for i in range(3))
    items = score_items(labels, scores, groups)
    escapes = overkill = defective = 0
    for name in set(groups):
        own = [(label, score >= threshold) for label, score, group in images if group == name]
        if any(label for label, _ in own):
            defective += 1
            escapes += not any(called for label, called in own if label)
        else:
            overkill += any(called for _, called in own)
    assert len(items.defective) == defective
    assert np.sum(items.defective < threshold) == escapes
    assert np.sum(items.good >= threshold) == overkill


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="alike"):
        score_items([True], [0.1], [])
