"""The sizes of injector.pyz: `python3 -m builder.zipapp` prints them, for developers."""
from typing import List, Mapping, Tuple

from builder.zipapp.bundle import bundle
from builder.zipapp.minify import minify
from builder.zipapp.pyz import BUDGET_BYTES, read_injector, zip_of

Row = Tuple[str, int, int, int]  # module; bytes of its source, of its minified source, and that it adds to the zip


def sizes(modules: Mapping[str, str]) -> List[Row]:
    """Return a row for each module in order, one for the empty zip, and the sums. Raises UnfitSource."""
    rows, text = [], ""
    for path, minified in minify(bundle(modules)).items():
        before, text = len(zip_of(text)), text + minified
        rows.append((path, len(modules[path].encode()), len(minified.encode()), len(zip_of(text)) - before))
    rows.append(("zip", 0, 0, len(zip_of(""))))
    return rows + [("total", sum(row[1] for row in rows), sum(row[2] for row in rows), sum(row[3] for row in rows))]


def table(rows: List[Row]) -> str:
    """Return the rows for people, with the share of the budget in the last line."""
    width, total = max(len(row[0]) for row in rows), rows[-1][3]
    lines = ["%-*s %8s %8s %8s" % (width, "module", "source", "minified", "packed")]
    lines += ["%-*s %8d %8d %8d" % (width, *row) for row in rows]
    return "\n".join(lines + ["%d of %d bytes, %d %%" % (total, BUDGET_BYTES, -(-100 * total // BUDGET_BYTES))])


if __name__ == "__main__":
    print(table(sizes(read_injector())))
