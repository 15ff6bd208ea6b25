# SPDX-FileCopyrightText: © 2026 Tenstorrent USA, Inc.

# SPDX-License-Identifier: Apache-2.0
"""The one kernel that the stand-in compiler ever produces: the smallest ELF file that tt-metal's loader takes."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

TEXT_ADDRESS = 0x5000
DATA_ADDRESS = 0xFFB00000  # a core's local memory

_NOP, _RETURN = 0x00000013, 0x00008067
_ELF_HEADER_SIZE, _PROGRAM_HEADER_SIZE, _SECTION_HEADER_SIZE = 52, 32, 40
_EXECUTABLE, _RISCV, _LOAD, _R_RISCV_RELAX = 2, 243, 1, 51
_PROGBITS, _SYMTAB, _STRTAB, _RELA = 1, 2, 3, 4
_WRITE, _ALLOC, _EXECUTE, _INFO_LINK = 1, 2, 4, 0x40


@dataclass(frozen=True)
class _Section:
    """One section of the file; the fields are those of its header (link and info name other sections by number)."""

    name: str
    kind: int
    content: bytes
    flags: int = 0
    address: int = 0
    link: int = 0
    info: int = 0
    entry_size: int = 0
    offset: int = 0

    def header(self, name_at: int) -> bytes:
        return struct.pack(
            "<10I",
            name_at,
            self.kind,
            self.flags,
            self.address,
            self.offset,
            len(self.content),
            self.link,
            self.info,
            4,
            self.entry_size,
        )


def stub_program() -> bytes:
    """An RV32 executable of four instructions, one data word, one symbol and one relocation (the loader wants each)."""
    text = struct.pack("<4I", _NOP, _RETURN, _NOP, _NOP)
    function, text_section = 0x12, 1
    start = struct.pack("<IIIBBH", 1, TEXT_ADDRESS, len(text), function, 0, text_section)
    relaxation = struct.pack("<IIi", TEXT_ADDRESS, 1 << 8 | _R_RISCV_RELAX, 0)
    sections = [
        _Section(".text", _PROGBITS, text, flags=_ALLOC | _EXECUTE, address=TEXT_ADDRESS),
        _Section(".data", _PROGBITS, bytes(4), flags=_ALLOC | _WRITE, address=DATA_ADDRESS),
        _Section(".symtab", _SYMTAB, bytes(16) + start, link=4, info=1, entry_size=16),
        _Section(".strtab", _STRTAB, b"\0_start\0"),
        _Section(".rela.text", _RELA, relaxation, flags=_INFO_LINK, link=3, info=1, entry_size=12),
    ]
    names = b"\0" + b"".join(section.name.encode() + b"\0" for section in sections) + b".shstrtab\0"
    sections.append(_Section(".shstrtab", _STRTAB, names))

    body = b""
    body_at = _ELF_HEADER_SIZE + 2 * _PROGRAM_HEADER_SIZE
    for number, section in enumerate(sections):
        sections[number] = replace(section, offset=body_at + len(body))
        body += section.content + bytes(-len(section.content) % 4)

    section_headers = bytes(_SECTION_HEADER_SIZE) + b"".join(
        section.header(names.index(b"\0" + section.name.encode() + b"\0") + 1) for section in sections
    )
    elf_header = b"\x7fELF\1\1\1" + bytes(9)
    elf_header += struct.pack(
        "<HHIIIIIHHHHHH",
        _EXECUTABLE,
        _RISCV,
        1,
        TEXT_ADDRESS,
        _ELF_HEADER_SIZE,
        body_at + len(body),
        0,
        _ELF_HEADER_SIZE,
        _PROGRAM_HEADER_SIZE,
        2,
        _SECTION_HEADER_SIZE,
        1 + len(sections),
        len(sections),
    )
    return (
        elf_header
        + _segment(sections[0], 5)
        + _segment(sections[1], 6, TEXT_ADDRESS + len(text))
        + body
        + section_headers
    )


def _segment(section: _Section, permissions: int, load_address: int | None = None) -> bytes:
    """The program header that loads a section, at its own address unless another is given."""
    size = len(section.content)
    physical = section.address if load_address is None else load_address
    return struct.pack("<8I", _LOAD, section.offset, section.address, physical, size, size, permissions, 4)
