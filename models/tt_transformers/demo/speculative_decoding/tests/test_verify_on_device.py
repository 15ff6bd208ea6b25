# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Several tokens of a sequence in one decode of tt_transformers, on a real or simulated Wormhole: are they right?"""

from contextlib import closing, contextmanager

import pytest
import torch

from models.tt_transformers.demo.speculative_decoding.drafters import Draft, ModelDrafter
from models.tt_transformers.demo.speculative_decoding.harness.teacher_forcing import teacher_forced
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.prompt_lookup import PromptLookupDrafter
from models.tt_transformers.demo.speculative_decoding.runner import IDLE
from models.tt_transformers.demo.speculative_decoding.sequences import StopConditions
from models.tt_transformers.demo.speculative_decoding.speculative_generator import SpeculativeGenerator
from models.tt_transformers.demo.speculative_decoding.tt.baseline import open_stock
from models.tt_transformers.demo.speculative_decoding.tt.loading import load_upstream
from models.tt_transformers.demo.speculative_decoding.tt.pair import ModelRequest, open_models, pair_requests

# Each of the first eight greedy tokens after this prompt wins by a fifth of the logits' deviation: no rounding decides.
PROMPT = torch.randint(2, 1024, (30,), generator=torch.Generator().manual_seed(292)).tolist()
OTHER = torch.randint(2, 1024, (17,), generator=torch.Generator().manual_seed(2)).tolist()
LONG_PROMPTS = torch.randint(2, 1024, (2, 76), generator=torch.Generator().manual_seed(3)).tolist()
ALIKE = 0.998  # what each row of a right verify correlates at least with a reference of the same weights


def pcc(rows, expected):
    """Pearson correlation of two tensors' entries."""
    return float(torch.corrcoef(torch.stack([rows.flatten().double(), expected.flatten().double()]))[0, 1])


def worst(rows, expected):
    """The least correlation of a verified token's row with the reference's logits for it."""
    return min(pcc(row, wanted) for row, wanted in zip(rows, expected, strict=True))


def written(*models, **options):
    """What a generator of these writes after PROMPT."""
    (result,) = SpeculativeGenerator(*models, **options).generate([PROMPT], max_new_tokens=8, stop_token_ids=[])
    return result.tokens


@contextmanager
def opened(mesh_device, how, requests, users=1):
    """Models on the mesh, closed again; untraced, nothing is run that no test asks for."""
    options = {"users": users, "max_seq_len": 128, **how, "warmup": how["enable_trace"]}
    runners = open_models(mesh_device, requests, **options)
    try:
        yield runners
    finally:
        for runner in runners:
            runner.close()


@pytest.fixture
def target(mesh_device, checkpoint, how):
    """One user, T of 1 and 4, ids and logits."""
    request = ModelRequest(model_id=checkpoint, tokens_per_user=(1, 4), logits=True)
    with opened(mesh_device, how, [request]) as (runner,):
        yield runner


@pytest.fixture(scope="module")
def greedy_text(mesh_device, checkpoint, how):
    """What the model writes after PROMPT on this device, one token per decode of the same compiled batch."""
    request = ModelRequest(model_id=checkpoint, tokens_per_user=(1, 4))
    with opened(mesh_device, how, [request]) as (runner,):
        return written(runner)


def test_every_row_of_three_verifies(target, reference):
    """Rows 30..33 cross into the second cache block; each verify overwrites what the one before wrote too much."""
    prefilled = target.prefill([PROMPT]).values
    assert pcc(prefilled[0], reference(target, PROMPT)[-1]) >= ALIKE
    context = list(PROMPT)
    for verified, accepted in (([7, 100, 200, 300], 1), ([8, 400, 500, 600], 3), ([9, 700, 800, 900], 0)):
        rows = target.forward(torch.tensor([verified]), [len(context)]).values[0]
        expected = reference(target, context + verified)[len(context) :]
        assert worst(rows, expected) >= ALIKE, f"position {len(context)}"
        context += verified[: 1 + accepted]


def test_control_the_stock_write(target, reference, enable_trace, monkeypatch):
    """The same verify with upstream's own write loses rows, so the test above can fail."""
    if enable_trace:
        pytest.skip("a captured trace keeps the write that it was captured with")
    step = target._step(4, False)
    monkeypatch.setattr(step.rows.write_positions, "split", lambda current_pos: [current_pos])
    target.prefill([PROMPT])
    verified = [7, 100, 200, 300]
    rows = target.forward(torch.tensor([verified]), [len(PROMPT)]).values[0]
    assert worst(rows, reference(target, PROMPT + verified)[len(PROMPT) :]) < 0.9


class ScriptedDrafter(PromptLookupDrafter):
    """Knows the text, and is right about as many tokens of each draft as the script says."""

    def __init__(self, text, right):
        super().__init__()
        self.text, self.right, self.accepted = text, list(right), []

    def expect(self, contexts):
        return [self.name] * len(contexts)

    def propose(self, request):
        written, right = len(request.contexts[0]) - len(PROMPT), self.right.pop(0)
        coming = self.text[written : written + request.counts[0]]
        tokens = [token if j < right else (token + 1) % 1024 for j, token in enumerate(coming)]
        return Draft([tokens], [None], [[self.name] * len(tokens)])

    def observe(self, accepted_counts, features):
        self.accepted += accepted_counts


def test_speculation_is_greedy_decoding(greedy_text, target):
    drafter = ScriptedDrafter(greedy_text, right=[0, 3, 1])
    assert written(target, drafter, num_draft_tokens=3) == greedy_text
    assert drafter.accepted == [0, 3, 1]  # an empty, a full and a partial acceptance


def test_a_pair_is_greedy_decoding(mesh_device, checkpoint, how, greedy_text):
    """The model drafts for itself, so rounds are fully accepted and the draft catches up with two tokens."""
    requests = pair_requests(checkpoint, checkpoint, num_draft_tokens=[3])
    with opened(mesh_device, how, requests) as (target, draft):
        assert written(target, ModelDrafter(draft), num_draft_tokens=3) == greedy_text


def test_every_capture_is_released(mesh_device, checkpoint, how):
    """The pair's and the stock model's, that of its sampling too: the trace region is left as it was found."""
    ttnn = load_upstream().ttnn

    def taken():
        return ttnn.get_memory_view(mesh_device, ttnn.BufferType.TRACE).total_bytes_allocated_per_bank

    before = taken()
    with opened(mesh_device, how, pair_requests(checkpoint, checkpoint, num_draft_tokens=[0, 3])):
        assert (taken() > before) == how["enable_trace"]
    assert taken() == before
    with closing(open_stock(mesh_device, checkpoint, max_seq_len=128, **how)) as stock:
        stock.warmup([1])
        assert (taken() > before) == how["enable_trace"]
    assert taken() == before


def stock_write(target, monkeypatch):
    monkeypatch.setattr(target._step(4, True).rows.write_positions, "split", lambda current_pos: [current_pos])


def position_off_by_one(target, monkeypatch):
    step = target._step(4, True)
    run = step.run
    monkeypatch.setattr(step, "run", lambda tokens, at, *rest, **how: run(tokens, [p + 1 for p in at], *rest, **how))


def stale_page_table_row(target, monkeypatch):
    target._step(4, True).rows.page_table[0, 1] = 0  # the scratch block


def one_wrong_row(target, monkeypatch):
    """Another token's keys and values in the middle of the first prompt."""
    forward, waiting = target.forward, [60]

    def forward_and_spoil(tokens, positions, **options):
        rows = forward(tokens, positions, **options)
        if waiting:
            forward(torch.tensor([[5], [5]]), [waiting.pop(), IDLE], argmax_only=True)
        return rows

    monkeypatch.setattr(target, "forward", forward_and_spoil)


@pytest.fixture(scope="module")
def stock_texts(mesh_device, checkpoint, how):
    """What the stock model writes after LONG_PROMPTS: 100 tokens after the first ones."""
    options = {"users": 2, "max_seq_len": 128, "sample_on_device": False, **how}
    with closing(open_stock(mesh_device, checkpoint, **options)) as stock:
        results = decode_plainly(stock, LONG_PROMPTS, stop=StopConditions(max_new_tokens=51, max_seq_len=128))
    return [result.tokens for result in results]


@pytest.fixture
def both(mesh_device, checkpoint, how):
    """Two users, T = 4."""
    with opened(mesh_device, how, [ModelRequest(checkpoint, (1, 4))], users=2) as (runner,):
        yield runner


def test_the_verify_chooses_what_the_stock_model_chose(both, stock_texts):
    assert teacher_forced(both, LONG_PROMPTS, stock_texts, width=4).problem is None


@pytest.mark.parametrize("fault", [stock_write, position_off_by_one, stale_page_table_row, one_wrong_row])
def test_control_a_wrong_verify_chooses_otherwise(both, stock_texts, enable_trace, fault, monkeypatch):
    if enable_trace and fault is stock_write:
        pytest.skip("a captured trace keeps the write that it was captured with")
    assert sum(map(len, [*LONG_PROMPTS, *stock_texts])) > 200  # rows, of which one is wrong at the last
    fault(both, monkeypatch)
    assert "the verify" in (teacher_forced(both, LONG_PROMPTS, stock_texts, width=4).problem or "")


def test_two_users_in_one_verify(mesh_device, checkpoint, how, reference):
    """Rows u*T + j of two users at different positions, then one of them idle."""
    request = ModelRequest(model_id=checkpoint, tokens_per_user=(3,), ids=False, logits=True)
    with opened(mesh_device, how, [request], users=2) as (runner,):
        runner.prefill([PROMPT, OTHER])
        both = runner.forward(torch.tensor([[7, 8, 9], [10, 11, 12]]), [len(PROMPT), len(OTHER)]).values
        alone = runner.forward(torch.tensor([[0, 0, 0], [10, 13, 14]]), [IDLE, len(OTHER)]).values
        verified = ((both[0], PROMPT, [7, 8, 9]), (both[1], OTHER, [10, 11, 12]), (alone[1], OTHER, [10, 13, 14]))
        for rows, prompt, tokens in verified:
            assert worst(rows, reference(runner, prompt + tokens)[len(prompt) :]) >= ALIKE


@pytest.mark.parametrize("cached, right", [(PROMPT, True), (PROMPT[::-1], False)], ids=["its-own", "control-another"])
def test_a_prompt_goes_on_from_what_is_cached(mesh_device, checkpoint, how, reference, cached, right):
    """47 more tokens in decodes of 32 and 15, across a cache block."""
    request = ModelRequest(model_id=checkpoint, tokens_per_user=(1,), ids=False, logits=True, turn=32)
    whole = [*PROMPT, *OTHER, *PROMPT]
    with opened(mesh_device, how, [request]) as (runner,):
        runner.prefill([cached])
        (row,) = runner.prefill([whole], kept=[len(PROMPT)]).values
        assert (pcc(row, reference(runner, whole)[-1]) >= ALIKE) == right


def test_a_trimmed_head_computes_its_rows(mesh_device, checkpoint, how, reference):
    """A third of the output ids, which is no whole number of tiles."""
    kept = list(range(0, 1024, 3))
    request = ModelRequest(model_id=checkpoint, tokens_per_user=(2,), ids=False, logits=True, head_token_ids=kept)
    with opened(mesh_device, how, [request]) as (runner,):
        prefilled = runner.prefill([PROMPT]).values
        rows = runner.forward(torch.tensor([[7, 8]]), [len(PROMPT)]).values[0]
        expected = reference(runner, [*PROMPT, 7, 8])[len(PROMPT) - 1 :]
    for row, wanted in zip([prefilled[0], *rows], expected, strict=True):
        assert pcc(row[kept], wanted[kept]) >= ALIKE
        assert int(torch.isfinite(row).sum()) == len(kept)
