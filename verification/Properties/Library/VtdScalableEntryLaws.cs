using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>Scalable mode: the entries in memory as the specification's figures show them, and the order in which they come and go.</summary>
public sealed class VtdScalableEntryLaws
{
    private const ulong Page = ScalableSystem.Page;
    private const ulong PageWalkSnoop = 1UL << 23;
    private static readonly StreamId Device = ScalableSystem.Device;
    private static readonly DomainId Domain = new(0xABCD);

    [Theory]
    [InlineData(0x0000u, 0x000, 0x000)]
    [InlineData(0x007Fu, 0x000, 0xFE0)]
    [InlineData(0x0080u, 0x008, 0x000)]
    [InlineData(0x00FFu, 0x008, 0xFE0)]
    [InlineData(0x0390u, 0x038, 0x200)]
    [InlineData(0xFFFFu, 0xFF8, 0xFE0)]
    public void A_device_is_found_in_the_half_of_its_bus(uint device, int rootOffset, int contextOffset)
    {
        using var system = new ScalableSystem();
        Assert.Equal(0x400UL, system.Simulator.Read64(0x20) & 0xC00);
        Assert.Equal(VcmmError.None, system.Driver.Attach(new(device), null, Domain, system.CreateTable()));
        ulong root = system.Memory.Read64(system.Root + (ulong)rootOffset);
        Assert.Equal(1UL, root & 0xFFF);
        ulong context = system.Memory.Read64(new((root & ~0xFFFUL) + (ulong)contextOffset));
        // P, PASIDE, and a directory of 2^(2+7) entries for 2^15 PASIDs.
        Assert.Equal(0x409UL, context & 0xFFF);
        for (ulong offset = 8; offset < 32; offset += 8) Assert.Equal(0UL, system.Memory.Read64(new((root & ~0xFFFUL) + (ulong)contextOffset + offset)));
        for (ulong offset = 0; offset < Page; offset += 8)
        {
            if (offset != (ulong)rootOffset) Assert.Equal(0UL, system.Memory.Read64(system.Root + offset));
        }
    }

    [Theory]
    [InlineData(20, 7, 128 << 10)]
    [InlineData(19, 6, 64 << 10)]
    [InlineData(15, 2, 4 << 10)]
    [InlineData(14, 1, 4 << 10)]
    [InlineData(13, 0, 4 << 10)]
    [InlineData(1, 0, 4 << 10)]
    public void A_directory_is_as_large_as_PSS_asks(int pasidBits, int size, int byteCount)
    {
        using var system = new ScalableSystem(VtdOptions.Scalable with { PasidBits = pasidBits }, new());
        Assert.Equal(1u << pasidBits, system.Driver.PasidCount);
        IPageTable table = system.CreateTable();
        ulong free = system.Frames.FreeBytes;
        Pasid last = new((1u << pasidBits) - 1);
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, last, Domain, table));
        // A directory, a PASID table, a context table.
        Assert.Equal(free - (ulong)byteCount - 2 * Page, system.Frames.FreeBytes);
        Assert.Equal((ulong)size, system.ContextEntry(Device)![0] >> 9 & 7);
        Assert.Equal(table.Root.Value | 0x89, system.PasidEntry(Device, last.Value)![0]);
        Assert.Throws<ArgumentOutOfRangeException>(() => system.Driver.Attach(Device, new Pasid(1u << pasidBits), Domain, table));
        Assert.Throws<ArgumentOutOfRangeException>(() => system.Driver.Attach(Device, new Pasid(0), Domain, table));
        Assert.Equal(VcmmError.None, system.Driver.Detach(Device, last, Domain));
        Assert.Equal(free - Page, system.Frames.FreeBytes);
    }

    [Fact]
    public void A_device_that_leaves_has_no_entry_read_of_PASIDs_that_it_does_not_have()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(2UL << 20), 16UL << 20));
        var watch = new MemoryWatch();
        var frames = new WatchedFrames(new FrameAllocator(ram.Range), watch);
        VtdDriver<WatchedMemory> driver = VtdDriver<WatchedMemory>.Start(
            new(ram.Port, watch), new HookedRegisters(new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Scalable)), frames,
            new() { Scalable = true, MaximumPasidCount = 1 << 15, WaitPolicy = new CountedPolicy() });
        Assert.Equal(VcmmError.None, driver.TryCreateTable(frames, out IPageTable? table));
        int taken = watch.Taken.Count;
        Pasid[] pasids = [new(1), new(64), new((1 << 15) - 1)];
        foreach (Pasid pasid in pasids) Assert.Equal(VcmmError.None, driver.Attach(Device, pasid, Domain, table!));
        // A directory of 512 entries, three PASID tables, and a context table, in which other devices may be.
        Assert.Equal(taken + 1 + 3 + 1, watch.Taken.Count);
        watch.ReadCount = 0;
        foreach (Pasid pasid in pasids) Assert.Equal(VcmmError.None, driver.Detach(Device, pasid, Domain));
        Assert.InRange(watch.ReadCount, 3, 100);
        Assert.Equal(taken + 1, watch.Taken.Count);
    }

    [Fact]
    public void Where_the_hardware_knows_no_PASIDs_none_are_let_in()
    {
        using var system = new ScalableSystem(VtdOptions.Scalable with { RequestsWithPasid = false });
        Assert.Equal(0u, system.Driver.PasidCount);
        IPageTable table = system.CreateTable();
        Assert.Throws<ArgumentOutOfRangeException>(() => system.Driver.Attach(Device, new Pasid(1), Domain, table));
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, null, Domain, table));
        Assert.Equal(0x001UL, system.ContextEntry(Device)![0] & 0xFFF);
        PhysRange memory = system.Allocate();
        system.Map(table, 0, memory);
        Assert.True(system.Master().Read(new(0), new byte[8]).Ok);
    }

    [Theory]
    [InlineData(4, true, true, 0x89UL, PageWalkSnoop)]
    [InlineData(4, false, false, 0x89UL, 0UL)]
    [InlineData(4, true, false, 0x289UL, PageWalkSnoop)]
    [InlineData(3, false, true, 0x85UL, PageWalkSnoop)]
    public void A_second_stage_entry_is_as_the_figure_shows(int levelCount, bool tracksUse, bool hidesUse, ulong low, ulong flags)
    {
        using var system = new ScalableSystem(
            VtdOptions.Scalable with { SecondStageAccessedDirty = !hidesUse, ScalableWalkSnoop = flags != 0 },
            new() { TracksUse = tracksUse });
        int format = system.Driver.Formats.ToList().FindIndex(candidate => candidate.LevelCount == levelCount);
        IPageTable table = system.CreateTable(format);
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, new Pasid(0x12345), Domain, table));
        Assert.Equal([table.Root.Value | low, Domain.Value | flags, 0, 0, 0, 0, 0, 0], system.PasidEntry(Device, 0x12345)!);
    }

    [Theory]
    [InlineData(4, true, false, 0x10UL)]
    [InlineData(4, false, false, 0x00UL)]
    [InlineData(4, false, true, 0x20UL)]
    [InlineData(5, true, false, 0x14UL)]
    public void A_first_stage_entry_is_as_the_figure_shows(int levelCount, bool supervisor, bool execute, ulong flags)
    {
        using var system = new ScalableSystem(VtdOptions.Scalable with { SupervisorRequests = supervisor, ExecuteRequests = execute });
        IPageTable table = system.CreateFirstStageTable(levelCount);
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, new Pasid(0x3F), Domain, table));
        Assert.Equal([0x41, Domain.Value | PageWalkSnoop, table.Root.Value | flags, 0, 0, 0, 0, 0], system.PasidEntry(Device, 0x3F)!);
    }

    [Fact]
    public void Address_spaces_of_a_device_share_its_directory_and_the_last_takes_it_along()
    {
        using var system = new ScalableSystem();
        IPageTable table = system.CreateTable();
        ulong free = system.Frames.FreeBytes;
        Pasid?[] pasids = [null, new(1), new(0x3F), new(0x40), new(0x7FFF)];
        // A context table and a directory; PASID tables for 0 … 0x3F, 0x40 … 0x7F and the last.
        ulong[] taken = [3, 3, 3, 4, 5];
        for (int i = 0; i < pasids.Length; i++)
        {
            Assert.Equal(VcmmError.None, system.Driver.Attach(Device, pasids[i], Domain, table));
            Assert.Equal(free - taken[i] * Page, system.Frames.FreeBytes);
        }

        Assert.Throws<InvalidOperationException>(() => system.Driver.Attach(Device, new Pasid(0x40), new(7), table));
        Assert.Throws<InvalidOperationException>(() => system.Driver.Detach(Device, new Pasid(0x41), Domain));
        Assert.Throws<InvalidOperationException>(() => system.Driver.Detach(Device, new Pasid(0x40), new(7)));
        Assert.Throws<InvalidOperationException>(() => system.Driver.Detach(new(0x0391), null, Domain));
        for (int i = 0; i < pasids.Length; i++)
        {
            uint pasid = pasids[i]?.Value ?? 0;
            Assert.Equal(free - 5 * Page, system.Frames.FreeBytes);
            Assert.Equal(table.Root.Value | 0x89, system.PasidEntry(Device, pasid)![0]);
            Assert.Equal(VcmmError.None, system.Driver.Detach(Device, pasids[i], Domain));
            Assert.All(system.PasidEntry(Device, pasid) ?? [], word => Assert.Equal(0UL, word));
        }

        Assert.Equal([0, 0, 0, 0], system.ContextEntry(Device)!);
        Assert.Equal(free - Page, system.Frames.FreeBytes);
        table.Free();
        system.Driver.Stop();
        Assert.Equal(system.Frames.TotalBytes, system.Frames.FreeBytes);
    }

    [Fact]
    public void A_stop_gives_back_what_is_attached_too()
    {
        using var system = new ScalableSystem();
        IPageTable table = system.CreateTable();
        foreach (uint device in (uint[])[0x00, 0x80, 0x81, 0xFFFF])
        {
            Assert.Equal(VcmmError.None, system.Driver.Attach(new(device), null, Domain, table));
            Assert.Equal(VcmmError.None, system.Driver.Attach(new(device), new Pasid(0x1234), Domain, table));
        }

        system.Driver.Stop();
        table.Free();
        Assert.Equal(system.Frames.TotalBytes, system.Frames.FreeBytes);
    }

    [Fact]
    public void A_frame_shortage_at_an_attach_takes_and_changes_nothing()
    {
        using var system = new ScalableSystem();
        IPageTable table = system.CreateTable();
        system.Told.Clear();
        for (int n = 0; n < 3; n++)
        {
            ulong free = system.Frames.FreeBytes;
            system.Frames.AllocationsBeforeFailure = n;
            Assert.Equal(VcmmError.NoMemory, system.Driver.Attach(Device, new Pasid(1), Domain, table));
            Assert.Equal(free, system.Frames.FreeBytes);
            Assert.Null(system.ContextEntry(Device));
        }

        system.Frames.AllocationsBeforeFailure = -1;
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, new Pasid(1), Domain, table));
        system.Frames.AllocationsBeforeFailure = 0;
        ulong before = system.Frames.FreeBytes;
        Assert.Equal(VcmmError.NoMemory, system.Driver.Attach(Device, new Pasid(0x100), Domain, table));
        Assert.Equal(before, system.Frames.FreeBytes);
        Assert.Null(system.PasidEntry(Device, 0x100));
        system.Frames.AllocationsBeforeFailure = -1;
        Assert.Equal(VcmmError.None, system.Driver.Detach(Device, new Pasid(1), Domain));
        Assert.Equal(VcmmError.None, system.Driver.Attach(Device, new Pasid(0x100), Domain, table));
    }

    /// <summary>
    /// Whatever an entry that looks present leads to can be seen; it becomes absent in one write that changes nothing else;
    /// and what it led to is freed after the hardware was told and answered.
    /// </summary>
    [Fact]
    public void Entries_are_present_last_absent_first_and_cleared_after_the_hardware_has_forgotten()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(2UL << 20), 4UL << 20));
        var watch = new MemoryWatch();
        var frames = new WatchedFrames(new FrameAllocator(ram.Range), watch);
        var simulator = new VtdIommu<Ram, NoSteps>(ram.Port, VtdOptions.Scalable);
        var registers = new HookedRegisters(simulator);
        // What was in the frames before looks present, whatever table it is taken for.
        for (ulong at = ram.Range.First.Value; at < ram.Range.Last.Value; at += 8) ram.Port.Write64(new(at), at | 3);
        VtdDriver<WatchedMemory> driver = VtdDriver<WatchedMemory>.Start(
            new(ram.Port, watch), registers, frames, new() { Scalable = true, MaximumPasidCount = 1 << 15, WaitPolicy = new CountedPolicy() });
        Assert.Equal(VcmmError.None, driver.TryCreateTable(frames, out IPageTable? table));

        // Its bit 0 is clear, so that only words that say whether an entry is present have it.
        var domain = new DomainId(0xABCC);
        int links = 0, entries = 0, clears = 0, told = 0;
        ulong root = simulator.Read64(0x20) & ~0xFFFUL;
        PhysRange queue = PhysRange.FromLength(new(simulator.Read64(0x90) & ~0xFFFUL), 2 * Page);
        var absent = new HashSet<ulong>();
        watch.BeforeWrite = (address, value) =>
        {
            if (queue.Contains(address)) return;
            ulong before = ram.Port.Read64(address);
            bool wasPresent = (before & 1) != 0, isPresent = (value & 1) != 0;
            if (isPresent && !wasPresent)
            {
                links++;
                watch.AssertVisible($"when {address} becomes present");
                if ((value & 0xFFF) != 0x89) return;
                // A PASID entry: its other words are what they will be.
                entries++;
                Assert.Equal(domain.Value | PageWalkSnoop, ram.Port.Read64(address + 8));
            }
            else if (wasPresent && watch.Taken.Contains(address.Value & ~0xFFFUL) && IsTable(address))
            {
                clears++;
                Assert.Equal(before & ~1UL, value);
                absent.Add(address.Value);
            }
            else if (absent.Contains(address.Value & ~0x3FUL) || absent.Contains(address.Value & ~0x1FUL))
            {
                Assert.Equal(0UL, value);
                Assert.True(told > 0, "cleared after the hardware was told");
            }
        };
        registers.BeforeWrite64 = (offset, _) =>
        {
            watch.AssertVisible("when the hardware is told");
            if (offset == HookedRegisters.QueueTail) told++;
            return true;
        };
        Assert.Equal(VcmmError.None, driver.Attach(Device, null, domain, table!));
        // PASID entry, directory entry, context entry, root entry.
        Assert.Equal((4, 0, 0), (links, clears, told));
        Assert.Equal(VcmmError.None, driver.Attach(Device, new Pasid(0x77), domain, table!));
        Assert.Equal((6, 0, 0), (links, clears, told));
        watch.AssertVisible("after an attach");
        Assert.Equal(VcmmError.None, driver.Detach(Device, null, domain));
        Assert.Equal((6, 1, 1), (links, clears, told));
        told = 0;
        Assert.Equal(VcmmError.None, driver.Detach(Device, new Pasid(0x77), domain));
        Assert.Equal((6, 3, 1), (links, clears, told));
        watch.AssertVisible("after a detach");
        Assert.Equal(2, entries);

        // A frame that is being zeroed is no table yet.
        bool IsTable(PhysAddr address)
        {
            for (ulong slot = root; slot < root + Page; slot += 8)
            {
                ulong contexts = ram.Port.Read64(new(slot));
                if ((contexts & 1) == 0) continue;
                if ((contexts & ~0xFFFUL) == (address.Value & ~0xFFFUL)) return true;
                for (ulong context = contexts & ~0xFFFUL; context < (contexts & ~0xFFFUL) + Page; context += 32)
                {
                    ulong directory = ram.Port.Read64(new(context)) & ~0xFFFUL;
                    if (directory == (address.Value & ~0xFFFUL)) return true;
                    for (ulong entry = directory; directory != 0 && entry < directory + Page; entry += 8)
                    {
                        if ((ram.Port.Read64(new(entry)) & ~0xFFFUL) == (address.Value & ~0xFFFUL)) return true;
                    }
                }
            }

            return false;
        }
    }
}
