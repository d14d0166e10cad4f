"""Source -> smaller source, compared with what went in -> one zip that Python runs.

In:  path in the zip -> source text. Out: bytes, the same for the same input.
Imports the standard library alone.
"""
