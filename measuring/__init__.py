# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What measures beside the product: comparisons, estimates and reports. Nothing of the package imports it."""
