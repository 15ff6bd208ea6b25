# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The device demo's whole run on the fake: stock target, freed, then the pair, on the same prompts."""

import json
import sys
import time

import pytest
from fakes.device import FakeMeshDevice
from fakes.install import fake_upstream
from fakes.pairs import LIMIT
from fakes.pairs import PROMPTS as TOKEN_PROMPTS
from fakes.pairs import greedy_texts, write_checkpoints

from measuring.report import main as report
from models.tt_transformers.demo.speculative_decoding.acceptance import SamplingParams
from models.tt_transformers.demo.speculative_decoding.errors import ModelUnavailable
from models.tt_transformers.demo.speculative_decoding.harness import device_run
from models.tt_transformers.demo.speculative_decoding.harness.device_cases import check_record
from models.tt_transformers.demo.speculative_decoding.harness.device_run import run_on_device
from models.tt_transformers.demo.speculative_decoding.harness.options import RunOptions
from models.tt_transformers.demo.speculative_decoding.harness.prompts import Prompt
from models.tt_transformers.demo.speculative_decoding.plain_decoding import decode_plainly
from models.tt_transformers.demo.speculative_decoding.sequences import StopConditions
from models.tt_transformers.demo.speculative_decoding.tt.baseline import StockRunner, open_stock
from models.tt_transformers.demo.speculative_decoding.tt.mesh import name_of
from models.tt_transformers.demo.speculative_decoding.tt.runner import TTModelRunner

PROMPTS = [Prompt("hello there", "greeting"), Prompt("abcabcabc", "letters"), Prompt("x" * 40, "long")]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_MODEL", raising=False)
    monkeypatch.setenv("TT_CACHE_PATH", str(tmp_path / "tt_cache"))
    write_checkpoints(tmp_path)
    with fake_upstream():
        yield tmp_path


def device_case(folder, *, users=1, **options):
    options = {"num_draft_tokens": 3, "max_new_tokens": 20, "max_seq_len": 120, **options}
    models = {"pair": "tiny", "target": str(folder / "target"), "draft": str(folder / "often-right")}
    machine = {"backend": "tt", "device": "N150", "dtype": "performance"}
    return RunOptions(**models, **machine, prompts=PROMPTS, batch_size=users, **options)


@pytest.mark.parametrize("enable_trace", [True, False], ids=["traced", "untraced"])
@pytest.mark.parametrize("users", [1, 3])
def test_the_pair_equals_the_stock_target(folder, users, enable_trace):
    mesh = FakeMeshDevice()
    record = run_on_device(mesh, device_case(folder, users=users, enable_trace=enable_trace))
    check_record(record)
    assert record["summary"]["identical"] == 3 and record["backend"] == "tt"
    assert record["summary"]["fused_rounds"] > 0
    traffic = record["traffic"]
    if enable_trace:
        assert traffic["per_round"]["reads"] == traffic["per_round"]["replays"] == 1.0
        assert (traffic["per_round"]["writes"], traffic["programs_compiled"]) == (2.0, 0)
    assert traffic["dram_growth"] == traffic["new_buffers"] == 0
    host = traffic["host_ms_per_round"]
    assert host.keys() == {"staging", "replay", "read", "accept"} and (host["replay"] > 0) == enable_trace
    assert all(0.0 < host[part] < 1000.0 for part in ("staging", "read", "accept"))
    assert record["summary"]["separate_rounds"].keys() <= {f"no round of {k} tokens is ready" for k in (1, 2)}
    assert not mesh.traces  # the stock model's trace of its sampling too
    (written,) = (folder / device_run.RESULTS).glob("*.json")
    assert json.loads(written.read_text())["prompts"] == record["prompts"]
    assert record["created"]
    assert all("".join(row["token_texts"]) == row["text"] for row in record["prompts"])


def test_a_report_of_it_shows_what_the_models_take_of_the_device(folder):
    record = run_on_device(FakeMeshDevice(), device_case(folder, enable_trace=False))
    loads = record["models"]
    assert all(load["device_dram_mb"] > load["weights_mb"] > 0 for load in loads.values())
    assert all(load["init_s"] > 0 and load["layers"] for load in loads.values())
    (written,) = (folder / device_run.RESULTS).glob("*.json")
    assert report([str(written), "--out", str(folder / "out")]) == 0
    text = (folder / "out" / "APPENDIX.md").read_text("utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("| device memory") and "not measured" not in line]
    assert f"| {loads['target']['device_dram_mb']:.0f} | {loads['draft']['device_dram_mb']:.0f} |" in line


def test_fused_rounds_are_traced_on_a_mesh_too(folder):
    record = run_on_device(FakeMeshDevice(1, 2), device_case(folder))
    check_record(record)
    assert record["device"] == "N300"  # the mesh that was there, whatever the options call it
    assert record["traffic"]["per_round"]["replays"] == record["traffic"]["per_round"]["reads"] == 1.0
    of_k = {entry["k"]: entry for entry in record["summary"]["per_k"]}[3]
    assert of_k["draft_ms"] is None and of_k["verify_ms"] > 0  # what was not measured is not 0


def test_a_record_says_why_rounds_were_not_fused(folder):
    """Room for the pair's single steps and not for the round."""
    mesh = FakeMeshDevice(trace_region_size=200_000)
    record = run_on_device(mesh, device_case(folder, enable_trace=True))
    check_record(record)
    (why,) = [why for why in record["summary"]["separate_rounds"] if "trace" in why]
    assert "its trace does not fit" in why and record["summary"]["separate_rounds"][why] > 0


def test_waiting_for_the_device_is_no_part_of_the_hosts_time(folder, monkeypatch):
    """A device that is slow to say that it is done, in every wait of a round, the one behind the commit too."""
    ttnn = sys.modules["ttnn"]
    stock = ttnn.synchronize_device
    monkeypatch.setattr(ttnn, "synchronize_device", lambda *mesh: time.sleep(0.05) or stock(*mesh))
    host = run_on_device(FakeMeshDevice(), device_case(folder, max_new_tokens=6))["traffic"]["host_ms_per_round"]
    assert host["staging"] > 0.0 and host["accept"] < 40.0


def test_programs_that_warm_up_missed_are_counted(folder, monkeypatch):
    monkeypatch.setattr(TTModelRunner, "_compile_prefill", lambda runner: None)
    record = run_on_device(FakeMeshDevice(), device_case(folder, enable_trace=False, with_baseline=False))
    assert record["traffic"]["programs_compiled"] > 0 == record["traffic"]["dram_growth"]


def test_a_run_without_a_round_is_a_run(folder):
    record = run_on_device(FakeMeshDevice(), device_case(folder, max_new_tokens=1))
    assert record["summary"]["rounds"] == 0 and record["traffic"]["rounds"] > 0
    assert "teacher_forced" not in record and record["summary"]["identical"] == 3


def test_without_a_baseline_each_model_is_loaded_once(folder):
    record = run_on_device(FakeMeshDevice(), device_case(folder, with_baseline=False))
    check_record(record)
    assert record["rows_pcc"] == pytest.approx(1.0, abs=1e-6) and record["summary"]["identical"] == 3
    record["rows_pcc"] = 0.99
    with pytest.raises(AssertionError, match="correlate at 0.99000 only"):
        check_record(record)


def test_sampling_runs(folder):
    record = run_on_device(FakeMeshDevice(), device_case(folder, sampling=SamplingParams(temperature=0.8)))
    check_record(record)
    assert record["summary"]["identical"] is None


def test_control_a_text_that_its_own_target_does_not_write(folder):
    record = run_on_device(FakeMeshDevice(), device_case(folder, enable_trace=False))
    record["own_plain_tokens"][1][4] += 1
    with pytest.raises(AssertionError, match="'letters': the pair wrote .* its own target alone"):
        check_record(record)


def test_control_a_verify_that_is_not_the_stock_target(folder, monkeypatch):
    """The pair and its own target make the same mistake; the stock target's text, fed to the verify, shows it."""
    prefill = TTModelRunner._prefill_user
    monkeypatch.setattr(
        TTModelRunner,
        "_prefill_user",
        lambda runner, user, prompt, *more: prefill(
            runner, user, prompt if isinstance(runner, StockRunner) else prompt[::-1], *more
        ),
    )
    record = run_on_device(FakeMeshDevice(), device_case(folder, enable_trace=False))
    with pytest.raises(AssertionError, match="the verify agrees with plain decoding at .* of 57 positions only"):
        check_record(record)


def test_speeds_of_a_user_and_of_all(folder):
    """Three users of equal length at once: what all have together lasts as long as the slowest."""
    record = run_on_device(FakeMeshDevice(), device_case(folder, users=3, enable_trace=False))
    total, rows = record["summary"], record["prompts"]
    for arm in ("", "baseline_"):
        assert total[f"{arm}decode_tps"] == pytest.approx(57 / max(row[f"{arm}decode_s"] for row in rows))
    assert total["baseline_decode_tps"] == pytest.approx(3 * total["baseline_decode_tps_per_user"])  # all end together


@pytest.mark.parametrize("on_device", [True, False], ids=["sampled-on-device", "sampled-on-host"])
def test_the_stock_target_writes_the_same_either_way(folder, on_device):
    """Prompt after prompt on one runner: the device's own token of the last generation must not leak into the next."""
    case = device_case(folder)
    stock = open_stock(FakeMeshDevice(), case.target, max_seq_len=120, sample_on_device=on_device)
    stock.warmup([1])
    stop = StopConditions(max_new_tokens=LIMIT, max_seq_len=120)
    texts = [decode_plainly(stock, [prompt], stop=stop)[0].tokens for prompt in TOKEN_PROMPTS]
    stock.close()
    assert texts == greedy_texts()


def test_no_create_tt_model_is_named(folder, monkeypatch):
    monkeypatch.delattr(sys.modules["models.tt_transformers.tt.common"], "create_tt_model")
    with pytest.raises(ModelUnavailable, match="create_tt_model"):
        open_stock(FakeMeshDevice(), str(folder / "target"))


@pytest.mark.parametrize("shape, name", [((1, 1), "N150"), ((1, 2), "N300"), ((1, 8), "T3K"), ((1, 4), "1x4")])
def test_a_mesh_is_called_what_it_is(monkeypatch, shape, name):
    monkeypatch.setenv("MESH_DEVICE", "N300")
    assert name_of(FakeMeshDevice(*shape)) == name
    monkeypatch.setattr(FakeMeshDevice, "arch", lambda mesh: "Arch.BLACKHOLE")
    assert name_of(FakeMeshDevice(*shape)) == "blackhole {}x{}".format(*shape)
