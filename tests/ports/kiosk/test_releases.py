"""Installing, working without a network, updating: never a file of one release beside a file of another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_infer.kiosk.site import Site
from tests.ports.kiosk.conftest import changed, damaged, served, with_settings
from tests.ports.kiosk.person import Person

STATUS = """
  const done = arguments[1];
  fetch(arguments[0]).then((response) => done(response.status), (error) => done(String(error)));
"""
RELEASE_SERVING = "return navigator.serviceWorker.controller?.scriptURL.split('=').pop() ?? null"
CHANGE_STORED = """
  const [path, done] = arguments;
  (async () => {
    const [name] = (await caches.keys()).filter((name) => name.startsWith("edge-infer-kiosk-"));
    const cache = await caches.open(name);
    const address = new URL(path, location.href).href;
    const data = new Uint8Array(await (await cache.match(address)).arrayBuffer());
    data[data.length >> 1] ^= 1;
    await cache.put(address, new Response(data));
    done(true);
  })();
"""


@pytest.fixture
def newer_site(toy_site: Site) -> Site:
    """A later release: another bundle, by one word of its manifest."""
    text = toy_site.files["bundle/bundle.json"].decode().replace('"1.2.3"', '"1.3.0"')
    return changed(toy_site, "bundle/bundle.json", text.encode())


def release_of(person: Person) -> str | None:
    """The release whose service worker answers this page now.

    Its worker is not asked for a file: each question keeps it busy, and a newer one waits until it rests.
    """
    found = person.run(RELEASE_SERVING)
    return None if found is None else str(found)


def network_comes_back(person: Person) -> None:
    """The application looks for an update."""
    person.run("window.dispatchEvent(new Event('online'))")


def bundle_shown(person: Person) -> str:
    """What the page says about itself."""
    person.taps("about-open")
    words = person.reads("facts")
    person.taps("about-close")
    return words


def test_it_works_when_the_network_is_gone(person: Person, toy_site: Site, nevus_file: Path) -> None:
    with served(toy_site) as server:
        person.visit(server.url)
    person.visit(server.url)
    person.chooses(nevus_file)
    assert "works; all files are checked and stored" in bundle_shown(person)
    assert release_of(person) == toy_site.release


def test_a_picture_asks_nothing_of_the_server(person: Person, toy_site: Site, nevus_file: Path) -> None:
    """The server is gone before the picture comes, and no request is tried."""
    with served(toy_site) as server:
        person.visit(server.url)
    person.run("performance.clearResourceTimings()")
    person.chooses(nevus_file)
    asked = person.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in asked if not name.startswith("blob:")] == []


def test_an_update_waits_until_nobody_uses_the_kiosk(
    person: Person, toy_site: Site, newer_site: Site, nevus_file: Path
) -> None:
    with served(toy_site) as server:
        person.visit(server.url)
        person.chooses(nevus_file)
    with served(newer_site, server.server_port):
        network_comes_back(person)
        person.until(lambda: "ready" in bundle_shown(person), lambda: "an update that waits")
        assert "toy 1.2.3" in bundle_shown(person) and release_of(person) == toy_site.release
        assert person.screen() == "answer" and person.traces()
        person.taps("answer-done")
        person.until(lambda: release_of(person) == newer_site.release, lambda: "the newer release")
        person.sees("start")
        assert "toy 1.3.0" in bundle_shown(person)
        stored = person.run("return caches.keys()")
        assert stored == [f"edge-infer-kiosk-{newer_site.release}"]
        person.chooses(nevus_file)


def test_a_page_of_one_release_gets_no_file_of_another(person: Person, toy_site: Site, newer_site: Site) -> None:
    with served(toy_site) as server:
        person.visit(server.url)
        ask = person.browser.execute_async_script
        path = "bundle/segmenter.onnx?release="
        assert ask(STATUS, path + toy_site.release) == 200
        assert ask(STATUS, path + newer_site.release) == 409
        assert ask(STATUS, "bundle/golden.npz") == 404


def test_two_windows_do_not_mix_when_one_takes_an_update_over(
    person: Person, toy_site: Site, newer_site: Site, nevus_file: Path
) -> None:
    with served(toy_site) as server:
        person.visit(server.url)
        person.chooses(nevus_file)
    with served(newer_site, server.server_port):
        with person.another_tab():
            person.visit(server.url)
            newer = newer_site.release
            person.until(lambda: release_of(person) == newer, lambda: "the newer release")
            person.sees("start")
            assert "toy 1.3.0" in bundle_shown(person)
        # The first window keeps its answer, is refused the other's bundle, and follows when it is idle.
        assert person.screen() == "answer" and "toy 1.2.3" in bundle_shown(person)
        path = f"bundle/bundle.json?release={toy_site.release}"
        assert person.browser.execute_async_script(STATUS, path) == 409
        person.taps("answer-done")
        person.until(lambda: person.screen() == "start" and "toy 1.3.0" in bundle_shown(person))


def test_a_damaged_update_is_refused_and_the_old_release_goes_on(
    person: Person, toy_site: Site, newer_site: Site, nevus_file: Path
) -> None:
    with served(toy_site) as server:
        person.visit(server.url)
    with served(damaged(newer_site, "bundle/bundle.json"), server.server_port):
        network_comes_back(person)
        person.until(lambda: "refused: bundle-tampered: bundle/bundle.json" in bundle_shown(person))
        assert person.run("return caches.keys()") == [f"edge-infer-kiosk-{toy_site.release}"]
        person.visit(server.url)
        person.chooses(nevus_file)
        assert "toy 1.2.3" in bundle_shown(person)


def test_a_damaged_file_is_never_installed(person: Person, toy_site: Site, nevus_file: Path) -> None:
    with served(damaged(toy_site, "bundle/segmenter.onnx")) as server:
        person.visit(server.url, "problem")
        assert "[bundle-tampered] bundle/segmenter.onnx" in person.reads("problem-detail")
        assert person.run("return caches.keys()") == []
        assert not person.browser.find_element("id", "problem-start").is_displayed()
    with served(toy_site, server.server_port):
        person.taps("problem-again")
        person.sees("start")
        person.chooses(nevus_file)


@pytest.mark.parametrize("path", ["bundle/segmenter.onnx", "bundle/bundle.json"])
def test_a_stored_file_that_changed_is_found_and_set_up_again(
    person: Person, toy_site: Site, nevus_file: Path, path: str
) -> None:
    with served(toy_site) as server:
        person.visit(server.url)
        assert person.browser.execute_async_script(CHANGE_STORED, path)
        person.visit(server.url, "problem")
        assert f"[bundle-tampered] {path.removeprefix('bundle/')}" in person.reads("problem-detail")
        person.taps("problem-again")
        person.sees("start")
        person.chooses(nevus_file)


def test_a_newer_schema_is_refused(person: Person, toy_site: Site) -> None:
    manifest = json.loads(toy_site.files["bundle/bundle.json"]) | {"schema_version": 99}
    with served(changed(toy_site, "bundle/bundle.json", json.dumps(manifest).encode())) as server:
        person.visit(server.url, "problem")
        assert "[bundle-schema]" in person.reads("problem-detail") and "99" in person.reads("problem-detail")


def test_a_server_that_is_gone_at_the_first_visit_is_said(person: Person, toy_site: Site) -> None:
    """The page came, and then nothing more."""
    files = {path: data for path, data in toy_site.files.items() if not path.startswith("bundle/")}
    with served(Site(files)) as server:
        person.visit(server.url, "problem")
        assert "[bundle-file-missing] bundle/" in person.reads("problem-detail")


def test_without_isolation_there_is_one_thread_and_without_a_worker_it_says_so(
    open_browser: Callable[..., Any], toy_site: Site, nevus_file: Path
) -> None:
    headers = {name: text for name, text in toy_site.headers.items() if not name.startswith("Cross-Origin-")}
    site = changed(toy_site, "headers.json", json.dumps(headers).encode())
    with open_browser() as browser, served(site) as server:
        script = "delete Navigator.prototype.serviceWorker"
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
        person = Person(browser)
        person.visit(server.url)
        assert person.run("return crossOriginIsolated") is False
        person.chooses(nevus_file)
        words = bundle_shown(person)
        assert "Threads\n1\n" in words and "not stored: this browser does not allow it" in words


def test_a_host_that_cannot_set_headers_gets_them_from_the_worker(person: Person, toy_site: Site) -> None:
    site = changed(toy_site, "headers.json", b"{}")
    with served(site) as server:
        person.visit(server.url)
        assert person.run("return crossOriginIsolated") is True


def test_settings_reach_the_page(person: Person, toy_site: Site, nevus_file: Path) -> None:
    with served(with_settings(toy_site, language="de", save=False)) as server:
        person.visit(server.url)
        assert person.run("return document.documentElement.lang") == "de"
        person.chooses(nevus_file)
        assert not person.browser.find_element("id", "answer-save").is_displayed()
