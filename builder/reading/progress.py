"""Progress callbacks: their types."""
from typing import Any, Callable

Count = Callable[[int], Any]  # (bytes read since the last call)
Progress = Callable[[str, int, int], Any]  # (what is going on, bytes done since the last call, bytes in all or 0)
