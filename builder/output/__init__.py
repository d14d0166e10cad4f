"""Objects -> OUT, written aside and moved into place; OUT -> what it holds, verified.

In:  objects, chunks and programs as values. Out: files, or one stream.
Imports builder.reading, builder.payload and builder.kubernetes.
"""
