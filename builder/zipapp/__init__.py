"""Source of a program's modules -> one smaller module, compared with what went in -> a zip that Python runs.

In:  path of each module -> its text. Out: bytes, the same for the same input and Python.
Imports only the standard library.

    pyz.py  ->  bundle.py: the modules become one  ->  minify.py: its passes  ->  zip
"""
