"""What a launcher asks for, in the variables that it sets: taken, or refused with what to do instead.

Chosen: a configuration of FSDP or DeepSpeed is taken for optimizer state that is shared out. What else it asks for to
save memory, and for another precision, is refused, for it would be missed. Left out: their other settings, which say
how an engine works that does not run here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from accelerate.utils import patch_environment

REMEDY = (
    "the model must be whole in every process, because it plays as well as learns: choose plain data parallelism, FSDP "
    "or DeepSpeed (`accelerate config`, or torchrun), and save memory with --lora, --dtype bfloat16, "
    "--shard_optimizer or --gradient_checkpointing"
)
STAYS = "nothing is moved to the CPU or to disk: leave it out"
CHECKPOINTING = "leave it out, and give --gradient_checkpointing"
FP16 = "its gradients would need scaling: take bf16"
BF16 = "it is not read from there: leave it out, and give --mixed_precision bf16"
SHARDED = {"ACCELERATE_USE_FSDP": "FSDP", "ACCELERATE_USE_DEEPSPEED": "DeepSpeed"}
"""Ways of launching that ask for optimizer state to be shared out."""
DEEPSPEED_FILE = "ACCELERATE_DEEPSPEED_CONFIG_FILE"
REFUSED = {
    "ACCELERATE_USE_MEGATRON_LM": REMEDY,
    "ACCELERATE_USE_PARALLELISM_CONFIG": REMEDY,
    "FSDP_OFFLOAD_PARAMS": STAYS,
    "FSDP_ACTIVATION_CHECKPOINTING": CHECKPOINTING,
    "FSDP_ACTIVATION_CHECKPOINTING_OFFLOAD": STAYS,
    "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": STAYS,
    "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": STAYS,
    "ACCELERATE_DYNAMO_BACKEND": "torch.compile would compile anew for every shape of prompts: set dynamo_backend no",
}
"""Variables that must say no, and what to do instead."""
OFFLOADED = ("offload_optimizer", "offload_param")
CPU_OFFLOADED = ("cpu_offload", "cpu_offload_param", "cpu_offload_params")
"""What older files of DeepSpeed have in place of those."""


def is_launched() -> bool:
    """Whether accelerate or torchrun started this process."""
    return bool({"LOCAL_RANK", "ACCELERATE_DYNAMO_BACKEND"} & os.environ.keys())


def check_launch() -> None:
    """Raise ValueError for ways of launching that cannot work, or would not do what they ask for."""
    for variable, remedy in REFUSED.items():
        if not _says_no(os.environ.get(variable, "no")):
            raise ValueError(f"{variable}={os.environ[variable]} is not supported; {remedy}")
    path = os.environ.get(DEEPSPEED_FILE, "none")
    if not _says_no(os.environ.get("ACCELERATE_USE_DEEPSPEED", "no")) and path != "none":
        for name, remedy in _unmet(_read(path)):
            raise ValueError(f"{name} in {path} is not supported; {remedy}")


def launched_precision() -> str:
    """Return the mixed precision that `accelerate launch` was given; "no" without it. Raises ValueError for others."""
    # Libraries set this variable too; only the launcher sets the other along with it.
    found = os.environ.get("ACCELERATE_MIXED_PRECISION", "no") if "ACCELERATE_DYNAMO_BACKEND" in os.environ else "no"
    if found not in ("no", "bf16"):
        raise ValueError(f"mixed precision {found} is not supported; {FP16}")
    return found


def sharded_by() -> str:
    """Return what was launched that shares out optimizer state: FSDP, DeepSpeed or ""."""
    asked = (name for variable, name in SHARDED.items() if not _says_no(os.environ.get(variable, "no")))
    return next(asked, "") if is_launched() else ""


def without_engines() -> AbstractContextManager[None]:
    """Return a context in which accelerate starts no engine of FSDP or DeepSpeed, whatever was launched."""
    context: AbstractContextManager[None] = patch_environment(**dict.fromkeys(map(str.lower, SHARDED), "false"))
    return context


def launch_note(count: int) -> str:
    """Return what to say to someone whose launcher does otherwise than it seems, having started `count` processes."""
    if name := sharded_by():
        whole = "weights and gradients stay whole in each of them, because it plays as well as learns"
        alone = "one process has nobody to share the optimizer's state with"
        shared = f"the optimizer's state is shared out over the processes; {whole}"
        return f"{name}: {shared if count > 1 else alone}; no other setting of {name} has an effect"
    several = "MASTER_PORT" in os.environ and os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
    if not several or {"WORLD_SIZE", "LOCAL_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"} & os.environ.keys():
        return ""
    return "accelerate launch --cpu starts one process, however many are asked for; use torchrun --nproc_per_node"


def _says_no(value: Any) -> bool:
    return str(value).lower() in ("no", "none", "false", "0", "")


def _read(path: str) -> Mapping[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"{DEEPSPEED_FILE}={path} cannot be read ({error}): give a file of JSON") from error
    if not isinstance(found, dict):
        raise ValueError(f"{DEEPSPEED_FILE}={path} holds no settings by name: give DeepSpeed's JSON")
    return found


def _unmet(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a file of DeepSpeed's asks for and would not get, and what to do instead.

    "auto" is what the launcher says, which is looked at by itself.
    """
    zero = _section(settings, "zero_optimization")
    yield from ((name, STAYS) for name in OFFLOADED if _asks(_section(zero, name).get("device")))
    yield from ((name, STAYS) for name in CPU_OFFLOADED if _asks(zero.get(name)))
    if any(map(_asks, _section(settings, "activation_checkpointing").values())):
        yield "activation_checkpointing", CHECKPOINTING
    if _section(settings, "tensor_parallel").get("autotp_size", 0) not in (0, 1, "auto"):
        yield "tensor_parallel", REMEDY
    if _asks(_section(settings, "fp16").get("enabled")):
        yield "fp16", FP16
    if _asks(_section(settings, "bf16").get("enabled")) and launched_precision() != "bf16":
        yield "bf16", BF16


def _section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = settings.get(name)
    return found if isinstance(found, dict) else {}


def _asks(value: Any) -> bool:
    return not _says_no(value) and value != "auto"
