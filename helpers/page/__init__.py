"""The results as a static page: index.html and its data, written from what is on disk.

python -m helpers.page              write results/index.html and results/page/
python -m helpers.page --check      only say what is stale
python -m helpers.page.server       serve results/ on 127.0.0.1

`app/` is the page itself, HTML, CSS and JavaScript that are copied as they are, with the libraries in `app/vendor/`.
`site` writes and checks all files, `data_files` says what a data file looks like, `sweeps` makes the data of a sweep
(with `layer_numbers`, `moments` and `expectations`), `studies` the index. `own` does the same for results/local/.
A study with a view of its own has a module with `find(root)`, and a row in `site.PARTS`.
"""
