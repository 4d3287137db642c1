using IommuSim;
using Platform;
using Xunit;

namespace Conformance.Simulator;

/// <summary>Memory of which a walker sees only what was cleaned.</summary>
public sealed class NonCoherentMemoryTests : IDisposable
{
    private const ulong Line = 64, Page = 4096;
    private static readonly PhysAddr First = new(0x10000);

    private readonly RamBlock _ram = new(PhysRange.FromLength(First, 16 * Page));
    private readonly NonCoherentMemory<Ram> _memory;
    private readonly NonCoherentPort<Ram> _software, _walker, _device;

    public NonCoherentMemoryTests()
    {
        _ram.Port.Write64(First, 7);
        _memory = new(_ram.Port);
        (_software, _walker, _device) = (_memory.Processor, _memory.Walker, _memory.Device);
    }

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void A_walker_sees_a_word_only_when_it_is_cleaned()
    {
        Assert.Equal(7UL, _walker.Read64(First));
        _software.Write64(First, 8);
        AssertSeen(First, software: 8, walker: 7);
        _software.Fence();
        AssertSeen(First, software: 8, walker: 7);
        Assert.False(_memory.IsClean(PhysRange.FromLength(First, 8)));
        _software.Clean(PhysRange.FromLength(First, 8));
        AssertSeen(First, software: 8, walker: 8);
        Assert.True(_memory.IsClean(_ram.Range));
        _software.Write64(First, 9);
        AssertSeen(First, software: 9, walker: 8);
    }

    [Fact]
    public void Every_way_to_write_and_every_way_to_read_keeps_the_two_apart()
    {
        PhysAddr at = First + (Page - 8);
        _software.Write(at, Enumerable.Repeat((byte)0x11, 16).ToArray());
        AssertSeen(at, 0x1111_1111_1111_1111, 0);
        AssertSeen(at + 8, 0x1111_1111_1111_1111, 0);
        _software.Write32(at + 4, 0x2222_2222);
        Assert.Equal(0x1111_1111_1111_1111UL, _software.CompareExchange64(at + 8, 3, 0x1111_1111_1111_1111));
        Assert.Equal(0x1111_1111u, _software.CompareExchange32(at, 4, 0x1111_1111));
        Assert.Equal(0u, _walker.Read32(at + 4));
        Assert.Equal(0x2222_2222u, _software.Read32(at + 4));
        Assert.Equal(new byte[16], Bytes(_walker, at, 16));
        Assert.Equal(new byte[] { 4, 0, 0, 0, 0x22, 0x22, 0x22, 0x22, 3, 0, 0, 0, 0, 0, 0, 0 }, Bytes(_software, at, 16));
        _software.Clean(PhysRange.FromLength(at, 16));
        Assert.Equal(Bytes(_software, at, 16), Bytes(_walker, at, 16));
        Assert.Equal(0x2222_2222u, _walker.Read32(at + 4));
    }

    [Fact]
    public void Words_that_were_given_out_may_be_written_at_any_time()
    {
        Assert.True(_software.TryGetWords(First, 4, out Span<ulong> words));
        words[0] = 1;
        AssertSeen(First, 1, 7);
        _software.Clean(PhysRange.FromLength(First, 8));
        words[0] = 2;
        AssertSeen(First, 2, 1);
        Assert.False(_walker.TryGetWords(First, 1, out _));
        Assert.False(_device.TryGetWords(First, 1, out _));
    }

    [Theory]
    [InlineData(8)]
    [InlineData(64)]
    [InlineData(4096)]
    public void Cleaning_reaches_to_the_ends_of_the_line_and_no_further(int lineBytes)
    {
        var memory = new NonCoherentMemory<Ram>(_ram.Port, lineBytes);
        for (ulong at = 0; at < 2 * Page; at += 8) memory.Processor.Write64(First + at, 1);
        memory.Processor.Clean(PhysRange.FromLength(First + (Page - 1), 2));
        for (ulong at = 0; at < 2 * Page; at += 8)
        {
            bool isCleaned = at >= Page - (ulong)lineBytes && at < Page + (ulong)lineBytes;
            Assert.Equal(isCleaned ? 1UL : at == 0 ? 7UL : 0UL, memory.Walker.Read64(First + at));
        }
    }

    [Fact]
    public void What_devices_and_walkers_write_everybody_sees_at_once()
    {
        _software.Write64(First + 8, 1);
        _device.Write64(First, 0x5_0000_0006);
        AssertSeen(First, 0x5_0000_0006, 0x5_0000_0006);
        _walker.Write32(First + 4, 9);
        AssertSeen(First, 0x9_0000_0006, 0x9_0000_0006);
        _device.Write(First + 1, [1, 2]);
        AssertSeen(First, 0x9_0002_0106, 0x9_0002_0106);
        Assert.Equal(0x9_0002_0106UL, _walker.CompareExchange64(First, 5, 0x9_0002_0106));
        AssertSeen(First, 5, 5);
        AssertSeen(First + 8, 1, 0);
        Assert.Equal(1UL, _device.Read64(First + 8));
    }

    public static TheoryData<string> Writes => new("Write32", "Write64", "CompareExchange32", "CompareExchange64", "Write");

    /// <summary>Each way by itself: it is the first that the page is written to by.</summary>
    [Theory]
    [MemberData(nameof(Writes))]
    public void Each_way_to_write_by_itself_keeps_from_the_walker_what_software_writes(string way)
    {
        WriteBy(_software, way, First, 8, 7);
        AssertSeen(First, software: 8, walker: 7);
        Assert.Equal((8u, 7u), (_software.Read32(First), _walker.Read32(First)));
    }

    [Theory]
    [MemberData(nameof(Writes))]
    public void Each_way_to_write_of_a_device_or_a_walker_is_seen_by_everybody(string way)
    {
        _software.Write64(First, 7);
        WriteBy(_device, way, First, 8, 7);
        AssertSeen(First, software: 8, walker: 8);
        WriteBy(_walker, way, First, 9, 8);
        AssertSeen(First, software: 9, walker: 9);
    }

    [Theory]
    [InlineData("CompareExchange32")]
    [InlineData("CompareExchange64")]
    public void An_exchange_that_finds_something_else_writes_nothing_whoever_asks_for_it(string way)
    {
        _software.Write64(First, 8);
        foreach (NonCoherentPort<Ram> port in (NonCoherentPort<Ram>[])[_software, _walker, _device]) WriteBy(port, way, First, 9, 7);
        AssertSeen(First, software: 8, walker: 7);
    }

    [Fact]
    public void What_a_device_writes_across_the_end_of_a_page_is_seen_on_both_sides()
    {
        PhysAddr at = First + (Page - 8);
        foreach (ulong offset in (ulong[])[0, 8]) _software.Write64(at + offset, 0);
        _device.Write(at + 4, [1, 2, 3, 4, 5, 6, 7, 8]);
        AssertSeen(at, 0x0403_0201_0000_0000, 0x0403_0201_0000_0000);
        AssertSeen(at + 8, 0x0807_0605, 0x0807_0605);
    }

    [Fact]
    public void A_range_is_clean_or_not_whatever_lies_behind_it()
    {
        _software.Write64(First + Page + 8, 1);
        Assert.True(_memory.IsClean(PhysRange.FromLength(First + (Page - 8), 16)));
        Assert.False(_memory.IsClean(PhysRange.FromLength(First + (Page - 8), 17)));
    }

    [Fact]
    public void To_write_nothing_is_nothing_at_the_first_address_too()
    {
        using var ram = new RamBlock(PhysRange.FromLength(new(0), Page));
        var memory = new NonCoherentMemory<Ram>(ram.Port);
        memory.Processor.Write(new(0), []);
        Assert.True(memory.IsClean(ram.Range));
    }

    [Fact]
    public void The_last_page_of_all_lags_as_others_do()
    {
        using var ram = new RamBlock(new(new(ulong.MaxValue - Page + 1), new(ulong.MaxValue)));
        var memory = new NonCoherentMemory<Ram>(ram.Port);
        var last = new PhysAddr(ulong.MaxValue - 7);
        memory.Processor.Write64(last, 1);
        Assert.Equal(0UL, memory.Walker.Read64(last));
        memory.Processor.Clean(PhysRange.FromLength(last, 8));
        Assert.Equal(1UL, memory.Walker.Read64(last));
        memory.Device.Write(last, [2, 0, 0, 0, 0, 0, 0, 0]);
        Assert.Equal([2, 0, 0, 0, 0, 0, 0, 0], Bytes(memory.Walker, last, 8));
        Assert.True(memory.IsClean(ram.Range));
    }

    [Fact]
    public void A_walkers_exchange_compares_with_what_software_has()
    {
        _software.Write64(First, 8);
        Assert.Equal(8UL, _walker.CompareExchange64(First, 9, 7));
        AssertSeen(First, 8, 7);
    }

    [Fact]
    public void Caches_write_back_about_half_of_what_waits_as_the_seed_says()
    {
        Assert.Equal(Seen(1), Seen(1));
        Assert.NotEqual(Seen(1), Seen(2));
        // Of each of the two pages.
        Assert.InRange(Seen(1)[..64].Count(static isSeen => isSeen), 16, 48);
        Assert.InRange(Seen(1)[64..].Count(static isSeen => isSeen), 16, 48);

        bool[] Seen(ulong seed)
        {
            var memory = new NonCoherentMemory<Ram>(_ram.Port);
            PhysAddr[] lines = [.. Enumerable.Range(0, 128).Select(static index => First + (ulong)index * Line)];
            foreach (PhysAddr line in lines) _ram.Port.Write64(line, 0);
            foreach (PhysAddr line in lines) memory.Processor.Write64(line, 1);
            memory.WriteBack(seed);
            return [.. lines.Select(line => memory.Walker.Read64(line) == 1)];
        }
    }

    [Fact]
    public void What_is_no_memory_is_refused_as_the_memory_refuses_it()
    {
        PhysAddr beyond = First + 16 * Page;
        Assert.Equal(beyond + 8, Assert.Throws<BusErrorException>(() => _software.Write64(beyond + 8, 1)).Address);
        Assert.Throws<ArgumentException>(() => _software.Write64(First + 4, 1));
        _software.Write64(First, 8);
        Assert.Throws<BusErrorException>(() => _walker.Read64(beyond));
        Assert.Throws<BusErrorException>(() => _walker.Read32(beyond));
        Assert.Throws<BusErrorException>(() => Bytes(_walker, First + (16 * Page - 8), 16));
        Assert.Throws<ArgumentException>(() => _walker.Read64(First + 4));
        Assert.False(_walker.TryRead64(beyond, out _));
        Assert.False(_walker.TryRead64(First + 4, out _));
        Assert.False(_walker.Contains(PhysRange.FromLength(beyond, 1)));
        Assert.Throws<ArgumentOutOfRangeException>(() => new NonCoherentMemory<Ram>(_ram.Port, 48));
    }

    [Fact]
    public void An_iommu_behind_the_walkers_port_translates_by_what_was_cleaned()
    {
        // A root table, a context table, one table for each of three levels: 39-bit addresses.
        PhysAddr root = First + Page, contexts = First + 2 * Page, top = First + 3 * Page, middle = First + 4 * Page, last = First + 5 * Page;
        const uint source = 8;
        var iommu = new VtdIommu<NonCoherentPort<Ram>, NoSteps>(_walker, VtdOptions.Default);
        var device = new BusMaster<NonCoherentPort<Ram>, NoSteps>(iommu, _device, new(source));
        _software.Write64(root, contexts.Value | 1);
        _software.Write64(contexts + source * 16, top.Value | 1);
        _software.Write64(contexts + source * 16 + 8, 1 | 1 << 8);
        _software.Write64(top, middle.Value | 3);
        _software.Write64(middle, last.Value | 3);
        _software.Write64(last, First.Value | 3);
        _software.Write64(First, 0xDA7A);
        foreach (PhysAddr page in (PhysAddr[])[root, contexts, top, middle]) _software.Clean(PhysRange.FromLength(page, Page));
        // RTADDR_REG, then GCMD_REG: set the root table pointer, and translate.
        iommu.Write64(0x20, root.Value);
        iommu.Write32(0x18, 1u << 30);
        iommu.Write32(0x18, 1u << 31);

        byte[] bytes = new byte[8];
        Assert.False(device.Read(new(0), bytes).Ok);
        _software.Clean(PhysRange.FromLength(last, 8));
        Assert.True(device.Read(new(0), bytes).Ok);
        // Data is not lagging: it was never cleaned.
        Assert.Equal(0xDA7AUL, BitConverter.ToUInt64(bytes));
    }

    /// <summary>Pages whose lines are the whole of them: one is drawn for each, and written back by itself.</summary>
    [Fact]
    public void What_is_drawn_for_a_page_writes_no_other_back()
    {
        const int Seeds = 64;
        int[] seen = new int[2];
        for (ulong seed = 1; seed <= Seeds; seed++)
        {
            var memory = new NonCoherentMemory<Ram>(_ram.Port, (int)Page);
            for (int i = 0; i < seen.Length; i++)
            {
                _ram.Port.Write64(First + (ulong)i * Page, 0);
                memory.Processor.Write64(First + (ulong)i * Page, 1);
            }

            memory.WriteBack(seed * 0x9E37_79B9);
            for (int i = 0; i < seen.Length; i++) seen[i] += (int)memory.Walker.Read64(First + (ulong)i * Page);
        }

        Assert.All(seen, static count => Assert.InRange(count, Seeds / 3, Seeds * 2 / 3));
    }

    [Fact]
    public void What_is_drawn_for_a_page_does_not_depend_on_the_pages_behind_it()
    {
        bool[] seen = new bool[2];
        for (ulong seed = 1; seed <= 16; seed++)
        {
            bool isAlone = IsWrittenBack(seed, 1);
            Assert.Equal(isAlone, IsWrittenBack(seed, 2));
            seen[isAlone ? 1 : 0] = true;
        }

        Assert.Equal([true, true], seen);

        bool IsWrittenBack(ulong seed, int pages)
        {
            var memory = new NonCoherentMemory<Ram>(_ram.Port, (int)Page);
            _ram.Port.Write64(First, 0);
            for (int i = 0; i < pages; i++) memory.Processor.Write64(First + (ulong)i * Page, 1);
            memory.WriteBack(seed * 0x9E37_79B9);
            return memory.Walker.Read64(First) == 1;
        }
    }

    private static void WriteBy(NonCoherentPort<Ram> port, string way, PhysAddr at, uint value, uint comparand)
    {
        switch (way)
        {
            case "Write32":
                port.Write32(at, value);
                break;
            case "Write64":
                port.Write64(at, value);
                break;
            case "CompareExchange32":
                port.CompareExchange32(at, value, comparand);
                break;
            case "CompareExchange64":
                port.CompareExchange64(at, value, comparand);
                break;
            default:
                port.Write(at, BitConverter.GetBytes(value));
                break;
        }
    }

    private void AssertSeen(PhysAddr address, ulong software, ulong walker)
    {
        Assert.Equal(software, _software.Read64(address));
        Assert.True(_software.TryRead64(address, out ulong value));
        Assert.Equal(software, value);
        Assert.Equal(walker, _walker.Read64(address));
        Assert.True(_walker.TryRead64(address, out value));
        Assert.Equal(walker, value);
    }

    private static byte[] Bytes(NonCoherentPort<Ram> port, PhysAddr address, int count)
    {
        byte[] bytes = new byte[count];
        port.Read(address, bytes);
        return bytes;
    }
}
