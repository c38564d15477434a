"""Prescriptions on trial.

python -m helpers.prescriptions draw    write the combinations, if there are none yet
python -m helpers.prescriptions run     prescribe for each, and train all competitors; started again, it goes on
python -m helpers.prescriptions say     the table, the sentences and the figures of what was run
"""

import argparse
import sys

from helpers.progress import say


def main(arguments=None):
    """Exit code 0: all went well; 1: a sentence says what did not."""
    parser = argparse.ArgumentParser(prog="python -m helpers.prescriptions", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("draw", "run", "say"))
    parser.add_argument("--folder", default="results/signal/prescriptions")
    parser.add_argument("--data-dir", default="data")
    given = parser.parse_args(arguments)
    try:
        {"draw": _draw, "run": _run, "say": _say}[given.what](given)
    except (ValueError, OSError, RuntimeError) as error:
        say(error, error=True)
        return 1
    return 0


def _draw(given):
    from helpers.prescriptions.combinations import written

    say(f"{len(written(given.folder))} combinations in {given.folder}")


def _run(given):
    from helpers.prescriptions.study import PrescriptionStudy

    study = PrescriptionStudy(given.folder, given.data_dir)
    say(study.describe())
    study.run()
    _say(given)


def _say(given):
    from helpers import figures
    from helpers.prescriptions import findings
    from helpers.prescriptions.study import load_study

    results = load_study(given.folder)
    say(findings.table(results).to_string(index=False, float_format="{:.3g}".format))
    for sentence in findings.verdict(results):
        say(sentence)
    for draw in (findings.who_learned, findings.rates):
        say(figures.save(draw(results), given.folder))


if __name__ == "__main__":
    sys.exit(main())
