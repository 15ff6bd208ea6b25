# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Training an EAGLE-3 head for a Hugging Face target; `python -m training.train_draft` is the command."""
