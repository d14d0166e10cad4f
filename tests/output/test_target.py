import hashlib
import io
import os

import pytest

from builder.kubernetes import file_names
from builder.kubernetes.files import MARK
from builder.output.target import DryRun, FolderTarget, StreamTarget
from builder.output.workspace import file_of
from builder.reading.errors import InputError

FILES = [("00-namespace.yaml", [b"kind: Namespace\n"]), (file_names.README, [MARK.encode(), b"\n"])]
CONTENT = {name: b"".join(parts) for name, parts in FILES}
OLD = ("10-chunk-a.yaml", [b"old"])


def target_of(out, key="", commit=lambda: None):
    return FolderTarget(str(out), MARK, lambda *_: None, key, commit)


def write(out, files=tuple(FILES), commit=lambda: None):
    """Write OUT as a build does."""
    target = target_of(out, commit=commit)
    target.check()
    with target.workspace() as work:
        target.write([work.write(*file) for file in files], work)


def content(folder):
    """File name -> bytes, but for the sums of the files."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != file_names.SUMS}


def test_the_sums_are_those_of_every_other_file(tmp_path):
    write(tmp_path / "out")
    assert (tmp_path / "out" / "SHA256SUMS").read_text() == "".join(
        "%s  %s\n" % (hashlib.sha256(data).hexdigest(), name) for name, data in sorted(CONTENT.items()))


def test_a_new_folder_appears_with_all_its_files(tmp_path):
    write(tmp_path / "out")
    assert content(tmp_path / "out") == CONTENT
    assert os.listdir(tmp_path) == ["out"]


def test_an_older_build_is_replaced_as_a_whole(tmp_path):
    write(tmp_path / "out", FILES + [OLD])
    write(tmp_path / "out")
    assert content(tmp_path / "out") == CONTENT
    assert os.listdir(tmp_path) == ["out"]


def test_a_folder_that_may_not_be_replaced_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_bytes(b"mine")
    with pytest.raises(InputError, match="not a folder that Seedpod wrote"):
        target_of(tmp_path / "out").check()
    assert content(tmp_path / "out") == {"mine": b"mine"} and os.listdir(tmp_path) == ["out"]


def test_a_file_that_appears_in_the_folder_during_the_build_is_kept(tmp_path):
    write(tmp_path / "out")
    with pytest.raises(InputError, match="out/40-mine.yaml: not written by Seedpod: move it away, or choose another"):
        target = target_of(tmp_path / "out")
        with target.workspace() as work:
            (tmp_path / "out" / "40-mine.yaml").write_bytes(b"mine")
            target.write([work.write(*OLD)], work)
    assert content(tmp_path / "out") == {"40-mine.yaml": b"mine", **CONTENT} and os.listdir(tmp_path) == ["out"]


def test_a_folder_in_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="its parent folder does not exist"):
        write(tmp_path / "a" / "out")
    assert os.listdir(tmp_path) == []


def test_a_failure_in_the_middle_leaves_the_old_folder_and_no_litter(tmp_path):
    write(tmp_path / "out")

    def files():
        yield "00-namespace.yaml", [b"new"]
        raise OSError("the disk is full")
    with pytest.raises(OSError, match="the disk is full"):
        write(tmp_path / "out", files())
    assert content(tmp_path / "out") == CONTENT
    assert os.listdir(tmp_path) == ["out"]


def test_the_build_counts_as_done_before_the_old_folder_moves(tmp_path):
    write(tmp_path / "out", FILES + [OLD])
    seen = []
    write(tmp_path / "out", commit=lambda: seen.append(content(tmp_path / "out")))
    assert seen == [{OLD[0]: b"old", **CONTENT}]


def test_a_build_that_is_not_signed_does_not_count_as_done(tmp_path):
    with pytest.raises(InputError, match="--sign none: "):
        target = target_of(tmp_path / "out", "none", commit=lambda: pytest.fail("it counts as done"))
        with target.workspace() as work:
            target.write([work.write(*file) for file in FILES], work)
    assert os.listdir(tmp_path) == []


def test_an_unused_workspace_is_removed(tmp_path):
    with target_of(tmp_path / "out").workspace() as work:
        work.write(*OLD)
    assert os.listdir(tmp_path) == []


def test_scratch_files_are_not_in_the_folder(tmp_path):
    target = target_of(tmp_path / "out")
    with target.workspace() as work:
        with open(os.path.join(work.folder, "layer-0.tar"), "wb") as file:
            file.write(b"plain")
        target.write([work.write(*file) for file in FILES], work)
    assert content(tmp_path / "out") == CONTENT and os.listdir(tmp_path) == ["out"]


def test_a_new_folder_has_the_rights_of_any_new_folder(tmp_path):
    write(tmp_path / "out")
    (tmp_path / "other").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_file_is_written_from_its_bytes_or_taken_from_the_workspace(tmp_path):
    target = target_of(tmp_path / "out")
    with target.workspace() as work:
        target.write([work.write(*FILES[0]), file_of(FILES[1][0], CONTENT[FILES[1][0]])], work)
    assert content(tmp_path / "out") == CONTENT


def test_a_stream_holds_the_yaml_files_in_the_order_of_their_names():
    stream, done = io.BytesIO(), []
    target = StreamTarget(stream, lambda: done.append(stream.getvalue()))
    with target.workspace() as work:
        target.write([file_of("20-b.yaml", b"b: 1\n"), work.write("10-a.yaml", [b"a: ", b"1\n"]),
                      file_of("README.txt", b"text")], work)
    assert done == [b"---\na: 1\n---\nb: 1\n"]


def test_a_dry_run_checks_counts_and_writes_nothing(tmp_path):
    target = DryRun(target_of(tmp_path / "out", commit=lambda: pytest.fail("it counts as done")))
    with target.workspace() as work:
        file = work.write(*FILES[0])
        assert (file.size, file.path) == (len(CONTENT[file.name]), "")
        target.write([file], work)
    assert os.listdir(tmp_path) == []
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_bytes(b"mine")
    with pytest.raises(InputError, match="not a folder that Seedpod wrote"):
        target.check()
