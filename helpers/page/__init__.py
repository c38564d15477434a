"""The results as a static page: index.html and one data file a sweep, written from what is on disk.

    python -m helpers.page             write results/index.html and results/page/
    python -m helpers.page --check     only say what is stale

`app/` is the page itself, plain HTML, CSS and JavaScript that is copied as it is; `sweeps.py` makes a sweep's data,
`studies.py` the index of studies, `files_of_page.py` writes and checks, `server.py` serves a folder on 127.0.0.1.
"""
