using IommuSim;
using Platform;

namespace Harness.Hostile;

// What goes wrong: stores, registers, descriptors, and accesses.
internal sealed partial class HostileWorld
{
    private void Mischief()
    {
        // Each bit of each entry in turn, and anything at all.
        if (_pcg.Next(6) == 0)
        {
            uint at = unchecked(_sweepBase + _sweep++);
            ulong address = _hot[at / 64 % (uint)_hot.Length];
            Poke(address, _ram.Port.Read64(new(address)) ^ 1UL << (int)(at % 64));
        }

        if (_pcg.Next(8) == 0) Poke(_hot[_pcg.Next((uint)_hot.Length)], AnyWord());
        if (_pcg.Next(16) == 0) Poke(_pcg.Next((uint)(LastTable / 8)) * 8, AnyWord());
        if (IsNesting && _later.Next(8) == 0)
        {
            // The second stage grants less, or more again, of what the first points at.
            ulong address = NestedHot[_later.Next((uint)NestedHot.Length)];
            Poke(address, _ram.Port.Read64(new(address)) ^ (1 + _later.Next(3)));
        }

        if (IsNesting && _later.Next(16) == 0)
        {
            // The first stage points beyond what the second translates.
            ulong address = GuestHot[_later.Next((uint)GuestHot.Length)];
            Poke(address, _ram.Port.Read64(new(address)) ^ 1UL << _options.GuestAddressWidth);
        }

        if (_later.Next(128) == 0)
        {
            AtsDevice<GuardedMemory, NoSteps> device = _atsDevices[_later.Next(2)];
            device.IsResponding = !device.IsResponding;
            Note($"{device.Source} {(device.IsResponding ? "answers" : "does not answer")}");
        }

        if (_later.Next(256) == 0)
        {
            Note($"an invalidation is completed that there was not");
            _limit.Allow(CommandTouches);
            new MisbehavingDevice<GuardedMemory, NoSteps>(_unit, _memory, new(_later.Next(0x10000))).CompleteInvalidation();
        }

        if (_pcg.Next(4) == 0) AnyCommand();
        if (_pcg.Next(32) == 0) AnyRegister();
        if (_pcg.Next(100) == 0) AnyRoot();
        if (_pcg.Next(8) == 0) ClearStatus();
        if (_options.Commands == CommandMode.Manual)
        {
            _limit.Allow(CommandTouches);
            _unit.ProcessNextCommand();
        }
    }

    private void Poke(ulong address, ulong value)
    {
        Note($"set 0x{address:x} 0x{value:x}");
        _counts.Stores++;
        Store(address, value);
    }

    private void ClearStatus()
    {
        _limit.Allow(CommandTouches);
        for (uint i = 0; i < Math.Min(_options.FaultRecordCount, 4); i++)
        {
            ulong record = _unit.Read64(FRCD + i * 16 + 8);
            if (record >> 63 == 1) Meet((VtdFaultReason)(record >> 32 & 0xFF));
            _unit.Write64(FRCD + i * 16 + 8, 1UL << 63);
        }

        _unit.Write32(FSTS, _pcg.Next(4) == 0 ? ~0u : ~0x10u);
        if (_pcg.Next(4) == 0) _unit.Write32(PRS, ~0u);
        if (_pcg.Next(4) == 0) _unit.Write64(PQH, _unit.Read64(PQT));
    }

    private void AnyRoot()
    {
        ulong value = _pcg.Next(3) switch { 0 => AnyWord(), 1 => AnyWord() & ~0xFFFUL | 1 << 10, _ => MemoryBytes | _pcg.Next(2) << 10 };
        if (_options.AbortDma && _later.Next(4) == 0) value = 3 << 10;
        Note($"root 0x{value:x}");
        _limit.Allow(CommandTouches);
        _unit.Write64(RTADDR, value);
        _unit.Write32(GCMD, SRTP | QIE | TE);
    }

    /// <summary>Any register, and where there is none, with any value.</summary>
    private void AnyRegister()
    {
        _counts.RegisterWrites++;
        _limit.Allow(CommandTouches);
        bool isWide = _pcg.Next(2) == 0;
        uint offset = _pcg.Next(4) == 0 ? _pcg.Next(4096 / 8) * 8 : _pcg.Next(0x260 / 8) * 8;
        if (!isWide) offset += _pcg.Next(2) * 4;
        ulong value = _pcg.Next(3) == 0 ? 1UL << (int)_pcg.Next(64) : AnyWord();
        Note($"register 0x{offset:x} 0x{value:x}");
        if (isWide) _unit.Write64(offset, value);
        else _unit.Write32(offset, (uint)(value & 0xFFFF_FFFF));
        _ = isWide ? _unit.Read64(offset) : _unit.Read32(offset);
        // With translation off for long nothing would be seen.
        if (_pcg.Next(4) != 0) _unit.Write32(GCMD, QIE | TE);
    }

    private void AnyCommand()
    {
        ulong domain = (6 + _pcg.Next(5)) << 16, pasid = (ulong)_pcg.Next(5) << 32, page = AnyIova() & ~0xFFFUL, source = (ulong)AtsSources[_pcg.Next(2)];
        (ulong low, ulong high) = _pcg.Next(14) switch
        {
            0 => (AnyWord(), AnyWord()),
            1 => (0x11UL, 0UL),
            2 => (0x12UL, 0UL),
            3 => (0x32UL | domain | _pcg.Next(4) << 6, page | _pcg.Next(128)),
            4 => (0x22UL | domain, 0UL),
            5 => (0x31UL | domain | (ulong)Sources[_pcg.Next(4)] << 32 | (ulong)_pcg.Next(4) << 48, 0UL),
            6 => (0x07UL | domain | pasid | _pcg.Next(4) << 4, 0UL),
            7 => (0x06UL | domain | pasid | _pcg.Next(4) << 4, page | _pcg.Next(128)),
            8 => (0x03UL | source << 32 | _pcg.Next(32) << 16, page | _pcg.Next(2)),
            9 => (0x08UL | source << 16 | pasid, page | _pcg.Next(2) | _pcg.Next(2) << 11),
            10 or 11 => (0x09UL | _pcg.Next(2) << 4 | (_pcg.Next(3) == 0 ? _pcg.Next(16) << 12 : 0) | source << 16 | pasid, (ulong)_pcg.Next(6) << 3 | 4),
            _ => (0x25UL | _pcg.Next(2) << 4 | _pcg.Next(2) << 7 | (ulong)_pcg.Next() << 32, _pcg.Next(4) == 0 ? AnyWord() & ~3UL : Status),
        };
        if (IsNesting && _later.Next(4) == 0)
        {
            (low, high) = _later.Next(3) switch
            {
                0 => (0x26UL | 11 << 16 | (ulong)NestedPasid << 32, 0UL),
                1 => (0x36UL | 11 << 16 | (ulong)NestedPasid << 32, page | _later.Next(128)),
                _ => (0x32UL | 11 << 16, Nest1 | _later.Next(128)),
            };
        }

        if (_pcg.Next(16) == 0) low ^= 1UL << (int)_pcg.Next(64);
        ulong third = _pcg.Next(32) == 0 ? AnyWord() : 0;
        Note($"command 0x{low:x}:0x{high:x}:0x{third:x}");
        if (_pcg.Next(40) == 0)
        {
            _limit.Allow(CommandTouches);
            _unit.Write64(IQT, AnyWord());
        }
        else
        {
            Submit(low, high, third);
        }
    }

    private void Access()
    {
        _counts.Accesses++;
        _limit.Allow(AccessTouches);
        var address = new Iova(AnyIova());
        PasidPrefix? prefix = AnyPrefix();
        bool isWrite = _pcg.Next(2) == 0;
        int length = (int)_pcg.Next(65);
        VtdStatistics before = _unit.Statistics;
        VtdFaultReason reason;
        if (_pcg.Next(3) == 0)
        {
            AtsDevice<GuardedMemory, NoSteps> device = _atsDevices[_pcg.Next(2)];
            Note($"ATS {(isWrite ? "write" : "read")} by {device.Source} of {length} bytes at {address}, {prefix}");
            DmaTransfer transfer = isWrite ? device.Write(address, _buffer.AsSpan(0, length), prefix) : device.Read(address, length, prefix);
            if (transfer.Outcome == AccessOutcome.Stalled) _counts.Stalled++;
            Expect(transfer.Outcome != AccessOutcome.Completed || transfer.BytesDone == length, $"a transfer of {length} bytes is over with {transfer.BytesDone}");
            reason = transfer.Reason;
        }
        else
        {
            BusMaster<GuardedMemory, NoSteps> device = _pcg.Next(32) == 0 ? new(_unit, _memory, new(_pcg.Next(0x10000))) : _masters[_pcg.Next((uint)_masters.Length)];
            Note($"{(isWrite ? "write" : "read")} by {device.Source} of {length} bytes at {address}, {prefix}");
            DmaResult result = isWrite ? device.Write(address, _buffer.AsSpan(0, length), prefix) : device.Read(address, _buffer.AsSpan(0, length), prefix);
            Expect(result.Ok == (result.BytesDone == (ulong)length), $"of {length} bytes {result.BytesDone} were transferred, and that was {(result.Ok ? "all" : "not all")}");
            reason = result.Reason;
            if (reason != VtdFaultReason.None) CheckFault(before);
        }

        Meet(reason);
    }

    private void Meet(VtdFaultReason reason)
    {
        Expect(Enum.IsDefined(reason), $"there is no fault reason 0x{(int)reason:x}");
        _counts.Reasons[reason] = _counts.Reasons.GetValueOrDefault(reason) + 1;
    }

    /// <summary>One fault more, which is recorded, lost and flagged, or silenced.</summary>
    private void CheckFault(in VtdStatistics before)
    {
        VtdStatistics after = _unit.Statistics;
        Expect(after.Faults == before.Faults + 1, $"a blocked access caused {after.Faults - before.Faults} faults");
        if (after.FaultsSilenced != before.FaultsSilenced) return;
        const uint overflow = 1, pending = 2;
        uint status = _unit.Read32(FSTS);
        Expect((status & pending) != 0 || (status & overflow) != 0, $"a blocked access left the fault status at 0x{status:x}");
        Expect(after.FaultsLost == before.FaultsLost || (status & overflow) != 0, $"a fault was lost, and the fault status is 0x{status:x}");
    }

    private PasidPrefix? AnyPrefix()
    {
        if (!_isScalable && _pcg.Next(32) != 0) return null;
        if (IsNesting && _later.Next(2) == 0) return new(new(NestedPasid), _later.Next(4) == 0, _later.Next(8) == 0);
        uint pasid = _pcg.Next(12) switch
        {
            < 5 => uint.MaxValue,
            < 7 => 2,
            < 9 => 3,
            9 => _pcg.Next(8),
            10 => _pcg.Next(128),
            _ => _pcg.Next(1 << 20),
        };
        return pasid == uint.MaxValue ? null : new(new(pasid), _pcg.Next(4) == 0, _pcg.Next(4) == 0);
    }

    private ulong AnyIova() => _pcg.Next(12) switch
    {
        0 => _pcg.Next64(),
        1 => ulong.MaxValue - _pcg.Next(128),
        2 => (1UL << 48) - _pcg.Next(128),
        3 => (1UL << 39) - _pcg.Next(128),
        4 => 0xFEE0_0000 + _pcg.Next(1 << 20),
        _ => (ulong)_pcg.Next(2) << 39 | (ulong)_pcg.Next(2) << 30 | (ulong)_pcg.Next(2) << 21 | _pcg.Next(0x4000),
    };

    /// <summary>A bit pattern of one of the kinds that matter, all of them and none among them.</summary>
    private ulong AnyWord()
    {
        ulong pointer = LegacyRoot + _pcg.Next((uint)((LastTable - LegacyRoot) >> 12)) * 4096;
        return _pcg.Next(14) switch
        {
            0 => _pcg.Next64(),
            1 => 0,
            2 => ulong.MaxValue,
            3 => pointer | _pcg.Next(4096),
            4 => pointer | 3 | 1UL << (int)_pcg.Next(64),
            5 => MemoryBytes - 4096 + (ulong)_pcg.Next(3) * 4096 | 7,
            6 => pointer | 1,
            7 => MemoryBytes | 1 | _pcg.Next(8) << 6,
            8 => 0xFEE0_0000 | 7,
            9 => pointer | 7 | 1 << 7,
            10 => (_pcg.Next64() & 0xF_FFFF_FFFF_F000) | 7,
            11 => FrameA | 7UL | (ulong)_pcg.Next(2) << 63,
            12 => Queue | 3,
            _ => pointer | 7,
        };
    }
}
