# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""What a report is made of: its sections, their tables and plots, and the forms that a reader sees."""
