"""Faults, tried: what is killed, full, damaged, raced and odd, and what becomes of the work. `make faults` runs it.

    python -m tests.faults                       every kind, and the table: fault, tries, lost, how it showed
    python -m tests.faults kills fuzz            those whose name or file has one of these words
    python -m tests.faults --share 0.1 --seed 3  a tenth of the tries, drawn by another seed

`table`     what became of the tries of a fault, the table
`small`     a sweep and a study as small as can be, and what is compared of them
`child`     one start in a process of its own, where it can be killed, and the disk that fails there
`kills`, `disk`, `damage`, `resumes`, `surroundings`, `meanings`, `fuzz`   the faults

A try is lost where finished work is gone or trained again, where a number differs in silence, where a traceback comes
in the place of a sentence, or where nothing comes at all.
"""
