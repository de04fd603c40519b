"""`kplab`: the command line. It prints and exits; nothing below it does.

Each command imports what it needs when it runs, so that `--version` and `--help` answer at once.
"""

from __future__ import annotations

import os
import sys

from kplab import __version__


def main() -> None:
    """Run the command line, and turn errors into words and an exit status."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        print(f"kplab {__version__}")  # noqa: T201
        return
    from kplab.cli.report import ExitCode, report
    from kplab.errors import ImageMissingError, KplabError

    try:
        from kplab.cli.app import app

        try:
            app()
        except ImageMissingError as error:
            from kplab.cli.image import offer

            if not offer(error):
                raise
            app()  # nothing was done yet: the lab was to be in a container of that image
    except KplabError as error:
        sys.exit(report(error))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader has gone (`| head`); nothing more can be said, not even by Python's own exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.OK)
    except Exception as defect:
        if os.environ.get("KPLAB_TRACEBACK"):
            raise
        print(f"kplab: this is a defect of kplab's: {type(defect).__name__}: {defect}", file=sys.stderr)  # noqa: T201
        print("  KPLAB_TRACEBACK=1 shows where; please report it with that text", file=sys.stderr)  # noqa: T201
        sys.exit(ExitCode.INTERNAL)


if __name__ == "__main__":
    main()
