using IommuSim;
using Platform;
using Vcmm;
using Vcmm.Allocation;
using Vcmm.Tables;
using Vcmm.Vtd;

namespace Properties.Library.Regions;

/// <summary>
/// What devices wrote to is found, in whatever format they did, and found again if they write again: the bits are the simulator's, and so
/// are the caches from which it takes that a bit is set already.
/// </summary>
public sealed partial class DirtyLaws : IDisposable
{
    private const ulong Page = VcmManager.PageBytes;
    private const ulong Large = 2UL << 20;

    private readonly ScalableSystem _system = new(driver: new() { TracksUse = true, MaximumPasidCount = 1 << 10 });
    private readonly VcmManager _manager;
    private readonly Vcm _region;
    private readonly Association _inFirstFormat;
    private readonly BusMaster<Ram, NoSteps> _second, _first;
    private readonly PasidPrefix _pasid = new(new(5));

    public DirtyLaws()
    {
        _manager = new(_system.Frames);
        _region = _manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        _region.Associate(_manager.AddDevice(_system.Driver, new(0x0391)), new() { Format = FormatOf(VtdSecondStage.Encoding) }).Activate();
        _inFirstFormat = _region.Associate(_manager.AddDevice(_system.Driver, new(0x0392)), new() { Format = FormatOf(X86FirstStage.Encoding), Pasid = new(5) });
        _inFirstFormat.Activate();
        _second = _system.Master(new(0x0391));
        _first = _system.Master(new(0x0392));
    }

    public void Dispose() => _system.Dispose();

    [Fact]
    public void What_any_device_wrote_to_is_found_once_and_again_when_it_writes_again()
    {
        Reservation reservation = Back(10, ChunkSizes.Size4K);
        Assert.Empty(Dirty(reservation, clear: true));
        WriteSecond(1);
        WriteSecond(5);
        WriteFirst(2);
        WriteFirst(5);
        ReadFirst(7);
        // Looked at only: it stays.
        Assert.Equal([Pages(1, 2), Pages(5, 1)], Dirty(reservation, clear: false));
        Assert.Equal([Pages(1, 2), Pages(5, 1), Pages(7, 1)], Accessed(reservation, clear: true));
        Assert.Empty(Accessed(reservation, clear: false));
        Assert.Equal([Pages(1, 2), Pages(5, 1)], Dirty(reservation, clear: true));
        Assert.Empty(Dirty(reservation, clear: true));

        // Both devices have these pages cached, as dirty; that must be forgotten, or the next write is not noted.
        WriteSecond(5);
        WriteFirst(2);
        ReadFirst(1);
        Assert.Equal([Pages(2, 1), Pages(5, 1)], Dirty(reservation, clear: true));
        Assert.Equal([Pages(1, 2), Pages(5, 1)], Accessed(reservation, clear: true));

        // A part alone.
        WriteFirst(3);
        WriteSecond(4);
        WriteSecond(6);
        Assert.Equal([Pages(4, 1)], Dirty(reservation, clear: true, 4, 2));
        Assert.Equal([Pages(3, 1), Pages(6, 1)], Dirty(reservation, clear: true));
    }

    [Fact]
    public void A_clear_costs_one_wait_and_a_look_none()
    {
        Reservation reservation = Back(10, ChunkSizes.Size4K);
        WriteSecond(1);
        WriteFirst(8);
        int waits = _system.Waits;
        Dirty(reservation, clear: false);
        Assert.Equal(waits, _system.Waits);
        Dirty(reservation, clear: true);
        Assert.Equal(waits + 1, _system.Waits);
        // Nothing was set, so nothing has to be forgotten.
        Dirty(reservation, clear: true);
        Assert.Equal(waits + 1, _system.Waits);
    }

    [Fact]
    public void A_large_leaf_is_dirty_as_a_whole_and_is_not_cut_to_be_cleaned()
    {
        Reservation reservation = Back(512, ChunkSizes.Size2M, Large);
        WriteSecond(7);
        Assert.Equal([Pages(0, 512)], Dirty(reservation, clear: true, 100, 3));
        Assert.True(_region.TryGetTable(FormatOf(VtdSecondStage.Encoding), out IPageTable? table));
        Assert.Equal(Large, Assert.Single(table!.Leaves()).Range.ByteCount);
        Assert.Empty(Dirty(reservation, clear: true));
        WriteFirst(9);
        Assert.Equal([Pages(0, 512)], Dirty(reservation, clear: true));
    }

    [Fact]
    public void What_was_written_is_still_known_when_the_right_to_write_is_gone()
    {
        Reservation reservation = Back(4, ChunkSizes.Size4K);
        WriteSecond(1);
        WriteFirst(2);
        reservation.SetAttributes(Access.Read);
        Assert.Equal([Pages(1, 2)], Dirty(reservation, clear: true));
        reservation.Unback();
        Assert.Empty(Dirty(reservation, clear: true));
    }

    [Fact]
    public void Where_the_hardware_does_not_forget_nothing_that_was_found_is_lost()
    {
        Reservation reservation = Back(10, ChunkSizes.Size4K);
        WriteSecond(1);
        WriteFirst(3);
        _system.OnDoorbell = static () => false;
        var dirty = new List<IovaRange>();
        Assert.Equal(VcmmError.HardwareFailure, reservation.TryCollectDirty(0, 10 * Page, clear: true, dirty));
        Assert.Empty(dirty);
        _system.OnDoorbell = static () => true;
        // A page cached as dirty is written, and no bit says so.
        WriteSecond(1);
        Assert.Equal([Pages(1, 1), Pages(3, 1)], Dirty(reservation, clear: false));
        Assert.Equal([Pages(1, 1)], Dirty(reservation, clear: true, 0, 2));
        Assert.Equal([Pages(3, 1)], Dirty(reservation, clear: true));
        Assert.Empty(Dirty(reservation, clear: true));
        WriteSecond(1);
        Assert.Equal([Pages(1, 1)], Dirty(reservation, clear: true));

        // An unback that fails maps the pages anew, with clean leaves.
        WriteFirst(2);
        _system.OnDoorbell = static () => false;
        Assert.Equal(VcmmError.HardwareFailure, reservation.TryUnback(2 * Page, 2 * Page));
        _system.OnDoorbell = static () => true;
        Assert.Contains(Dirty(reservation, clear: true), range => range.Contains(Pages(2, 1)));
        Assert.Empty(Dirty(reservation, clear: true));
    }

    [Fact]
    public void A_device_whose_writes_nobody_notes_makes_the_question_one_without_an_answer()
    {
        Reservation reservation = Back(2, ChunkSizes.Size4K);
        var found = new List<IovaRange>();
        Assert.True(_system.Driver.TracksUse(FormatOf(VtdSecondStage.Encoding)));
        using var legacy = new VtdSystem();
        Association other = _region.Associate(_manager.AddDevice(legacy.Driver, new(0x20)));
        Assert.Equal(VcmmError.Invalid, reservation.TryCollectDirty(0, Page, clear: true, found));
        Assert.Equal(VcmmError.Invalid, reservation.TryCollectAccessed(0, Page, clear: false, found));
        other.Deassociate();
        Assert.Equal(VcmmError.None, reservation.TryCollectDirty(0, Page, clear: true, found));
        Assert.Equal(VcmmError.Invalid, reservation.TryCollectDirty(0, 3 * Page, clear: true, found));
        Assert.Equal(VcmmError.Invalid, reservation.TryCollectDirty(1, Page, clear: true, found));
        Assert.Equal(VcmmError.Invalid, default(Reservation).TryCollectDirty(0, Page, clear: true, found));
        Assert.Empty(found);

        using var untold = new ScalableSystem();
        Assert.False(untold.Driver.TracksUse(FormatOf(VtdSecondStage.Encoding)));
        Assert.True(untold.Driver.TracksUse(FormatOf(X86FirstStage.Encoding)));
        using var unable = new ScalableSystem(VtdOptions.Scalable with { SecondStageAccessedDirty = false }, new() { TracksUse = true, MaximumPasidCount = 64 });
        Assert.False(unable.Driver.TracksUse(FormatOf(VtdSecondStage.Encoding)));
        Assert.False(legacy.Driver.TracksUse(legacy.Driver.Formats[0]));
        Assert.False(((IIommu)new NoIommu()).TracksUse(IdentityTable.Format));
    }

    private TableFormat FormatOf(string encoding) => _system.Driver.Formats.First(format => format.Encoding == encoding);

    private Reservation Back(int pages, ChunkSizes sizes, ulong alignment = Page)
    {
        Reservation reservation = _region.ReserveAt(new(4 * Large), (ulong)pages * Page);
        Assert.True(reservation.Range.First.IsAligned(alignment));
        reservation.Back(_manager.Allocate((ulong)pages * Page, sizes, scattered: true));
        return reservation;
    }

    private static IovaRange Pages(int first, int count) => IovaRange.FromLength(new(4 * Large + (ulong)first * Page), (ulong)count * Page);

    private void WriteSecond(int page) => Assert.True(_second.Write(Pages(page, 1).First + 8, [1]).Ok);

    private void WriteFirst(int page) => Assert.True(_first.Write(Pages(page, 1).First + 8, [1], _pasid).Ok);

    private void ReadFirst(int page) => Assert.True(_first.Read(Pages(page, 1).First + 8, new byte[1], _pasid).Ok);

    private static List<IovaRange> Dirty(Reservation reservation, bool clear, int first = 0, int count = 0)
    {
        var found = new List<IovaRange>();
        ulong byteCount = count == 0 ? reservation.Range.ByteCount : (ulong)count * Page;
        Assert.Equal(VcmmError.None, reservation.TryCollectDirty((ulong)first * Page, byteCount, clear, found));
        return found;
    }

    private static List<IovaRange> Accessed(Reservation reservation, bool clear)
    {
        var found = new List<IovaRange>();
        Assert.Equal(VcmmError.None, reservation.TryCollectAccessed(0, reservation.Range.ByteCount, clear, found));
        return found;
    }
}
