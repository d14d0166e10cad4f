"""OUT -> what a kubelet makes of it: the chunk files. The twin of output.py; reads only what that writes."""
import base64
import os
import re
from typing import Dict

CHUNK_LINE = re.compile(rb'^  "?([0-9a-f]{12}-\d+-of-\d+-[0-9a-f]{64})"?: "([A-Za-z0-9+/=]*)"$', re.MULTILINE)


def chunk_files(out: str) -> Dict[str, bytes]:
    """File name -> bytes, of every chunk in OUT."""
    found = {}
    for name in sorted(os.listdir(out)):
        if name.startswith("10-chunk-"):
            with open(os.path.join(out, name), "rb") as file:
                found.update((key.decode(), base64.b64decode(data)) for key, data in CHUNK_LINE.findall(file.read()))
    return found
