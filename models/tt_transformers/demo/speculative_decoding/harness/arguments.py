# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The options of the command line."""

from __future__ import annotations

import argparse

from models.tt_transformers.demo.speculative_decoding.lookahead import MAX_DRAFT_TOKENS

PROG = "speculative_demo"
DRAFTERS = ("model", "feature", "prompt-lookup", "hybrid")
LOOKAHEADS = ("fixed", "adaptive", "auto")
PRECISIONS = {"torch": ("float32", "bfloat16"), "tt": ("performance", "accuracy")}  # by backend, the default first
DEFAULT_K = 4
WIDEST_AUTOMATIC_K = 16


def parser() -> argparse.ArgumentParser:
    """The options, grouped as a user thinks of them."""
    top = argparse.ArgumentParser(
        prog=PROG,
        description="Runs plain and speculative decoding of the same prompts by the same target model, interleaved in "
        "one process, checks that the tokens are equal, and shows what it cost and gained in wall-clock time.",
        epilog="Subcommands, each with --help: compare (many settings and transformers' own decoding in one run), "
        "report (tables, plots and a page from result files), estimate (what a pair could gain). "
        "Exit status: 0 every prompt matched plain decoding, 1 one did not, 2 bad input.",
    )
    models = top.add_argument_group("models")
    models.add_argument("--pair", metavar="NAME", help="a named target/draft pair (default: smollm2); see --list-pairs")
    models.add_argument("--list-pairs", action="store_true", help="print the named pairs and end")
    models.add_argument("--target", metavar="ID_OR_PATH", help="any Hugging Face causal LM instead of a pair")
    models.add_argument("--draft", metavar="ID_OR_PATH", help="a small model with the same tokenizer as the target")
    models.add_argument(
        "--drafter",
        choices=DRAFTERS,
        help="who drafts: a draft model, a trained feature draft, prompt lookup, or hybrid: prompt lookup where the "
        "text repeats itself and the draft model or feature draft elsewhere (default: the draft model if there is one, "
        "else "
        "hybrid if there is a feature draft, else prompt-lookup)",
    )
    models.add_argument(
        "--draft-file", metavar="FILE", help="a feature draft trained for the target (training.train_draft)"
    )
    models.add_argument(
        "--draft-head-ids", metavar="FILE", help="trim the draft's output layer to this JSON list of ids"
    )
    models.add_argument("--draft-head-text", metavar="FILE", help="... or to the most frequent ids of this text")
    models.add_argument("--draft-head-size", type=int, metavar="N", help="... so many of them")
    models.add_argument(
        "--backend", choices=["torch", "tt"], default="torch", help="torch: CPU or CUDA; tt: Tenstorrent"
    )
    models.add_argument("--device", default="cpu", help="torch backend: cpu (default) or cuda")
    models.add_argument(
        "--dtype", help=" ".join(f"{b}: {' or '.join(p)} (default: {p[0]})." for b, p in PRECISIONS.items())
    )
    models.add_argument(
        "--max-seq-len", type=int, default=2048, metavar="N", help="prompt and new tokens (default: 2048)"
    )

    decoding = top.add_argument_group("decoding")
    decoding.add_argument(
        "-k",
        "--num-draft-tokens",
        type=int,
        metavar="K",
        help=f"tokens drafted per round, 1 to {MAX_DRAFT_TOKENS}; the most that adaptive and auto may draft "
        f"(default: {DEFAULT_K} where fixed)",
    )
    decoding.add_argument(
        "--lookahead",
        choices=LOOKAHEADS,
        help="fixed: always K; adaptive: K follows what was accepted; auto: K follows the clock, down to plain "
        "decoding (default: fixed for the Llama pairs and where K is given, else auto)",
    )
    decoding.add_argument(
        "--batch-size", type=int, default=1, metavar="B", help="prompts generated together (default: 1)"
    )
    decoding.add_argument(
        "--temperature", type=float, default=0.0, help="0 is greedy (default); otherwise tokens are sampled"
    )
    decoding.add_argument(
        "--top-k", type=int, default=0, metavar="N", help="sample from the N likeliest; 0: all (default)"
    )
    decoding.add_argument(
        "--top-p", type=float, default=1.0, metavar="P", help="sample from the likeliest P of mass (default: 1)"
    )
    decoding.add_argument(
        "--exact",
        action="store_true",
        help="both arms run every forward K + 1 rows wide, so that low precision rounds alike; then demand identity",
    )
    decoding.add_argument("--max-new-tokens", type=int, default=128, metavar="N", help="per prompt (default: 128)")
    decoding.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end at this text (may be repeated)"
    )
    decoding.add_argument("--seed", type=int, default=0, help="of the random generators (default: 0)")

    prompts = top.add_argument_group("prompts")
    prompts.add_argument(
        "--prompts", metavar="FILE", help='JSON list of {"prompt": ..., "category": ...} (default: ten samples)'
    )
    prompts.add_argument("--prompt", metavar="TEXT", help="one prompt instead of a file")

    output = top.add_argument_group("measuring and output")
    output.add_argument(
        "--repeat", type=int, default=1, metavar="R", help="interleaved runs per prompt; medians are shown"
    )
    output.add_argument("--no-baseline", action="store_true", help="skip plain decoding: no speedup, no equality check")
    output.add_argument("--json", metavar="FILE", help="write everything that was measured")
    output.add_argument("--show-rounds", action="store_true", help="print what every round drafted and accepted")
    output.add_argument("--quiet", action="store_true", help="no streamed text, only the table")
    return top
