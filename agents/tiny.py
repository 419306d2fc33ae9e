"""A small Qwen3-shaped model and its tokenizer, made from nothing in a second, for machines without a hub or a GPU.

The tokenizer is byte-level BPE, so it is lossless, trained on the game's own prompts; a bracketed move is never split
from its brackets by the pre-tokenizer, so each common move becomes one token. The result is an ordinary model;
with other positions it is of SmolLM3's shape.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from sparring.envs import Game, Match, near

from .agent import uniform
from .language_model import LanguageModelAgent
from .players import SPEECH

WINDOW = 4
"""Tokens that a layer with local positions sees, its own among them."""
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# A bracketed move; a word (with one digit after it, as in X5), a digit or a sign, with the space before it; other
# whitespace.
_PIECES = r"\[[^\[\]\s]+(?: [^\[\]\s]+)*\]| ?[A-Za-z]+[0-9]?| ?[0-9]| ?[^\sA-Za-z0-9\[]|\[|\s"


def tiny_agent(
    games: Game[Any] | Iterable[Game[Any]],
    *,
    seed: int = 0,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 4,
    init_scale: float = 1.0,
    positions: str = "rotary",
    vocabulary: int = 2048,
    corpus_games: int = 200,
    name: str = "tiny",
    **settings: Any,
) -> LanguageModelAgent:
    """Make an untrained tiny model for one game or several.

    Args:
        games: whose prompts the tokenizer is trained on, and whose moves bound the length of a reply.
        seed: of the weights and of the games that make the corpus.
        hidden: width of the model.
        layers: its depth.
        heads: attention heads; half as many key-value heads if their number is even.
        init_scale: what the first weights of its layers are multiplied by, embeddings left as they are: the larger, the
            more two prompts differ to it that differ in a word or two.
        positions: "rotary"; "none", where order is told by what came before alone; or "local", rotary among the last
            four tokens in the first layer and none in the others, of which Yang et al. 2025 (arXiv 2501.18795) have
            the like in turns. What the latter two learn on short texts carries further to longer ones (Kazemnejad et
            al. 2023, arXiv 2305.19466); "local" can hardly count, and its prompts are read whole each time.
        vocabulary: most entries of the tokenizer.
        corpus_games: random games of each game in the tokenizer's corpus.
        name: what the player is called.
        settings: of `LanguageModelAgent`.

    Raises ValueError for positions that it does not know.
    """
    games = [games] if isinstance(games, Game) else list(games)
    corpus, replies, spoken, is_whole = _corpus(games, seed, corpus_games)
    tokenizer = train_tokenizer(corpus, vocabulary)
    with torch.random.fork_rng(devices=[]):
        # Not `torch.manual_seed`, which would seed the GPU's generators too.
        torch.default_generator.manual_seed(seed)
        model = _untrained(tokenizer, hidden, layers, heads, positions)
    with torch.no_grad():
        for weight in model.model.layers.parameters():
            # Not the scales of norms.
            if weight.dim() == 2:
                weight.mul_(init_scale)
    settings_of_generation = model.generation_config
    settings_of_generation.eos_token_id = tokenizer.eos_token_id
    settings_of_generation.pad_token_id = tokenizer.pad_token_id
    settings_of_generation.do_sample = True
    settings_of_generation.max_new_tokens = settings.get("max_new_tokens") or _reply_length(
        tokenizer, replies, is_whole=is_whole
    )
    if settings_of_generation.max_new_tokens > 1 and not spoken:
        # Only where it matters: with a stop string in its config, `generate` asks for the tokenizer.
        settings_of_generation.stop_strings = ["]"]
    return LanguageModelAgent(model, tokenizer, name=name, **settings)


def _untrained(tokenizer: Any, hidden: int, layers: int, heads: int, positions: str) -> Any:
    """Return a model with random weights."""
    from transformers import Qwen3Config, Qwen3ForCausalLM, SmolLM3Config, SmolLM3ForCausalLM

    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "intermediate_size": 3 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 2 if heads % 2 == 0 else heads,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        # The usual 0.02 is for wide models; here a card among a hundred tokens would not be heard at all.
        "initializer_range": hidden**-0.5,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
    }
    if positions == "rotary":
        return Qwen3ForCausalLM(Qwen3Config(**shape, head_dim=hidden // heads))
    if positions == "none":
        return SmolLM3ForCausalLM(SmolLM3Config(**shape, no_rope_layers=[0] * layers))
    if positions == "local":
        # 1 for a layer that has positions, whatever the name says.
        shape |= {"no_rope_layers": [1] + [0] * (layers - 1), "use_sliding_window": True, "sliding_window": WINDOW}
        shape["layer_types"] = ["sliding_attention"] + ["full_attention"] * (layers - 1)
        return SmolLM3ForCausalLM(SmolLM3Config(**shape))
    raise ValueError(f"unknown positions {positions!r}.{near(positions, ('rotary', 'none', 'local'))}")


def _reply_length(tokenizer: Any, replies: list[str], *, is_whole: bool) -> int:
    """Return most tokens of a reply: one where every reply there is is one token, else room for longer unseen ones."""
    longest = max((len(tokenizer(reply).input_ids) for reply in replies), default=32)
    if not is_whole:
        # What was not seen is no token of its own: it may take one a character.
        return max(2 * longest, *map(len, replies))
    return 1 if longest == 1 else 2 * longest


def train_tokenizer(corpus: Iterable[str], vocabulary: int) -> Any:
    """Train a lossless byte-level BPE tokenizer with a ChatML template on some text."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=[PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    raw.train_from_iterator(["user\nassistant\n"] * 2 + list(corpus), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[START],
        padding_side="left",
        model_max_length=4096,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def _corpus(games: list[Game[Any]], seed: int, count: int) -> tuple[list[str], list[str], bool, bool]:
    """Return the prompts of random games, every reply that might be given in them, and two things about the replies.

    Whether any is free text, and whether these seem to be all: the last quarter of the games had none that was new.
    """
    prompts: list[str] = []
    replies: dict[str, None] = {}
    spoken, is_whole = False, True
    for game in games:
        late = count - count // 4
        replies.update(dict.fromkeys(f"[{move}]" for move in game.rare_moves))
        for index in range(count):
            # What a judge would say adds no words.
            match = Match(game, np.random.default_rng([seed, index]), deferred=True)
            while match.seat is not None:
                prompts.append(match.prompt)
                spoken |= match.legal is None
                possible = _possible(match)
                is_whole &= index < late or all(reply in replies for reply in possible)
                replies.update(dict.fromkeys(possible))
                match.step(possible[int(uniform(seed + index, match.turns) * len(possible))])
    # Replies once more by themselves, so that rare ones too are whole tokens.
    return prompts + list(replies) * 8, list(replies), spoken, is_whole


def _possible(match: Match[Any]) -> tuple[str, ...]:
    if match.legal is None:
        return match.game.speeches(match.state) or (SPEECH,)
    return tuple(f"[{move}]" for move in match.legal)
