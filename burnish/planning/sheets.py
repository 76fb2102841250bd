"""GPUs by name, as their vendors' data sheets describe them."""

from __future__ import annotations

from dataclasses import dataclass

from burnish.errors import UserError, nearest


@dataclass(frozen=True)
class Sheet:
    """A data sheet: memory in 1e9 bytes, dense bfloat16 in 1e12 operations a second with float32 sums, and
    bandwidth in 1e9 bytes a second."""

    title: str
    memory: float
    bfloat16: float
    bandwidth: float
    source: str


SHEETS = {
    "h100": Sheet("H100 SXM 80 GB", 80, 989, 3350, "NVIDIA H100 Tensor Core GPU datasheet"),
    "h100-pcie": Sheet("H100 PCIe 80 GB", 80, 756, 2000, "NVIDIA H100 Tensor Core GPU datasheet"),
    "h200": Sheet("H200 SXM 141 GB", 141, 989, 4800, "NVIDIA H200 Tensor Core GPU datasheet"),
    "a100-80gb": Sheet("A100 SXM 80 GB", 80, 312, 2039, "NVIDIA A100 Tensor Core GPU datasheet"),
    "a100-40gb": Sheet("A100 SXM 40 GB", 40, 312, 1555, "NVIDIA A100 Tensor Core GPU datasheet"),
    "l40s": Sheet("L40S 48 GB", 48, 362, 864, "NVIDIA L40S datasheet"),
    "l4": Sheet("L4 24 GB", 24, 121, 300, "NVIDIA L4 datasheet, half of the rate with sparsity"),
    "a10": Sheet("A10 24 GB", 24, 125, 600, "NVIDIA A10 datasheet"),
    "rtx4090": Sheet("RTX 4090 24 GB", 24, 165, 1008, "NVIDIA Ada GPU architecture whitepaper"),
    "rtx3090": Sheet("RTX 3090 24 GB", 24, 71, 936, "NVIDIA Ampere GA102 GPU architecture whitepaper"),
    "mi300x": Sheet("Instinct MI300X 192 GB", 192, 1307, 5300, "AMD Instinct MI300X datasheet"),
}


def sheet_of(name: str) -> Sheet:
    """The data sheet of a GPU. Raises `UserError`."""
    key = name.lower().replace("_", "-").replace(" ", "")
    if key not in SHEETS:
        raise UserError(
            f"there is no device '{name}' in the table.{nearest(key, SHEETS)}",
            where="--device",
            fix=f"one of {', '.join(SHEETS)}, or leave it out for this machine",
        )
    return SHEETS[key]
