using Harness.Passing;
using Platform;
using Vcmm;
using Vcmm.Tables;

namespace Properties.Library.Regions;

/// <summary>A table comes to all reservations at once, and leaves them at once: whoever works on one meets all of it or nothing.</summary>
public sealed class WithdrawnTableLaws : IDisposable
{
    private const ulong Page = VcmManager.PageBytes;

    private readonly ScalableSystem _system = new(driver: new() { TracksUse = true, MaximumPasidCount = 1 << 10 });

    public void Dispose() => _system.Dispose();

    /// <summary>Nothing is write-only in the first stage's format; it is in the other, which stays.</summary>
    [Fact]
    public void What_a_table_cannot_express_is_not_asked_of_it_while_it_leaves()
    {
        var manager = new VcmManager(_system.Frames);
        Reservation[] reservations = [];
        var seen = new List<VcmmError>();
        Reservation other = default;
        Exception? thrown = null;
        Thread? asking = null;
        var iommu = new WatchedIommu(_system.Driver)
        {
            // The first reservation that the table leaves.
            OnCollect = range =>
            {
                if (asking is not null) return;
                other = Array.Find(reservations, reservation => !reservation.Range.Contains(range));
                asking = new Thread(() => thrown = Record.Exception(() =>
                {
                    seen.Add(other.TrySetAttributes(Access.Write));
                    seen.Add(other.TryBack(Page, manager.Allocate(Page), 0, Page));
                    seen.Add(other.TryUnback(0, Page));
                    seen.Add(other.TryBack(0, manager.Allocate(Page), 0, Page));
                }));
                asking.Start();
                // Until it waits, or is through.
                var spin = new SpinWait();
                while (asking.IsAlive && (asking.ThreadState & ThreadState.WaitSleepJoin) == 0) spin.SpinOnce(sleep1Threshold: -1);
            },
        };
        Vcm region = manager.CreateVcm(IovaRange.FromLength(new(0), 1UL << 30));
        region.Associate(manager.AddDevice(iommu, new(0x0391)), new() { Format = FormatOf(VtdSecondStage.Encoding) }).Activate();
        Association first = region.Associate(manager.AddDevice(iommu, new(0x0392)), new() { Format = FormatOf(X86FirstStage.Encoding), Pasid = new(5) });
        reservations = [Back(0), Back(16 * Page)];

        first.Deassociate();
        Assert.True(asking!.Join(TimeSpan.FromMinutes(1)), "it was not let go");

        Assert.Null(thrown);
        Assert.Equal([VcmmError.None, VcmmError.None, VcmmError.None, VcmmError.None], seen);
        foreach (ulong offset in (ulong[])[0, Page])
        {
            Assert.Equal(VcmmError.None, region.TryTranslate(other.Range.First + offset, out Translation translation));
            Assert.Equal(Access.Write, translation.Access);
        }

        foreach (Reservation reservation in reservations) reservation.Unmap();

        Reservation Back(ulong at)
        {
            Reservation reservation = region.ReserveAt(new(at), 2 * Page, Access.ReadWrite);
            reservation.Back(0, manager.Allocate(Page), 0, Page);
            return reservation;
        }
    }

    private TableFormat FormatOf(string encoding) => _system.Driver.Formats.First(format => format.Encoding == encoding);

    private sealed class WatchedIommu(IIommu inner) : PassingIommu(inner)
    {
        public Action<IovaRange> OnCollect { get; init; } = static _ => { };

        public override VcmmError TryCreateTable(TableFormat format, Vcmm.Allocation.IFrameSource frames, out IPageTable? table)
        {
            VcmmError error = base.TryCreateTable(format, frames, out table);
            if (table is not null && format.Encoding == X86FirstStage.Encoding) table = new WatchedTable(table, OnCollect);
            return error;
        }
    }

    private sealed class WatchedTable(IPageTable inner, Action<IovaRange> onCollect) : PassingTable(inner)
    {
        public override void CollectDirty(IovaRange range, bool clear, ICollection<IovaRange> dirty, InvalidationGather gather)
        {
            onCollect(range);
            base.CollectDirty(range, clear, dirty, gather);
        }
    }
}
