"""Images -> images: fewer platforms, layers that compress better.

In and out: Image values of builder.reading. A change of a digest is noted.
Imports builder.reading.
"""
