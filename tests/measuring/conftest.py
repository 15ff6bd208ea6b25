# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The reports of one invented result, made once."""

import pytest
from support.reports import reports_of
from support.results import compare_result


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """(folder, text by file name)"""
    folder = tmp_path_factory.mktemp("whole")
    return folder / "out", reports_of(folder, compare_result(), rendered=True)
