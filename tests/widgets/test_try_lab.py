import json, shutil, time
from pathlib import Path
import nbformat
from jupyter_lab import OUTPUT, KERNEL_IDLE, RUN_ALL, open_lab
pytest_plugins = ["browser_fixtures"]

def test_try(page, serve, tmp_path):
    home = tmp_path/"home"; res = home/"results"; res.mkdir(parents=True)
    app = Path("/tmp/pd_app/helpers/page/app")
    shutil.copy(app/"index.html", res/"index.html")
    shutil.copytree(app, res/"page")
    shutil.copy("/tmp/wt/pagedata/results/page/studies.js", res/"page/studies.js")
    nb = nbformat.v4.new_notebook()
    nb.cells=[nbformat.v4.new_code_cell(f"import sys; sys.path.insert(0,'/tmp/wt/pagedata')\nfrom helpers.widgets.results_page import results_page\nresults_page({str(res)!r})"),
      nbformat.v4.new_code_cell("from IPython.display import IFrame\nIFrame('/files/results/index.html', 900, 500)"),
      nbformat.v4.new_code_cell("from IPython.display import IFrame\nIFrame('results/index.html', 900, 500)")]
    nb.metadata.kernelspec={"name":"python3","display_name":"Python 3","language":"python"}
    nbformat.write(nb, home/"browse.ipynb")
    open_lab(page, serve, home/"browse.ipynb")
    page.wait_for_function(KERNEL_IDLE)
    page.evaluate(RUN_ALL)
    page.locator("iframe").nth(2).wait_for()
    time.sleep(40)
    for f in page.frames:
        try: print("FRAME", f.url, repr(f.locator("body").inner_text()[:300]))
        except Exception as e: print("FRAME", f.url, "ERR", str(e)[:200])
    print("ERRORS", page.errors)
    page.screenshot(path="/tmp/pd_lab/shot.png", full_page=True)
