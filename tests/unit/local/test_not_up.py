"""What the command says where no zoo runs on a data folder."""

from pathlib import Path

from typer.testing import CliRunner

from modelzoo.command.main import make_app


def test_the_hint_names_the_folder_option_and_no_address(tmp_path: Path):
    for command in ("status", "env"):
        told = CliRunner().invoke(make_app(), [command, "--data", str(tmp_path / "none")])
        assert told.exit_code == 5
        assert str(tmp_path / "none") in told.stderr
        assert "--data" in told.stderr.partition("hint: ")[2]
        assert "address" not in told.stderr
