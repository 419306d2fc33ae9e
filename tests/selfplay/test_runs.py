"""The folder of a run: its small files are whole or not there, and a damaged one does not bar the way."""

from pathlib import Path

import pytest

from sparring.selfplay.runs import RunFolder, is_run, write_whole


@pytest.mark.parametrize("text", ["", '{"finished": tr', "[]", "\x00\x00"])
def test_a_damaged_summary_is_that_of_an_unfinished_run(text: str, tmp_path: Path) -> None:
    """A power cut while the summary was written once left an empty one, and the run could not be resumed."""
    folder = RunFolder(tmp_path / "run", {"games": 3})
    (folder.path / "summary.json").write_text(text)
    _, config = RunFolder.reopen(folder.path)
    assert config == {"games": 3}
    folder.summarize({"finished": True})
    with pytest.raises(ValueError, match="is finished"):
        RunFolder.reopen(folder.path)


def test_what_is_not_finite_is_null_in_the_records(tmp_path: Path) -> None:
    """NaN is no JSON: other readers than Python's refuse the whole line."""
    folder = RunFolder(tmp_path / "run", {})
    folder.log({"loss": float("nan"), "grad_norm": float("inf"), "games": 3, "curve": [1.5, -float("inf")]})
    line = (folder.path / "metrics.jsonl").read_text()
    assert line == '{"loss": null, "grad_norm": null, "games": 3, "curve": [1.5, null]}\n'


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path / "run", {})
    folder.summarize({"finished": False})
    before = (folder.path / "summary.json").read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        folder.summarize({"finished": True})
    assert (folder.path / "summary.json").read_text() == before


def test_what_a_kill_leaves_beside_is_the_runs_own(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", {})
    for name in (".summary.json", ".tracker.json", ".config.yaml"):
        (folder.path / name).write_text("{")
    assert is_run(folder.path)
    RunFolder(folder.path, {}, overwrite=True)
    assert [path.name for path in folder.path.iterdir()] == ["config.yaml"]


def test_nothing_is_left_beside_a_whole_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.json", "1")
    write_whole(tmp_path / "a.json", "2")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "2")]
