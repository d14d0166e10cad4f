"""A little of what fuzz_server.py can do, the same each time. Run that for more."""
import pytest

from tests import fuzz_server
from tests.support import injector

CASES = 2500
SEED = 20


@pytest.fixture
def server(tmp_path):
    with injector.serving(fuzz_server.make_seed(tmp_path)) as running:
        yield running


def test_whatever_bytes_come_every_answer_is_well_formed_and_nothing_is_left_behind(server):
    assert fuzz_server.fuzz(server, CASES, SEED) == []


def test_slow_clients_do_not_hold_up_others(server):
    assert fuzz_server.slow(server, 200, 3) == []


def test_under_good_slow_and_hostile_clients_together_memory_and_files_stay_flat(server):
    assert fuzz_server.soak(server, 4, SEED) == []
