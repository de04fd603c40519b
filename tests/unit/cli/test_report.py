"""Errors become words and exit statuses in one place."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kplab import errors
from kplab.cli.report import ExitCode, exit_code, report

pytestmark = pytest.mark.unit


def subclasses(kind: type[errors.KplabError]) -> Iterator[type[errors.KplabError]]:
    """Yield every class below `kind`."""
    for child in kind.__subclasses__():
        yield child
        yield from subclasses(child)


@pytest.mark.parametrize("kind", list(subclasses(errors.KplabError)))
def test_every_error_has_an_exit_status(kind: type[errors.KplabError]) -> None:
    """No class of ours ends as an internal error."""
    assert exit_code(kind("tried", "happened", "hint")) not in (ExitCode.OK, ExitCode.INTERNAL)


def test_an_expression_is_marked_where_it_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """The mark stands under the part, and the three texts follow."""
    code = report(errors.ExpressionError("no", "because", "do this", position=3, length=2), "abcdefg")

    assert code == ExitCode.USAGE
    assert capsys.readouterr().err == "  abcdefg\n     ^^\nkplab: no: because\n  do this\n"
