"""What to mask or label next: the images of which a network would learn most."""

from segdec.suggest.annotate import FORMS, TARGETS, check_forms, to_text, write_suggestions
from segdec.suggest.choose import Suggestion, choose
from segdec.suggest.measure import Measured, embed, measure
from segdec.suggest.pool import Candidate, Pool, find_pool, pool_of
from segdec.suggest.rank import Ranking, choose_from, suggest

__all__ = [
    "FORMS",
    "TARGETS",
    "Candidate",
    "Measured",
    "Pool",
    "Ranking",
    "Suggestion",
    "check_forms",
    "choose",
    "choose_from",
    "embed",
    "find_pool",
    "measure",
    "pool_of",
    "suggest",
    "to_text",
    "write_suggestions",
]
