using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Vtd;

namespace Properties.Library;

/// <summary>What is in memory, and may be seen there by hardware that snoops nothing, at the moment that the hardware is told.</summary>
public sealed class VtdOrderLaws : IDisposable
{
    private const ulong Page = VtdSystem.Page;
    private const ulong Large = VtdSystem.Large;
    private const uint DeviceId = 0x0310;

    private readonly RamBlock _ram = new(PhysRange.FromLength(new(Large), 4 * Large));
    private readonly MemoryWatch _watch = new();
    private readonly IFrameSource _frames;
    private readonly HookedRegisters _registers;
    private readonly VtdIommu<Ram, NoSteps> _simulator;

    public VtdOrderLaws()
    {
        _frames = new WatchedFrames(new FrameAllocator(_ram.Range), _watch);
        _simulator = new(_ram.Port, VtdOptions.Default);
        _registers = new(_simulator);
        // What was in the frames before looks present, whatever table it is taken for.
        for (ulong at = _ram.Range.First.Value; at < _ram.Range.Last.Value; at += 8) _ram.Port.Write64(new(at), at | 3);
    }

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void Whatever_the_hardware_will_read_is_clean_and_fenced_when_it_is_told()
    {
        int told = 0;
        _registers.BeforeWrite64 = (_, _) => Check();
        _registers.BeforeWrite32 = (_, _) => Check();
        VtdDriver<WatchedMemory> driver = Start();
        _watch.AssertVisible("after the start");
        int toldAtStart = told;
        var manager = new VcmManager(_frames);
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        Association association = vcm.Associate(manager.AddDevice(driver, new(DeviceId)));
        association.Activate();
        _watch.AssertVisible("after the activation");
        PhysicalAllocation memory = manager.Allocate(Large + Page, ChunkSizes.Size4K, scattered: true);
        Reservation reservation = vcm.Reserve(Large + Page);
        reservation.Back(memory);
        _watch.AssertVisible("after the back");
        reservation.Unback();
        _watch.AssertVisible("after the unback");
        association.Deactivate();
        _watch.AssertVisible("after the deactivation");
        Assert.InRange(toldAtStart, 7, 20);
        Assert.Equal(toldAtStart + 2, told);

        bool Check()
        {
            told++;
            _watch.AssertVisible("when a register is written");
            return true;
        }
    }

    [Fact]
    public void A_context_entry_is_never_present_without_its_other_half()
    {
        VtdDriver<WatchedMemory> driver = Start();
        int low = 0, high = 0;
        PhysAddr contextTable = default;
        _watch.BeforeWrite = (address, value) =>
        {
            if (contextTable == default || (address.Value & ~0xFFFUL) != contextTable.Value) return;
            bool isHigh = (address.Value & 8) != 0;
            PhysAddr other = new(address.Value ^ 8);
            if (isHigh && value == 0)
            {
                high++;
                Assert.Equal(0UL, _ram.Port.Read64(other));
                Assert.DoesNotContain(other.Value, _watch.Unfenced);
            }
            else if (!isHigh && (value & 1) != 0)
            {
                low++;
                Assert.Equal(0x0000_0902UL, _ram.Port.Read64(other));
                Assert.DoesNotContain(other.Value, _watch.Unfenced);
            }
        };
        Vcmm.Tables.IPageTable table = CreateTable(driver);
        Assert.Equal(VcmmError.None, driver.Attach(new(DeviceId), new(9), table));
        contextTable = new(_ram.Port.Read64(new((_simulator.Read64(0x20) & ~0xFFFUL) + (DeviceId >> 8) * 16)) & ~0xFFFUL);
        Assert.Equal(VcmmError.None, driver.Detach(new(DeviceId), new(9)));
        Assert.Equal((0, 1), (low, high));
        Assert.Equal(VcmmError.None, driver.Attach(new(DeviceId), new(9), table));
        Assert.Equal((1, 1), (low, high));
        PhysAddr slot = contextTable + (DeviceId & 0xFF) * 16;
        Assert.Equal(table.Root.Value | 1, _ram.Port.Read64(slot));
        Assert.Equal(0x0000_0902UL, _ram.Port.Read64(slot + 8));
    }

    /// <summary>While the hardware is made to forget an entry it must not find it again; what it has read of it stays true.</summary>
    [Fact]
    public void A_context_entry_is_absent_and_otherwise_as_it_was_when_the_hardware_is_told_of_a_detach()
    {
        VtdDriver<WatchedMemory> driver = Start();
        Vcmm.Tables.IPageTable table = CreateTable(driver);
        Assert.Equal(VcmmError.None, driver.Attach(new(DeviceId), new(9), table));
        PhysAddr entry = ContextTable() + (DeviceId & 0xFF) * 16;
        int told = 0;
        _registers.BeforeWrite64 = (offset, _) =>
        {
            if (offset != HookedRegisters.QueueTail) return true;
            told++;
            Assert.Equal((table.Root.Value, 0x0000_0902UL), (_ram.Port.Read64(entry), _ram.Port.Read64(entry + 8)));
            return true;
        };
        Assert.Equal(VcmmError.None, driver.Detach(new(DeviceId), new(9)));
        Assert.Equal(1, told);
        Assert.Equal((0UL, 0UL), (_ram.Port.Read64(entry), _ram.Port.Read64(entry + 8)));
    }

    [Fact]
    public void An_attach_writes_each_word_of_an_entry_once()
    {
        VtdDriver<WatchedMemory> driver = Start();
        Vcmm.Tables.IPageTable table = CreateTable(driver);
        Assert.Equal(VcmmError.None, driver.Attach(new(DeviceId), new(9), table));
        PhysAddr entry = ContextTable() + (DeviceId + 1 & 0xFF) * 16;
        var written = new List<PhysAddr>();
        _watch.BeforeWrite = (address, _) => written.Add(address);
        Assert.Equal(VcmmError.None, driver.Attach(new(DeviceId + 1), new(9), table));
        Assert.Equal([entry + 8, entry], written);
    }

    [Fact]
    public void A_context_table_is_linked_only_when_its_zeroes_can_be_seen()
    {
        VtdDriver<WatchedMemory> driver = Start();
        int links = 0;
        PhysAddr root = new(_simulator.Read64(0x20) & ~0xFFFUL);
        for (ulong offset = 0; offset < Page; offset += 8) Assert.Equal(0UL, _ram.Port.Read64(root + offset));
        _watch.BeforeWrite = (address, value) =>
        {
            if ((address.Value & ~0xFFFUL) != root.Value) return;
            links++;
            Assert.Equal(root + (DeviceId >> 8) * 16, address);
            Assert.Empty(_watch.Unclean);
            Assert.Empty(_watch.Unfenced);
            for (ulong offset = 0; offset < Page; offset += 8) Assert.Equal(0UL, _ram.Port.Read64(new((value & ~0xFFFUL) + offset)));
        };
        Vcmm.Tables.IPageTable table = CreateTable(driver);
        Assert.Equal(VcmmError.None, driver.Attach(new(DeviceId), new(9), table));
        Assert.Equal(VcmmError.None, driver.Attach(new(DeviceId + 1), new(9), table));
        Assert.Equal(1, links);
    }

    [Fact]
    public void What_was_published_before_an_attach_is_ordered_before_it()
    {
        VtdDriver<WatchedMemory> driver = Start();
        Vcmm.Tables.IPageTable table = CreateTable(driver);
        Assert.Equal(VcmmError.None, driver.Attach(new(DeviceId + 1), new(9), table));
        int fences = _watch.FenceCount;
        bool isFirst = true;
        _watch.BeforeWrite = (_, _) =>
        {
            if (isFirst) Assert.Equal(fences + 1, _watch.FenceCount);
            isFirst = false;
        };
        Assert.Equal(VcmmError.None, driver.Attach(new(DeviceId), new(9), table));
        Assert.False(isFirst);
    }

    [Fact]
    public void An_entry_that_is_present_again_after_a_detach_that_failed_can_be_seen()
    {
        VtdDriver<WatchedMemory> driver = Start();
        Vcmm.Tables.IPageTable table = CreateTable(driver);
        Assert.Equal(VcmmError.None, driver.Attach(new(DeviceId), new(9), table));
        // The hardware never hears of the invalidation.
        _registers.BeforeWrite64 = static (offset, _) => offset != HookedRegisters.QueueTail;
        Assert.Equal(VcmmError.HardwareFailure, driver.Detach(new(DeviceId), new(9)));
        _watch.AssertVisible("after the detach that failed");
        PhysAddr contextTable = new(_ram.Port.Read64(new((_simulator.Read64(0x20) & ~0xFFFUL) + (DeviceId >> 8) * 16)) & ~0xFFFUL);
        Assert.Equal(table.Root.Value | 1, _ram.Port.Read64(contextTable + (DeviceId & 0xFF) * 16));
    }

    [Fact]
    public void What_was_set_aside_for_tables_that_another_installed_is_given_back()
    {
        VtdDriver<WatchedMemory> driver = Start();
        var manager = new VcmManager(_frames);
        Vcm vcm = manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        Reservation first = vcm.Reserve(Page);
        Reservation second = vcm.Reserve(Page);
        PhysicalAllocation memory = manager.Allocate(Page);
        Device device = manager.AddDevice(driver, new(DeviceId));
        int exchanges = 0;
        int leavesWritten = 0;
        _watch.BeforeWrite = (_, value) => leavesWritten += (value & ~0xFFFUL) == memory.Segments[0].First.Value ? 1 : 0;
        _watch.BeforeExchange = _ =>
        {
            // Another thread needs the very same tables.
            if (exchanges++ == 0) second.Back(memory);
        };
        Association association = vcm.Associate(device);
        first.Back(memory);

        // One exchange in vain; the three of the other.
        Assert.Equal(4, exchanges);
        Assert.Equal(2, CountLeaves(vcm, driver));
        Assert.Equal(2, leavesWritten);
        first.Unback();
        second.Unback();
        memory.Free();
        association.Deassociate();
        driver.Stop();
        Assert.Equal(_frames.TotalBytes, _frames.FreeBytes);
    }

    private PhysAddr ContextTable() => new(_ram.Port.Read64(new((_simulator.Read64(0x20) & ~0xFFFUL) + (DeviceId >> 8) * 16)) & ~0xFFFUL);

    private static int CountLeaves(Vcm vcm, VtdDriver<WatchedMemory> driver)
    {
        Assert.True(vcm.TryGetTable(driver.Formats[0], out Vcmm.Tables.IPageTable? table));
        return table!.Leaves().Count();
    }

    private VtdDriver<WatchedMemory> Start() => VtdDriver<WatchedMemory>.Start(
        new(_ram.Port, _watch), _registers, _frames, new() { WaitPolicy = new CountedPolicy() });

    private Vcmm.Tables.IPageTable CreateTable(VtdDriver<WatchedMemory> driver)
    {
        Assert.Equal(VcmmError.None, driver.TryCreateTable(_frames, out Vcmm.Tables.IPageTable? table));
        return table!;
    }
}
