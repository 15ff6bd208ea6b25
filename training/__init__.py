# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Training a feature draft for a Hugging Face target; train_draft.py is the command."""
