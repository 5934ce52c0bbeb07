"""The report in a real browser: it sorts, shows every plot, and loads nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.compare import load_files
from benchmarks.report import write_report

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium driven by Selenium."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="no browser test: selenium is not installed")
    program = next(filter(None, map(shutil.which, _BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no browser test: it needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,2000",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    session = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
    yield session
    session.quit()


@pytest.fixture(scope="module")
def page(browser: Any, result_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The page of two devices, opened."""
    folder = tmp_path_factory.mktemp("report")
    write_report(load_files(result_files), folder)
    browser.get((folder / "report.html").as_uri())
    return browser


def _column(page: Any, head: str) -> list[str]:
    script = """
      const table = document.getElementById("results");
      const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
      return [...table.tBodies[0].rows].map((row) => row.cells[heads.indexOf(arguments[0])].textContent);"""
    found: list[str] = page.execute_script(script, head)
    return found


def _click(page: Any, head: str) -> str:
    buttons = page.find_elements("css selector", "#results th button")
    button = next(item for item in buttons if item.text.strip(" ▲▼") == head)
    page.execute_script("arguments[0].scrollIntoView({inline: 'center', block: 'center'})", button)
    button.click()
    state: str = button.find_element("xpath", "..").get_attribute("aria-sort")
    return state


def test_a_click_sorts_and_a_second_one_reverses(page: Any) -> None:
    assert _click(page, "p50 ms") == "ascending"
    up = _column(page, "p50 ms")
    assert up[2:] == ["-", "-"] and float(up[0]) < float(up[1])
    assert _click(page, "p50 ms") == "descending"
    down = _column(page, "p50 ms")
    assert down == [up[1], up[0], "-", "-"]


def test_text_columns_sort_too_and_rows_stay_whole(page: Any) -> None:
    before = set(zip(_column(page, "target"), _column(page, "p50 ms"), _column(page, "device"), strict=True))
    assert _click(page, "target") == "ascending"
    assert _column(page, "target") == ["cpu", "cpu", "cuda", "cuda"]
    assert set(zip(_column(page, "target"), _column(page, "p50 ms"), _column(page, "device"), strict=True)) == before


def test_only_one_column_is_marked_as_sorted(page: Any) -> None:
    _click(page, "status")
    marked = page.find_elements("css selector", "#results th:not([aria-sort=none])")
    assert [item.text.strip(" ▲▼") for item in marked] == ["status"]


def test_every_plot_has_a_size_and_no_text_leaves_it(page: Any) -> None:
    plots = page.find_elements("css selector", "svg")
    assert len(plots) == 4 and all(plot.size["height"] > 40 and plot.size["width"] > 400 for plot in plots)
    outside = page.execute_script(
        """return [...document.querySelectorAll("svg text")].filter((text) => {
          const a = text.getBoundingClientRect(), b = text.ownerSVGElement.getBoundingClientRect();
          return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 3 || a.bottom > b.bottom + 3;
        }).map((text) => text.textContent);"""
    )
    assert outside == []


def test_the_page_loads_nothing_and_logs_no_error(page: Any) -> None:
    assert page.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_failed_rows_stand_out(page: Any) -> None:
    colours = page.execute_script(
        """const colour = (row) => getComputedStyle(row.cells[0]).color;
        const rows = [...document.querySelectorAll("#results tbody tr")];
        return [rows.filter((row) => row.classList.contains("failed")).map(colour),
                rows.filter((row) => !row.classList.contains("failed")).map(colour)];"""
    )
    assert len(colours[0]) == 2 and not set(colours[0]) & set(colours[1])
