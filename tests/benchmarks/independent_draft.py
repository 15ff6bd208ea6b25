# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""Make an independent two-layer draft model of the embedded target, as a peer for the trained head.

    python -m tests.benchmarks.independent_draft WORK        then   compare --assistant WORK/two-layers

The target's first and last decoder layer between its own frozen embedding and head, trained for some minutes on the
target's answers (cross entropy over the 8,192 ids that they use most). transformers can use it as an assistant_model.
"""

import sys
from pathlib import Path

import torch
from loguru import logger
from rich.console import Console
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, PreTrainedModel

from models.tt_transformers.demo.speculative_decoding.hf.embedded_model import EMBEDDED
from models.tt_transformers.demo.speculative_decoding.hf.loading import load_model
from training.data import Answer, batch_groups, collate
from training.train_draft import make_data, parse_arguments
from training.trainer import choose_vocabulary

SHARDS, EPOCHS, TOKENS_PER_BATCH, LEARNING_RATE = 3, 3, 2560, 2e-3
VOCABULARY = 8192


def two_layers(target: PreTrainedModel) -> PreTrainedModel:
    """A copy of the target without the layers between its first and its last."""
    config = type(target.config).from_dict({**target.config.to_dict(), "num_hidden_layers": 2})
    draft = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    last = target.config.num_hidden_layers - 1
    kept = {"model.layers.0.": "model.layers.0.", f"model.layers.{last}.": "model.layers.1."}
    state = {}
    for name, value in target.state_dict().items():
        mine = next((new + name.removeprefix(old) for old, new in kept.items() if name.startswith(old)), name)
        if name == mine or not name.startswith("model.layers.1."):
            state[mine] = value
    draft.load_state_dict({name: state[name] for name in draft.state_dict()})
    draft.generation_config = target.generation_config
    return draft


def train(draft: PreTrainedModel, answers: list[Answer]) -> None:
    """Cross entropy on the tokens of the answers; embedding and head stay the target's."""
    ids = choose_vocabulary(answers, VOCABULARY, draft.config.vocab_size)
    place = torch.full((draft.config.vocab_size,), -100).index_copy_(0, ids, torch.arange(len(ids)))
    draft.get_input_embeddings().weight.requires_grad_(False)
    rows = draft.get_output_embeddings().weight.detach()[ids]
    learned = [p for p in draft.parameters() if p.requires_grad]
    optimizers = [
        torch.optim.Muon([p for p in learned if p.ndim == 2], lr=LEARNING_RATE, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([p for p in learned if p.ndim < 2], lr=LEARNING_RATE),
    ]
    for epoch in range(EPOCHS):
        groups = batch_groups(answers, TOKENS_PER_BATCH, seed=epoch)
        losses = []
        for number, group in enumerate(groups):
            for optimizer in optimizers:
                optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - (epoch + number / len(groups)) / EPOCHS)
            batch = collate(group)
            hidden = draft.get_decoder()(input_ids=batch.tokens).last_hidden_state[:, :-1]
            after = torch.arange(1, batch.tokens.shape[1])
            judged = (after >= batch.prompt_lengths[:, None]) & (after < batch.lengths[:, None])
            loss = F.cross_entropy(F.linear(hidden[judged], rows), place[batch.tokens[:, 1:][judged]])
            draft.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            losses.append(loss.item())
        logger.info(f"epoch {epoch + 1} of {EPOCHS}: loss {sum(losses[-20:]) / len(losses[-20:]):.3f}")


@torch.no_grad()
def agreement(draft: PreTrainedModel, answers: list[Answer]) -> float:
    """How often its most likely token is the answer's, teacher-forced."""
    right = seen = 0
    for answer in answers:
        said = draft(input_ids=answer.tokens[None]).logits[0, answer.prompt_length - 1 : -1].argmax(-1)
        right += int((said == answer.tokens[answer.prompt_length :]).sum())
        seen += len(said)
    return right / seen


def main(work: Path) -> None:
    torch.manual_seed(2026)
    target, tokenizer = load_model(EMBEDDED, device="cpu", dtype="float32")
    words = ["--work", str(work), "--output", str(work / "unused"), "--reading-shards", "0", "--shards", str(SHARDS)]
    with torch.no_grad():
        training, held_out = make_data(
            parse_arguments(words), target, tokenizer, [target.config.num_hidden_layers], Console()
        )
    draft = two_layers(target)
    train(draft, training)
    logger.info(f"agreement with the target's held-out answers: {agreement(draft, held_out):.3f}")
    draft.save_pretrained(work / "two-layers")
    tokenizer.save_pretrained(work / "two-layers")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
