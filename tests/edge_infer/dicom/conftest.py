"""The extra, or no tests."""

from __future__ import annotations

import pytest

pytest.importorskip("pydicom", reason="the extra [dicom] is not installed")
pytest.importorskip("highdicom", reason="the extra [dicom] is not installed")
