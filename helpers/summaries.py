"""summary.csv of earlier versions: the columns that these did not write, computed from the logs of the runs.

    python -m helpers.summaries            of all that is published
    python -m helpers.summaries FOLDER     of one sweep

`records.load_sweep` computes them too, at each reading and in memory alone, and a sweep that is started again, which
needs its data. Of a run whose log was not kept they stay empty, and a summary of such runs alone stays as it is.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from helpers import checksums, files, packed, records
from helpers.progress import say


def complete(folder):
    """Write the columns `records.OF_PLATEAU` into a summary.csv that lacks them, or lacks those of runs with a log.

    Returns of how many runs they are known, None where there is nothing to write. What else stands in the file stays
    as it was, and runs.json knows the new one. Raises what `records.load_sweep` raises, LockedError, OSError.
    """
    folder = Path(folder)
    with files.locked(folder):
        summary, rows = records.load_sweep(folder).summary.set_index("run"), records.read_rows(folder)
        path, known = folder / "summary.csv", int(summary.crashed.notna().sum())
        if len(rows) != len(summary):
            raise records.RecordsError(f"{path} stays as it is: its columns are not in the order of a sweep's")
        if known == sum(row.get("crashed", pd.NA) is not pd.NA for row in rows):
            return None
        indexed = (folder / "runs.json").is_file()
        if indexed and (damage := checksums.damage_of_index(folder)):
            raise records.RecordsError(f"{path} stays as it is: {damage}")
        for row in rows:
            row |= {name: summary.at[row["run"], name] for name in records.OF_PLATEAU}
        settings = [name for name in rows[0] if name not in records.SUMMARY_COLUMNS]
        rows = [{name: row[name] for name in (*records.SUMMARY_COLUMNS, *settings)} for row in rows]
        runs = checksums.read(folder) if indexed else None
        records.write_summary(folder, rows, runs)
        if indexed:
            checksums.write(folder, runs)  # which forgets the summary before: that is not there any more
    return known


def main(arguments=None):
    """Complete summaries. Exit code 0: all went well; 1: something could not be read or written."""
    parser = argparse.ArgumentParser(prog="python -m helpers.summaries", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="*", type=Path, help="the folder of a sweep; all that is published if left out")
    given = parser.parse_args(arguments)
    published = (path for sweeps in records.find_sweeps(packed.PUBLISHED).values() for path in sweeps.values())
    folders, code, found = given.folder or [path for path in published if packed.is_published(path)], 0, 0
    for folder in folders:
        try:
            known = complete(folder)
        except (ValueError, FileNotFoundError, files.LockedError, OSError) as error:
            say(str(error), error=True)
            code = 1
        else:
            if known is not None:
                found += 1
                say(f"{folder}: left_plateau and crashed of {known} runs")
    if not found and not code:
        say("there is nothing to complete")
    return code


if __name__ == "__main__":
    sys.exit(main())
