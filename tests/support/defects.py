# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Deliberate defects of rounds, endings, users, caches and the device; sampling's are in support/sampling_defects.py.

Each gets (patch, parts) and changes a function of a module, or a class among the parts (support.checks.Parts).
"""

from __future__ import annotations

from dataclasses import replace

import torch

from models.tt_transformers.demo.speculative_decoding import acceptance, speculative_generator
from models.tt_transformers.demo.speculative_decoding.acceptance import Acceptance
from models.tt_transformers.demo.speculative_decoding.hf.runner import TorchModelRunner
from models.tt_transformers.demo.speculative_decoding.runner import Rows
from models.tt_transformers.demo.speculative_decoding.sequences import SequenceState, StopConditions
from models.tt_transformers.demo.speculative_decoding.tt import row_decode as tt_row_decode
from models.tt_transformers.demo.speculative_decoding.tt.kv_write import WritePositions


def accept_always(patch, parts):
    patch.setattr(acceptance, "_accept_greedy", lambda drafted, choices: (len(drafted), int(choices[len(drafted)])))


def keep_the_rejected_token(patch, parts):
    def accept(drafts, target, **options):
        verdict = acceptance.accept(drafts, target, **options)
        counts = [min(count + 1, len(d)) for count, d in zip(verdict.accepted_counts, drafts, strict=True)]
        return Acceptance(counts, verdict.next_tokens)

    patch.setattr(speculative_generator, "accept", accept)


def forget_the_bonus(patch, parts):
    commit = SequenceState.commit

    def without_bonus(self, token, origin, source, now_ns, *told):
        if origin != "bonus":
            commit(self, token, origin, source, now_ns, *told)

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
                second = super().forward(tokens[:, 1:], [p + 1 for p in positions], **options)
                return Rows(second.values.repeat(1, 2))
            return super().forward(tokens, positions, lengths=lengths, **options)

    parts.draft = Forgetful


def corrections_counted_as_accepted(patch, parts):
    right = speculative_generator.Batch.commit_round

    def commit_round(*args):
        events, records = right(*args)
        return events, [record and replace(record, accepted=min(record.emitted, record.drafted)) for record in records]

    patch.setattr(speculative_generator.Batch, "commit_round", commit_round)


def overlook_in_a_block(reason):
    def inject(patch, parts):
        commit = SequenceState.commit

        def committing(self, token, origin, source, now_ns, *told):
            commit(self, token, origin, source, now_ns, *told)
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
        lambda self, tokens, first: any(stop in self.decode(tokens[-1:]) for stop in self.stop_strings),
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
        def split(self, current_pos):
            return [current_pos]

    patch.setattr(tt_row_decode, "WritePositions", StockWrite)


def stale_page_table(patch, parts):
    make = tt_row_decode.RowDecode.__init__

    def with_old_table(self, *args, **options):
        make(self, *args, **options)
        self.page_table = self.page_table.roll(self.tokens_per_user, 0)

    patch.setattr(tt_row_decode.RowDecode, "__init__", with_old_table)


def replay_with_old_inputs(patch, parts):
    open_pair = parts.open_pair

    def then_stage_nothing(*args, **options):
        import ttnn

        pair = open_pair(*args, **options)
        patch.setattr(ttnn, "copy_host_to_device_tensor", lambda host, on_device: None)
        return pair

    parts.open_pair = then_stage_nothing
