# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The options of the command line."""

from models.tt_transformers.demo.speculative_decoding.harness.command import Parser, number
from models.tt_transformers.demo.speculative_decoding.lookahead import MAX_DRAFT_TOKENS

DRAFTERS = ("model", "feature", "eagle3", "suffix", "prompt-lookup", "hybrid")
LOOKAHEADS = ("fixed", "adaptive", "auto")
PRECISIONS = {"torch": ("float32", "bfloat16"), "tt": ("performance", "accuracy")}  # by backend, the default first
DEFAULT_K = 4
DEFAULT_SEQ_LEN = 2048


def parser() -> Parser:
    """The options, grouped as a user thinks of them."""
    top = Parser(
        prog="speculative_demo",
        description="Runs plain and speculative decoding of the same prompts by the same target model, interleaved in "
        "one process, checks that the tokens are equal, and shows what it cost and gained in wall-clock time.",
        epilog="Subcommands, each with --help: compare (many settings and transformers' own decoding in one run), "
        "report (tables, plots and a page from result files), estimate (what a pair could gain). "
        "Exit status: 0 every prompt matched plain decoding, 1 one did not, 2 bad input, 130 interrupted.",
    )
    whole, count, real = number(int, 0), number(int, 1), number(float, 0)
    add = top.add_argument_group("models").add_argument
    add("--pair", metavar="NAME", help="a named target/draft pair (default: smollm2); see --list-pairs")
    add("--list-pairs", action="store_true", help="print the named pairs and end")
    add("--target", metavar="ID_OR_PATH", help="any Hugging Face causal LM instead of a pair")
    add("--draft", metavar="ID_OR_PATH", help="a small model with the target's tokenizer, or an EAGLE-3 head of it")
    who = (
        "a draft model, a trained feature draft, an EAGLE-3 head, suffix: what followed in the text so far, prompt "
        "lookup (a baseline), or hybrid: suffix where it promises more than the draft, and behind it (default: what is "
        "there: model, hybrid of a head or a feature draft, suffix)"
    )
    add("--drafter", choices=DRAFTERS, help=who)
    taps = "the target's layers whose inputs an EAGLE-3 head reads, such as 2,16,29 (default: what its config says)"
    add("--eagle-layers", metavar="LIST", help=taps)
    past = "suffix drafts also from past answers, to any prompt, N tokens of them (default: 0; said in the record)"
    add("--suffix-memory", type=whole, default=0, metavar="N", help=past)
    add("--draft-file", metavar="FILE", help="a feature draft trained for the target (python -m training.train_draft)")
    add("--draft-head-ids", metavar="FILE", help="trim the draft's output layer to this JSON list of ids")
    add("--draft-head-text", metavar="FILE", help="... or to the most frequent ids of this text")
    add("--draft-head-size", type=count, metavar="N", help="... so many of them")
    add("--backend", choices=["torch", "tt"], default="torch", help="torch: CPU or CUDA; tt: Tenstorrent")
    add("--device", default="cpu", help="torch backend: cpu (default) or cuda")
    add("--dtype", help=" ".join(f"{b}: {' or '.join(p)} (default: {p[0]})." for b, p in PRECISIONS.items()))
    known = f"{DEFAULT_SEQ_LEN}, or what the models know if less"
    add("--max-seq-len", type=number(int, 2), metavar="N", help=f"prompt and new tokens (default: {known})")

    add = top.add_argument_group("decoding").add_argument
    k = f"tokens drafted per round (1 to {MAX_DRAFT_TOKENS}), or the most of them (default: {DEFAULT_K} where fixed)"
    add("-k", "--num-draft-tokens", type=number(int, 1, MAX_DRAFT_TOKENS), metavar="K", help=k)
    how = "fixed: always K; adaptive: K follows what was accepted; auto: K follows the clock, down to plain decoding"
    usual = "fixed for pairs of two Llamas and where K is given, else auto"
    add("--lookahead", choices=LOOKAHEADS, help=f"{how} (default: {usual})")
    add("--batch-size", type=count, default=1, metavar="B", help="prompts generated together (default: 1)")
    best = "tell each token's log-probability in the JSON, and the N best there (0 to 100)"
    add("--logprobs", type=number(int, 0, 100), metavar="N", help=best)
    add("--temperature", type=real, default=0.0, help="0 is greedy (default); otherwise tokens are sampled")
    add("--top-k", type=whole, default=0, metavar="N", help="sample from the N likeliest; 0: all (default)")
    add("--top-p", type=real, default=1.0, metavar="P", help="sample from the likeliest P of mass (default: 1)")
    wide = "both arms run every forward K + 1 rows wide, so that low precision rounds alike; then demand identity"
    add("--exact", action="store_true", help=wide)
    add("--max-new-tokens", type=count, default=128, metavar="N", help="per prompt (default: 128)")
    add("--stop", action="append", default=[], metavar="TEXT", help="end at this text (may be repeated)")
    add("--seed", type=whole, default=0, help="of the random generators (default: 0)")

    what = "over what the target's generation_config asks for; of drafted tokens too, each by what comes before it"
    add = top.add_argument_group("logits processors", what).add_argument
    penalty, share = number(float, -2, 2), number(float, 0, 1)
    seen = "over 1: less of every token of prompt and text (0.01 to 100)"
    add("--repetition-penalty", type=number(float, 0.01, 100), metavar="R", help=seen)
    add("--presence-penalty", type=penalty, default=0.0, metavar="P", help="off every token of the text (-2 to 2)")
    add("--frequency-penalty", type=penalty, default=0.0, metavar="P", help="... times how often (-2 to 2)")
    add("--min-p", type=share, metavar="P", help="sample from tokens of P of the likeliest's probability or more")
    add("--typical-p", type=number(float, 1e-6, 1), metavar="P", help="sample from the P of mass nearest the entropy")
    add("--logit-bias", action="append", default=[], metavar="ID=BIAS", help="add to a token's logit (may be repeated)")
    add("--bad-words", action="append", default=[], metavar="TEXT", help="never write it (may be repeated)")
    add("--suppress-tokens", metavar="LIST", help="never write these ids, such as 2,16")
    add("--min-new-tokens", type=whole, metavar="N", help="no stop token before so many")
    add("--no-repeat-ngram-size", type=whole, metavar="N", help="no N tokens come twice; 0: they may")
    add("--json-schema", metavar="FILE", help="texts are JSON of this schema (needs llguidance)")
    add("--regex", metavar="PATTERN", help="texts match this regular expression (needs llguidance)")

    add = top.add_argument_group("prompts").add_argument
    add("--prompts", metavar="FILE", help='JSON list of {"prompt": ..., "category": ...} (default: ten samples)')
    add("--prompt", metavar="TEXT", help="one prompt instead of a file")
    add("--chat", action="store_true", help="talk with the target in the terminal instead of comparing")

    add = top.add_argument_group("measuring and output").add_argument
    add("--repeat", type=count, default=1, metavar="R", help="interleaved runs per prompt; medians are shown")
    unproven = "do not try whether the model can be addressed by position (torch backend; said in the record)"
    add("--no-proof", action="store_true", help=unproven)
    add("--no-baseline", action="store_true", help="skip plain decoding: no speedup, no equality check")
    add("--json", metavar="FILE", help="write everything that was measured")
    add("--html", metavar="FILE", help="... and as a page: the headline, its plot, and the answers, round by round")
    add("--show-rounds", action="store_true", help="print what every round drafted and accepted")
    add("--quiet", action="store_true", help="no streamed text, only the table")
    return top
