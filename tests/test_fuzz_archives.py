"""A little of what fuzz_archives.py can do, the same each time. Run that for more."""
import random

from tests import fuzz_archives
from tests.support import samples

CASES = 500
SEED = 3


def test_damaged_archives_are_refused_in_one_line_or_what_comes_out_is_whole():
    findings, outcomes = fuzz_archives.run(range(CASES), SEED)
    assert findings == []
    assert min(outcomes["refused"], outcomes["served"]) > CASES / 20  # else the damage is too much or too little


def test_an_undamaged_archive_is_served(tmp_path):
    rng = random.Random(SEED)
    for number in range(30):
        folder = tmp_path / str(number)
        folder.mkdir()
        samples.write(folder / fuzz_archives.ARCHIVE, fuzz_archives.archive(rng))
        assert fuzz_archives.attempt(random.Random("served"), str(folder)) == "served"
