"""Files -> OUT, written next to its place, then renamed; OUT -> its contents, verified.

In:  files as values, or in the workspace. Out: a folder, or one stream.
Imports builder.reading, builder.payload and builder.kubernetes.
"""
