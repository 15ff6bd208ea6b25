# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Deliberate defects, each put in through a seam, and the check that must catch it: a test that cannot fail is no test.

Checks are in support/checks.py; each is also run without any defect, and must pass. The run ends with the table.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from fakes.install import fake_upstream
from fakes.pairs import opening_pairs, write_checkpoints
from support import checks
from support.checks import Parts
from support.law import SamplingDrafter

from models.tt_transformers.demo.speculative_decoding import (
    acceptance,
    batch,
    drafters,
    speculative_generator,
    tt_decode_step,
)
from models.tt_transformers.demo.speculative_decoding.acceptance import Acceptance, to_probabilities
from models.tt_transformers.demo.speculative_decoding.sequences import SequenceState, StopConditions
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.torch_runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.tt_kv_write import WritePositions

CAUGHT: dict[str, str] = {}


@dataclass(frozen=True)
class Defect:
    """What is done wrong, how it is put in, and the check that must fail."""

    name: str
    inject: Callable[[pytest.MonkeyPatch, Parts], None]
    caught_by: Callable[[Parts], None]


# What is put in. Each gets (patch, parts) and changes a function of a module, or a class among the parts.


def accept_always(patch, parts):
    patch.setattr(acceptance, "_accept_greedy", lambda drafted, choices: (len(drafted), int(choices[len(drafted)])))


def accept_always_when_sampling(patch, parts):
    sample = acceptance.sample
    patch.setattr(acceptance, "_accept_sampled", lambda drafted, q, p, g: (len(drafted), sample(p[len(drafted)], g)))


def keep_the_rejected_token(patch, parts):
    def accept(drafts, target, **options):
        verdict = acceptance.accept(drafts, target, **options)
        counts = [min(count + 1, len(d)) for count, d in zip(verdict.accepted_counts, drafts, strict=True)]
        return Acceptance(counts, verdict.next_tokens)

    patch.setattr(speculative_generator, "accept", accept)


def forget_the_bonus(patch, parts):
    commit = SequenceState.commit

    def without_bonus(self, token, origin, source, now_ns):
        if origin != "bonus":
            commit(self, token, origin, source, now_ns)

    patch.setattr(SequenceState, "commit", without_bonus)


def one_position_short_after_full_acceptance(patch, parts):
    def position(self):
        return len(self.tokens) - 1 - (self.origins[-1] == "bonus")

    patch.setattr(SequenceState, "pending_position", property(position))


def no_catch_up_of_the_draft(patch, parts):
    class Forgetful(parts.draft):
        """Given two tokens at once (its last draft and the bonus), it processes the second alone."""

        def forward(self, tokens, positions, *, lengths=None, **options):
            if tokens.shape[1] == 2 and max(lengths) == 2:
                return super().forward(tokens[:, 1:], [p + 1 for p in positions], **options).repeat(1, 2)
            return super().forward(tokens, positions, lengths=lengths, **options)

    parts.draft = Forgetful


def leftover_not_renormalised(patch, parts):
    def sample(probs, generator):  # inverse CDF: right only if probs sum to 1
        u = torch.rand((), generator=generator)
        return min(int((probs.cumsum(-1) <= u).sum()), len(probs) - 1)

    patch.setattr(acceptance, "sample", sample)


def the_target_instead_of_the_leftover(patch, parts):
    def accept(drafted, q, p, generator):
        for j, token in enumerate(drafted):
            q_token = 1.0 if q is None else float(q[j, token])
            if float(torch.rand((), generator=generator)) * q_token >= float(p[j, token]):
                return j, acceptance.sample(p[j], generator)
        return len(drafted), acceptance.sample(p[len(drafted)], generator)

    patch.setattr(acceptance, "_accept_sampled", accept)


def temperature_on_the_draft_only(patch, parts):
    def at_one(logits, params):
        return to_probabilities(logits, replace(params, temperature=1.0))

    patch.setattr(speculative_generator, "to_probabilities", at_one)


def draft_drawn_at_another_temperature(patch, parts):
    class Hot(SamplingDrafter):
        def __init__(self, table):
            super().__init__(table, draw=lambda x, params: to_probabilities(x, replace(params, temperature=3.0)))

    parts.sampling_drafter = Hot


def draft_probabilities_withheld(patch, parts):
    class Silent(SamplingDrafter):
        """Costs no correctness (given the token, a one-hot q is as good as any), but acceptances."""

        def propose(self, *args, **options):
            draft = super().propose(*args, **options)
            return replace(draft, probs=[None] * len(draft.tokens))

    parts.sampling_drafter = Silent


def mask_on_the_draft_only(patch, parts):
    patch.setattr(
        speculative_generator, "to_probabilities", lambda x, params: to_probabilities(x, replace(params, top_k=0))
    )


def q_in_bfloat16(patch, parts):
    class Rounded(SamplingDrafter):
        def __init__(self, table):
            super().__init__(table, claim=lambda x, params: to_probabilities(x, params).bfloat16().float())

    parts.sampling_drafter = Rounded


def corrections_counted_as_accepted(patch, parts):
    def commit_round(*args):
        events, records = batch.commit_round(*args)
        return events, [record and replace(record, accepted=min(record.emitted, record.drafted)) for record in records]

    patch.setattr(speculative_generator, "commit_round", commit_round)


def overlook_in_a_block(reason):
    def inject(patch, parts):
        commit = SequenceState.commit

        def committing(self, token, origin, source, now_ns):
            commit(self, token, origin, source, now_ns)
            if origin == "accepted" and self.finish_reason == reason:
                self.finish_reason = None
            elif self.finish_reason is None and len(self.origins) > self.stop.max_new_tokens:
                self.finish_reason = "length"

        patch.setattr(SequenceState, "commit", committing)

    return inject


def overshoot_the_limit(patch, parts):
    overlook_in_a_block("length")(patch, parts)
    room = SequenceState.room.fget
    patch.setattr(SequenceState, "room", property(lambda self: room(self) + 4))


def stop_strings_sought_in_one_token(patch, parts):
    patch.setattr(
        StopConditions,
        "completes_stop_string",
        lambda self, emitted: any(stop in self.decode(emitted[-1:]) for stop in self.stop_strings),
    )


def users_swap_their_next_tokens(patch, parts):
    def accept(*args, **options):
        verdict = acceptance.accept(*args, **options)
        return Acceptance(verdict.accepted_counts, verdict.next_tokens[::-1])

    patch.setattr(speculative_generator, "accept", accept)


def every_user_accepts_what_the_luckiest_does(patch, parts):
    def accept(drafts, target, **options):
        verdict = acceptance.accept(drafts, target, **options)
        most = max(verdict.accepted_counts)
        counts = [min(most, len(drafted)) for drafted in drafts]
        return Acceptance(counts, verdict.next_tokens)

    patch.setattr(speculative_generator, "accept", accept)


def seeds_swapped(patch, parts):
    class Swapped(SpeculativeGenerator):
        def new_batch(self, *args, **options):
            made = super().new_batch(*args, **options)
            made.generators.reverse()
            return made

    parts.generator = Swapped


def the_global_generator(patch, parts):
    def sample(probs, generator):
        return int(torch.multinomial(probs, 1))

    for module in (acceptance, drafters, speculative_generator):
        patch.setattr(module, "sample", sample)


def the_cache_of_the_last_generation(patch, parts):
    class Lazy(TorchModelRunner):
        """Takes a prompt's first tokens for cached, because something was cached there before."""

        def prefill(self, prompts, **options):
            before = {k: v.clone() for k, v in self.cache.keys.items()}
            logits = super().prefill(prompts, **options)
            with torch.inference_mode():
                for layer, keys in before.items():
                    self.cache.keys[layer][:, :, :2] = keys[:, :, :2]
            return logits

    parts.target = Lazy


def positions_of_its_own(patch, parts):
    class Stubborn(TorchModelRunner):
        """Prefers its own position where it is one past the one asked for, as a device that counts by itself does."""

        own = None

        def forward(self, tokens, positions, *, lengths=None, **options):
            positions = list(positions)
            if self.own is not None and self.own - positions[0] == 1:
                positions[0] = self.own
            self.own = positions[0] + (tokens.shape[1] if lengths is None else lengths[0])
            return super().forward(tokens, positions, lengths=lengths, **options)

    parts.target = Stubborn


def rejected_rows_stay_visible(patch, parts):
    class Seeing(TorchModelRunner):
        """Reads one cached position too many: a rejected token's, or the last generation's."""

        def forward(self, tokens, positions, **options):
            shifted = [p + 1 if 0 <= p < self.max_seq_len - 8 else p for p in positions]
            return super().forward(tokens, shifted, **options)

    parts.target = Seeing


def stock_kv_write(patch, parts):
    class StockWrite(WritePositions):
        def prepare(self, current_pos, page_table):
            return [current_pos]

    patch.setattr(tt_decode_step, "choose_strategy", lambda mesh, layout, **_: StockWrite(mesh, layout))


def stale_page_table(patch, parts):
    make = tt_decode_step.DecodeStep.__init__

    def with_old_table(self, *args, **options):
        make(self, *args, **options)
        self._page_table = self._page_table.roll(self.tokens_per_user, 0)

    patch.setattr(tt_decode_step.DecodeStep, "__init__", with_old_table)


def replay_with_old_inputs(patch, parts):
    open_pair = parts.open_pair

    def then_stage_nothing(*args, **options):
        import ttnn

        pair = open_pair(*args, **options)
        patch.setattr(ttnn, "copy_host_to_device_tensor", lambda host, on_device: None)
        return pair

    parts.open_pair = then_stage_nothing


DEFECTS = [
    Defect("every draft is accepted", accept_always, checks.equals_plain_decoding),
    Defect("every draft is accepted, sampling", accept_always_when_sampling, checks.the_law_is_the_targets),
    Defect("the rejected token is kept as well", keep_the_rejected_token, checks.equals_plain_decoding),
    Defect("the bonus is forgotten", forget_the_bonus, checks.a_self_draft_is_all_accepted),
    Defect(
        "position one short after full acceptance",
        one_position_short_after_full_acceptance,
        checks.equals_plain_decoding,
    ),
    Defect("the draft does not catch up", no_catch_up_of_the_draft, checks.a_self_draft_is_all_accepted),
    Defect("the leftover is not renormalised", leftover_not_renormalised, checks.the_law_is_the_targets),
    Defect("p instead of the leftover", the_target_instead_of_the_leftover, checks.the_law_is_the_targets),
    Defect("temperature on the draft's side only", temperature_on_the_draft_only, checks.the_law_is_the_targets),
    Defect(
        "the draft is drawn at another temperature", draft_drawn_at_another_temperature, checks.the_law_is_the_targets
    ),
    Defect("sampled drafts without their q", draft_probabilities_withheld, checks.a_sampled_self_draft_is_all_accepted),
    Defect("top-k on the draft's side only", mask_on_the_draft_only, checks.a_mask_is_kept),
    Defect("q in bf16", q_in_bfloat16, checks.a_sampled_self_draft_is_all_accepted),
    Defect("corrections counted as accepted", corrections_counted_as_accepted, checks.counts_are_of_what_was_committed),
    Defect("decoding goes on after EOS", overlook_in_a_block("eos"), checks.eos_ends_inside_a_block),
    Defect("the limit is overshot", overshoot_the_limit, checks.the_limit_is_kept),
    Defect(
        "stop strings sought in one token", stop_strings_sought_in_one_token, checks.a_stop_string_ends_across_rounds
    ),
    Defect("two users' next tokens swapped", users_swap_their_next_tokens, checks.ragged_batch_equals_single_runs),
    Defect(
        "one accepted count for all users",
        every_user_accepts_what_the_luckiest_does,
        checks.ragged_batch_equals_single_runs,
    ),
    Defect("two users' seeds swapped", seeds_swapped, checks.seeds_belong_to_users),
    Defect("the global random generator", the_global_generator, checks.the_global_generator_is_untouched),
    Defect(
        "the last generation's cache", the_cache_of_the_last_generation, checks.a_second_generation_is_like_the_first
    ),
    Defect("the device's own position after a rollback", positions_of_its_own, checks.equals_plain_decoding),
    Defect("a rejected row stays visible", rejected_rows_stay_visible, checks.equals_plain_decoding),
    Defect("the stock KV write", stock_kv_write, checks.equals_plain_decoding_on_tenstorrent),
    Defect("a stale page table", stale_page_table, checks.equals_plain_decoding_on_tenstorrent),
    Defect("a replay with old inputs", replay_with_old_inputs, checks.equals_plain_decoding_on_tenstorrent),
]
CHECKS = [
    check
    for _, check in inspect.getmembers(checks, inspect.isfunction)
    if list(inspect.signature(check).parameters)[:1] == ["parts"]
]
CHECKS = [check for check in CHECKS if check is not checks.generate]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("checkpoints")
    write_checkpoints(made)
    return made


@pytest.fixture
def parts(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TT_CACHE_PATH", str(tmp_path / "tensor_cache"))
    for variable in ("HF_MODEL", "TT_METAL_SLOW_DISPATCH_MODE"):
        monkeypatch.delenv(variable, raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with fake_upstream(), opening_pairs(folder) as open_pair:
        yield Parts(open_pair)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_without_a_defect_it_holds(check, parts):
    check(parts)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name.replace(" ", "-"))
def test_caught(defect, parts):
    with pytest.MonkeyPatch.context() as patch:
        defect.inject(patch, parts)
        with pytest.raises(AssertionError):
            defect.caught_by(parts)
    CAUGHT[defect.name] = defect.caught_by.__name__


def test_the_list_is_whole(capsys):
    """At least fifteen, every check needed by one of them; and the table."""
    assert len(DEFECTS) >= 15 and len({defect.name for defect in DEFECTS}) == len(DEFECTS)
    assert {defect.caught_by for defect in DEFECTS} == set(CHECKS)
    width = max(len(defect.name) for defect in DEFECTS)
    with capsys.disabled():
        print(f"\n\n{'defect':{width}} | caught by\n{'-' * width}-+-{'-' * 40}")
        for defect in DEFECTS:
            print(f"{defect.name:{width}} | {CAUGHT.get(defect.name, 'not run')}")
