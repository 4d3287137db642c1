using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>Scalable mode: what devices reach through the driver's entries, by the simulator's reading of them.</summary>
public sealed class VtdScalableDeviceLaws
{
    private const ulong Page = ScalableSystem.Page;
    private static readonly StreamId Device = ScalableSystem.Device;

    [Theory]
    [InlineData(true, true, true, true, "vtd-second-stage/4 vtd-second-stage/3 x86-first-stage/4 x86-first-stage/5")]
    [InlineData(true, false, true, true, "vtd-second-stage/4 vtd-second-stage/3 x86-first-stage/4")]
    [InlineData(false, true, true, true, "x86-first-stage/4 x86-first-stage/5")]
    [InlineData(true, true, false, true, "vtd-second-stage/4 vtd-second-stage/3")]
    [InlineData(true, true, true, false, "vtd-second-stage/4 vtd-second-stage/3")]
    public void The_formats_follow_the_capabilities(bool secondStage, bool fiveLevels, bool firstStage, bool snoops, string formats)
    {
        using var system = new ScalableSystem(VtdOptions.Scalable with
        {
            SecondStage = secondStage, FirstStage = firstStage, FirstStageFiveLevels = fiveLevels, ScalableWalkSnoop = snoops,
        });
        Assert.Equal(formats, string.Join(' ', system.Driver.Formats));
        Assert.Equal(system.Driver.Formats.Count, system.Driver.Formats.Distinct().Count());
    }

    [Theory]
    [InlineData(true, 0b1110u)]
    [InlineData(false, 0b0110u)]
    public void First_stage_tables_always_have_leaves_of_2_MiB(bool huge, uint leafLevels)
    {
        using var system = new ScalableSystem(VtdOptions.Scalable with { FirstStagePages1G = huge, Pages1G = !huge, Pages2M = false });
        Assert.All(system.Driver.Formats.Where(format => format.Encoding == X86FirstStage.Encoding), format => Assert.Equal(leafLevels, format.LeafLevels));
        Assert.All(
            system.Driver.Formats.Where(format => format.Encoding == VtdSecondStage.Encoding),
            format => Assert.Equal(huge ? 0b0010u : 0b1010u, format.LeafLevels));
    }

    [Fact]
    public void A_format_translates_what_its_levels_and_the_guest_width_let_it()
    {
        using var system = new ScalableSystem();
        // MGAW is 48 bits here; a canonical address keeps one of them for its half.
        (int Levels, bool First, int Bits)[] expected = [(4, false, 48), (3, false, 39), (4, true, 47), (5, true, 48)];
        Assert.Equal(expected.Length, system.Driver.Formats.Count);
        for (int i = 0; i < expected.Length; i++)
        {
            TableFormat format = system.Driver.Formats[i];
            Assert.Equal((expected[i].Levels, expected[i].First), (format.LevelCount, format.Encoding == X86FirstStage.Encoding));
            ulong last = (1UL << expected[i].Bits) - 1;
            Assert.True(system.Driver.CanTranslate(format, new(new(0), new(last))));
            Assert.False(system.Driver.CanTranslate(format, new(new(last), new(last + 1))));
            Assert.False(system.Driver.CanTranslate(format, new(new(ulong.MaxValue - 0xFFF), new(ulong.MaxValue))));
            Assert.False(system.Driver.CanTranslate(format with { LeafLevels = 0b10 }, new(new(0), new(last))));
            if (!system.CreateTable(i).Covers(new(new(0), new(last)))) Assert.Fail($"{format} does not reach as far as is said");
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Each_address_space_of_a_device_leads_to_its_own_table(int format)
    {
        using var system = new ScalableSystem();
        BusMaster<Ram, NoSteps> master = system.Master();
        (Pasid? Pasid, PhysRange Memory, DomainId Domain)[] spaces =
            [(null, system.Allocate(), Create(system)), (new(1), system.Allocate(), Create(system)), (new(0x7FFF), system.Allocate(), Create(system))];
        foreach ((Pasid? pasid, PhysRange memory, DomainId domain) in spaces)
        {
            IPageTable table = system.CreateTable(format);
            system.Map(table, 0x7000, memory);
            system.Memory.Write64(memory.First, memory.First.Value);
            Assert.False(master.Read(new(0x7000), new byte[8], Prefix(pasid)).Ok);
            Assert.Equal(VcmmError.None, system.Driver.Attach(Device, pasid, domain, table));
        }

        foreach ((Pasid? pasid, PhysRange memory, _) in spaces)
        {
            Assert.Equal(memory.First.Value, Read(master, 0x7000, pasid));
            Assert.True(master.Write(new(0x7008), BitConverter.GetBytes(7UL), Prefix(pasid)).Ok);
            Assert.Equal(7UL, system.Memory.Read64(memory.First + 8));
            Assert.Null(Read(master, 0x8000, pasid));
        }

        Assert.Null(Read(master, 0x7000, new Pasid(2)));
        Assert.Null(Read(master, 0x7000, new Pasid(0x40)));
        Assert.Null(Read(system.Master(new(0x0391)), 0x7000, new Pasid(1)));
        for (int i = 0; i < spaces.Length; i++)
        {
            Assert.Equal(VcmmError.None, system.Driver.Detach(Device, spaces[i].Pasid, spaces[i].Domain));
            for (int j = 0; j < spaces.Length; j++) Assert.Equal(j > i, Read(master, 0x7000, spaces[j].Pasid) is not null);
            Assert.DoesNotContain(system.Simulator.Iotlb, entry => entry.Domain.Value == spaces[i].Domain.Value);
            Assert.DoesNotContain(system.Simulator.WalkCache, entry => entry.Domain.Value == spaces[i].Domain.Value);
        }

        Assert.Equal(0, system.Simulator.Statistics.QueueErrors);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    [InlineData(3)]
    public void What_is_unmapped_and_invalidated_no_device_of_the_domain_reaches_any_more(int format)
    {
        using var system = new ScalableSystem();
        IPageTable table = system.CreateTable(format);
        DomainId domain = Create(system), other = Create(system);
        (StreamId Device, Pasid? Pasid)[] spaces = [(Device, null), (Device, new(3)), (new(0x0101), new(3)), (new(0x0101), new(0x77))];
        foreach ((StreamId device, Pasid? pasid) in spaces) Assert.Equal(VcmmError.None, system.Driver.Attach(device, pasid, domain, table));
        IPageTable otherTable = system.CreateTable(format);
        Assert.Equal(VcmmError.None, system.Driver.Attach(new(0x0102), new Pasid(3), other, otherTable));
        PhysRange memory = system.Allocate(16 * Page);
        system.Map(otherTable, 0, memory);
        Assert.NotNull(Read(system.Master(new(0x0102)), 0x5000, new Pasid(3)));
        int stale = 0;
        for (ulong count = 1; count <= 11; count++)
        {
            system.Map(table, 0, memory);
            foreach ((StreamId device, Pasid? pasid) in spaces)
            {
                for (ulong page = 0; page < 16; page++) Assert.NotNull(Read(system.Master(device), page * Page, pasid));
            }

            IovaRange range = IovaRange.FromLength(new(3 * Page), count * Page);
            var gather = new InvalidationGather();
            table.Unmap(range, gather);
            if (Read(system.Master(), 3 * Page, new Pasid(3)) is not null) stale++;
            Assert.Equal(VcmmError.None, system.Driver.Invalidate([new(domain, range, gather.LeavesOnly)]));
            table.Release(gather);
            foreach ((StreamId device, Pasid? pasid) in spaces)
            {
                for (ulong page = 0; page < 16; page++)
                    Assert.Equal(page < 3 || page >= 3 + count, Read(system.Master(device), page * Page, pasid) is not null);
            }

            gather.Clear();
            table.Unmap(IovaRange.FromLength(new(0), 16 * Page), gather);
            Assert.Equal(VcmmError.None, system.Driver.Invalidate([new(domain, IovaRange.FromLength(new(0), 16 * Page), gather.LeavesOnly)]));
            table.Release(gather);
        }

        Assert.Equal(11, stale);
        // The other domain's stayed cached.
        Assert.Contains(system.Simulator.Iotlb, entry => entry.Domain.Value == other.Value);
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(0, true)]
    [InlineData(2, false)]
    [InlineData(2, true)]
    public void An_address_space_can_come_and_go_whatever_was_cached_before(int format, bool isCachingMode)
    {
        using var system = new ScalableSystem(VtdOptions.Scalable with { CachingMode = isCachingMode });
        BusMaster<Ram, NoSteps> master = system.Master();
        IPageTable[] tables = [system.CreateTable(format), system.CreateTable(format)];
        PhysRange[] memory = [system.Allocate(), system.Allocate()];
        for (int i = 0; i < 2; i++)
        {
            system.Map(tables[i], 0, memory[i]);
            system.Memory.Write64(memory[i].First, memory[i].First.Value);
        }

        ulong free = system.Frames.FreeBytes;
        for (int round = 0; round < 20; round++)
        {
            DomainId domain = Create(system), again = Create(system);
            foreach (Pasid? pasid in (Pasid?[])[null, new(1), new(0x41)])
            {
                Assert.Null(Read(master, 0, pasid));
                Assert.Equal(VcmmError.None, system.Driver.Attach(Device, pasid, domain, tables[round % 2]));
                Assert.Equal(memory[round % 2].First.Value, Read(master, 0, pasid));
                // The same address space with another table, while others keep the directory alive.
                Assert.Equal(VcmmError.None, system.Driver.Detach(Device, pasid, domain));
                Assert.Null(Read(master, 0, pasid));
                Assert.Equal(VcmmError.None, system.Driver.Attach(Device, pasid, again, tables[1 - round % 2]));
                Assert.Equal(memory[1 - round % 2].First.Value, Read(master, 0, pasid));
            }

            foreach (Pasid? pasid in (Pasid?[])[new(1), new(0x41), null])
            {
                Assert.Equal(VcmmError.None, system.Driver.Detach(Device, pasid, again));
                Assert.Null(Read(master, 0, pasid));
            }

            system.Driver.ReleaseDomain(domain);
            system.Driver.ReleaseDomain(again);
            Assert.Equal(free - Page, system.Frames.FreeBytes);
        }
    }

    [Fact]
    public void A_region_of_the_manager_works_in_scalable_mode_as_it_stands()
    {
        using var system = new ScalableSystem();
        var manager = new VcmManager(system.Frames);
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 32));
        Association association = vcm.Associate(manager.AddDevice(system.Driver, Device));
        association.Activate();
        Reservation reservation = vcm.Reserve(3 * Page);
        reservation.Back(manager.Allocate(3 * Page, ChunkSizes.Size4K, scattered: true));
        Assert.NotNull(Read(system.Master(), reservation.Range.First.Value + 2 * Page, null));
        reservation.Unback();
        Assert.Null(Read(system.Master(), reservation.Range.First.Value + 2 * Page, null));
        Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));
        Assert.Equal((Device, (Pasid?)null, Access.Read), (fault.Device, fault.Pasid, fault.Access));
        association.Deactivate();
        Assert.Null(Read(system.Master(), 0, null));
    }

    [Fact]
    public void A_fault_says_in_which_address_space_it_was_and_what_was_wanted()
    {
        using var system = new ScalableSystem(VtdOptions.Scalable with { ExecuteRequests = true, FaultRecordCount = 8 });
        IPageTable table = system.CreateFirstStageTable();
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, new Pasid(0x7FFF), new(5), table));
        BusMaster<Ram, NoSteps> master = system.Master();
        var pasid = new Pasid(0x7FFF);
        Assert.False(master.Read(new(0x5123), new byte[1], new PasidPrefix(pasid)).Ok);
        Assert.False(master.Write(new(0x6123), new byte[1], new PasidPrefix(pasid)).Ok);
        Assert.False(master.Read(new(0x7123), new byte[1], new PasidPrefix(pasid, Privileged: true)).Ok);
        Assert.False(master.Read(new(0x8123), new byte[1], new PasidPrefix(pasid, Execute: true)).Ok);
        Assert.False(master.Read(new(0x9123), new byte[1], new PasidPrefix(new(0x7FFE))).Ok);
        Assert.False(master.Read(new(0xA123), new byte[1]).Ok);
        Pasid attached = new(0x7FFF);
        DeviceFault[] expected =
        [
            new(Device, attached, new(0x5000), Access.Read, 0x71) { Cause = FaultCause.NotMapped },    // SFS.2: not present
            new(Device, attached, new(0x6000), Access.Write, 0x71) { Cause = FaultCause.NotMapped },
            new(Device, attached, new(0x7000), Access.Read, 0x5D) { IsPrivileged = true, Cause = FaultCause.NotPermitted },    // SPT: SRE is 0
            new(Device, attached, new(0x8000), Access.Read | Access.Execute, 0x5C) { Cause = FaultCause.NotPermitted },    // SPT: ERE is 0
            new(Device, new Pasid(0x7FFE), new(0x9000), Access.Read, 0x59) { Cause = FaultCause.NotAttached },    // SPT.2: PASID entry not present
            new(Device, null, new(0xA000), Access.Read, 0x51) { Cause = FaultCause.NotAttached },    // SPD.2: PASID directory entry not present
        ];
        foreach (DeviceFault fault in expected)
        {
            Assert.True(system.Driver.TryTakeFault(out DeviceFault taken));
            Assert.Equal(fault, taken);
        }

        Assert.False(system.Driver.TryTakeFault(out _));
    }

    /// <summary>Every number of the field, as records that no simulator made, against the names that the simulator gives them.</summary>
    [Fact]
    public void The_cause_of_a_fault_is_what_its_number_means()
    {
        using var system = new ScalableSystem();
        for (ulong reason = 0; reason <= 0xFF; reason++)
        {
            ulong high = 1UL << 63 | reason << 32 | Device.Value;
            system.Registers.AfterRead64 = (offset, value) => offset switch { 0x220 => 0x1234_5000, 0x228 => high, _ => value };
            Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));
            Assert.Equal((reason, Expected((VtdFaultReason)reason)), (fault.Reason, fault.Cause));
        }

        static FaultCause Expected(VtdFaultReason reason)
        {
            if (!Enum.IsDefined(reason) || reason == VtdFaultReason.None) return FaultCause.Unknown;
            string name = reason.ToString();
            // Nobody but the hardware's own walk reads first-stage entries under nested translation, and nobody but it sets flags.
            if (name.Contains("Flags", StringComparison.Ordinal) || name.EndsWith("NotReadable", StringComparison.Ordinal)) return FaultCause.Misprogrammed;
            if (reason == VtdFaultReason.FirstStageEntryNotPresent) return FaultCause.NotMapped;
            if (name.EndsWith("NotPresent", StringComparison.Ordinal) || name.StartsWith("Pasid", StringComparison.Ordinal) && !name.StartsWith("PasidEntry", StringComparison.Ordinal) && !name.StartsWith("PasidDirectory", StringComparison.Ordinal))
                return FaultCause.NotAttached;
            if (name.EndsWith("Write", StringComparison.Ordinal) || name.EndsWith("Read", StringComparison.Ordinal)) return FaultCause.NotPermitted;
            if (reason is VtdFaultReason.SecondStageNotPermitted or VtdFaultReason.ExecuteNotEnabled or VtdFaultReason.SupervisorNotEnabled or VtdFaultReason.UserPrivilege or VtdFaultReason.ExecuteDisabled)
                return FaultCause.NotPermitted;
            bool isOfAddress = name.Contains("AddressBeyond", StringComparison.Ordinal) || reason == VtdFaultReason.AddressNotCanonical;
            return isOfAddress ? FaultCause.OutOfRange : FaultCause.Misprogrammed;
        }
    }

    /// <summary>Types of the specification's table, as records that no simulator made: write, page request, read, atomic.</summary>
    [Theory]
    [InlineData(0UL, 0UL, Access.Write)]
    [InlineData(0UL, 1UL, Access.None)]
    [InlineData(1UL, 0UL, Access.Read)]
    [InlineData(1UL, 1UL, Access.ReadWrite)]
    public void The_type_of_a_fault_is_two_bits(ulong first, ulong second, Access access)
    {
        using var system = new ScalableSystem();
        ulong high = 1UL << 63 | first << 62 | second << 28 | 0x59UL << 32 | 0xFFFFFUL << 40 | Device.Value;
        DeviceFault expected = new(Device, null, new(0x1234_5000), access, 0x59) { Cause = FaultCause.NotAttached };
        Assert.Equal(expected, Take(high));
        // Without a PASID privilege and execute mean nothing.
        Assert.Equal(expected, Take(high | 3UL << 29));
        expected = expected with { Pasid = new Pasid(0xFFFFF) };
        Assert.Equal(expected, Take(high | 1UL << 31));
        // EXE is bit 94 of a record, PRIV bit 93.
        Assert.Equal(expected with { Access = access | Access.Execute }, Take(high | 6UL << 29));
        Assert.Equal(expected with { IsPrivileged = true }, Take(high | 5UL << 29));

        DeviceFault Take(ulong word)
        {
            system.Registers.AfterRead64 = (offset, value) => offset switch { 0x220 => 0x1234_5000, 0x228 => word, _ => value };
            Assert.True(system.Driver.TryTakeFault(out DeviceFault fault));
            return fault;
        }
    }

    [Theory]
    [InlineData(1UL << 43)]    // ECAP.SMTS
    [InlineData(3UL << 46)]    // ECAP.SSTS and FSTS
    public void Hardware_without_scalable_mode_or_stages_is_refused_where_it_is_asked_for(ulong cleared)
    {
        Assert.Equal(
            VcmmError.NoDevice, Assert.Throws<VcmmException>(() => new ScalableSystem(ecap: ecap => ecap & ~cleared)).Error);
        using var ram = new RamBlock(PhysRange.FromLength(new(0), 1 << 20));
        var registers = new HookedRegisters(new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Scalable))
        {
            AfterRead64 = (offset, value) => offset == 0x10 ? value & ~cleared : value,
        };
        var frames = new FrameAllocator(ram.Range);
        Assert.Equal(VcmmError.None, VtdDriver<Ram>.TryStart(ram.Port, registers, frames, new(), out VtdDriver<Ram>? legacy));
        Assert.Equal(0u, legacy!.PasidCount);
        Assert.Equal(VcmmError.None, legacy.TryCreateTable(legacy.Formats[0], frames, out IPageTable? table));
        Assert.Throws<ArgumentOutOfRangeException>(() => legacy.Attach(Device, new Pasid(1), new(1), table!));
    }

    private static DomainId Create(ScalableSystem system)
    {
        Assert.Equal(VcmmError.None, system.Driver.TryCreateDomain(out DomainId domain));
        return domain;
    }

    private static PasidPrefix? Prefix(Pasid? pasid) => pasid is { } named ? new PasidPrefix(new(named.Value)) : null;

    /// <summary>What the device reads; null if it may not.</summary>
    private static ulong? Read(BusMaster<Ram, NoSteps> master, ulong address, Pasid? pasid)
    {
        var bytes = new byte[8];
        return master.Read(new(address), bytes, Prefix(pasid)).Ok ? BitConverter.ToUInt64(bytes) : null;
    }
}
