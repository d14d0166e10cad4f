"""Images -> images: fewer platforms, layers that compress better.

In and out: Image values of builder.reading. Whatever changes a digest says so in a note.
Imports builder.reading.
"""
