using Platform;
using Vcmm;
using Vcmm.Spec;
using Vcmm.Tables;

namespace Harness.Running;

// Guests: the runner plays them. They write their tables with plain writes, to the frames that were behind them when they began.
public sealed partial class Subject
{
    // VT-d specification, "First-Stage Paging Entries": P is bit 0, R/W bit 1, U/S bit 2.
    private const ulong EntryPresent = 1, EntryWritable = 1 << 1, EntryUser = 1 << 2;

    private readonly Dictionary<ObjectId, GuestTables> _guests = [];

    /// <summary>The format of guests' tables: of the first stage, four levels.</summary>
    private TableFormat GuestFormat => FormatOf(TableKind.FirstStage);

    private Observation Do(CreateGuest create)
    {
        Reservation reservation = Of(_reservations, create.Reservation);
        var frames = new PhysAddr[World.GuestTables];
        foreach (Vcmm.BackedPart part in reservation.BackedParts)
        {
            for (ulong offset = 0; offset < part.ByteCount && part.Offset + offset < World.GuestTables * World.PageBytes; offset += World.PageBytes)
                frames[(part.Offset + offset) / World.PageBytes] = part.Memory.AddressAt(part.MemoryOffset + offset);
        }

        var guest = new GuestTables(reservation.Range.First, frames);
        foreach (PhysAddr frame in frames) Clear(frame);
        for (int level = frames.Length; level > 1; level--) Write(guest, level, World.GuestFirst, guest.AddressOf(level - 1).Value | EntryPresent | EntryWritable | EntryUser);
        Put(_guests, create.Guest, guest);
        return new(Outcome.None);
    }

    private Observation Do(GuestMap map) =>
        WriteLeaf(map.Guest, map.Page, map.Target | EntryPresent | EntryUser | (map.Permissions.HasFlag(Permissions.Write) ? EntryWritable : 0));

    private Observation WriteLeaf(ObjectId guest, int page, ulong entry)
    {
        Write(Of(_guests, guest), level: 1, World.GuestFirst + (ulong)page * World.PageBytes, entry);
        return new(Outcome.None);
    }

    private void Write(GuestTables guest, int level, ulong address, ulong entry)
    {
        PhysAddr at = guest.FrameOf(level) + (address >> (12 + 9 * (level - 1)) & 0x1FF) * sizeof(ulong);
        Machine.Memory.Write64(at, entry);
        Machine.Memory.Clean(PhysRange.FromLength(at, sizeof(ulong)));
        Machine.Memory.Fence();
    }

    /// <summary>But for the words that devices access: those are marked, and are no entries.</summary>
    private void Clear(PhysAddr frame)
    {
        for (ulong offset = 0; offset < World.PageBytes; offset += sizeof(ulong)) Machine.Memory.Write64(frame + offset, 0);
        PhysRange page = PhysRange.FromLength(frame, World.PageBytes);
        lock (_gate) Stamps.MarkAll(new(page.First.Value, page.Last.Value));
        Machine.Memory.Clean(page);
    }

    private NestedTable? NestedOf(ObjectId? guest) => guest is { } id ? new NestedTable(GuestFormat, Of(_guests, id).Root) : null;

    /// <param name="Root">Where the root is in the region; the tables of the other levels are behind it.</param>
    /// <param name="Frames">Where they are in memory.</param>
    private sealed record GuestTables(Iova Root, PhysAddr[] Frames)
    {
        public Iova AddressOf(int level) => Root + (ulong)(Frames.Length - level) * World.PageBytes;

        public PhysAddr FrameOf(int level) => Frames[^level];
    }
}
