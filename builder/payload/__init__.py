"""Images -> the payload that travels, its chunks, and where each image is served.

In:  Image values of builder.reading. Out: bytes in a file, their names, and addresses.
The written format is specified in stage1/README.md.
Imports builder.reading.
"""
