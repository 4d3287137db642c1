using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Library.Regions;

/// <summary>A part of what is backed is unbacked in whichever table there is, and what is not part of it stays where it was.</summary>
public sealed class PartLaws : IDisposable
{
    private const ulong Page = VcmManager.PageBytes;
    private const ulong Large = 2UL << 20;
    private const ulong Start = 4 * Large;

    private readonly ScalableSystem _system = new();
    private readonly VcmManager _manager;
    private readonly Vcm _region;
    private readonly IPageTable[] _tables;

    public PartLaws()
    {
        _manager = new(_system.Frames);
        _region = _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        TableFormat[] formats = [.. ((string[])[VtdSecondStage.Encoding, X86FirstStage.Encoding]).Select(encoding => _system.Driver.Formats.First(format => format.Encoding == encoding))];
        _region.Associate(_manager.AddDevice(_system.Driver, new(0x0391)), new() { Format = formats[0] }).Activate();
        _region.Associate(_manager.AddDevice(_system.Driver, new(0x0392)), new() { Format = formats[1] }).Activate();
        _tables = [.. formats.Select(format => _region.TryGetTable(format, out IPageTable? table) ? table! : throw new InvalidOperationException($"no table of {format}"))];
    }

    public void Dispose() => _system.Dispose();

    [Theory]
    [InlineData(0, 9)]
    [InlineData(1, 7)]
    [InlineData(2, 2)]
    [InlineData(4, 1)]
    [InlineData(3, 3)]
    [InlineData(7, 2)]
    public void An_unback_that_fails_leaves_each_page_where_it_was_and_one_that_does_not_leaves_the_others(int first, int count)
    {
        Reservation reservation = _region.ReserveAt(new(Start), 16 * Page);
        PhysicalAllocation[] memories = [.. Enumerable.Range(0, 3).Select(_ => _manager.Allocate(5 * Page, ChunkSizes.Size4K, scattered: true))];
        for (int i = 0; i < 3; i++) reservation.Back((ulong)i * 3 * Page, memories[i], (ulong)i * Page, 3 * Page);
        PhysAddr?[] before = Found(16);
        Assert.Equal(Enumerable.Range(0, 16).Select(page => page < 9 ? memories[page / 3].AddressAt((ulong)(page % 3 + page / 3) * Page) : (PhysAddr?)null), before);

        _system.OnDoorbell = static () => false;
        Assert.Equal(VcmmError.HardwareFailure, reservation.TryUnback((ulong)first * Page, (ulong)count * Page));
        Assert.Equal(before, Found(16));
        _system.OnDoorbell = static () => true;
        reservation.Unback((ulong)first * Page, (ulong)count * Page);
        Assert.Equal(before.Select((at, page) => page >= first && page < first + count ? null : at), Found(16));
    }

    [Theory]
    [InlineData(0, 100)]
    [InlineData(100, 412)]
    [InlineData(100, 300)]
    [InlineData(400, 300)]
    [InlineData(512, 1)]
    [InlineData(511, 1)]
    [InlineData(0, 512)]
    public void Of_a_large_leaf_what_is_not_in_the_part_stays(int first, int count)
    {
        Reservation reservation = _region.ReserveAt(new(Start), 2 * Large);
        reservation.Back(_manager.Allocate(2 * Large, ChunkSizes.Size2M));
        PhysAddr?[] before = Found(1024);
        Assert.DoesNotContain(null, before);
        Assert.All(_tables, static table => Assert.Equal(2, table.Leaves().Count()));
        reservation.Unback((ulong)first * Page, (ulong)count * Page);
        Assert.Equal(before.Select((at, page) => page >= first && page < first + count ? null : at), Found(1024));
    }

    /// <summary>Where each page is, in which all tables agree; null where nothing is mapped.</summary>
    private PhysAddr?[] Found(int count) => [.. Enumerable.Range(0, count).Select(page =>
    {
        PhysAddr?[] found = [.. _tables.Select(table => table.TryWalk(new(Start + (ulong)page * Page), out Translation leaf) ? leaf.Address : (PhysAddr?)null).Distinct()];
        return Assert.Single(found);
    })];
}
