using System.Collections.Immutable;

namespace Vcmm.Spec;

// Guests in a form. What matters of one whose memory is another's by now is where its table was.
public sealed partial class CanonicalForm
{
    private readonly List<(GuestKey Key, ObjectId Id)> _guests = [];
    private readonly List<UntoldEntry> _untold = [];

    /// <summary>Puts the guests in order that have not ended, or that an association has, and names the memory of their tables.</summary>
    private void OrderGuests(World world)
    {
        _guests.Clear();
        foreach (ObjectId id in world.Guests.Keys)
        {
            if (world.HasEnded(id) && !IsNested(world, id)) continue;
            GuestKey key = KeyOf(world, id);
            if (LabelOf(key) == 0) _guests.Add((key, id));
            else if (!key.IsGone) throw new NotSupportedException("of two guests the regions have ended, and they had their tables at one address");
        }

        _guests.Sort(static (one, other) => one.Key.CompareTo(other.Key));
        foreach ((GuestKey key, ObjectId id) in _guests)
        {
            if (key.IsGone) continue;
            foreach (ObjectId memory in world.Guests[id].Memories) LabelOf(memory);
        }
    }

    private static bool IsNested(World world, ObjectId guest)
    {
        foreach (AssociationState association in world.Associations.Values)
        {
            if (association.Guest == guest && !association.IsDropped) return true;
        }

        return false;
    }

    private GuestKey KeyOf(World world, ObjectId id)
    {
        GuestState guest = world.Guests[id];
        return new(world.Vcms[guest.Vcm].IsFreed ? 0 : 1 + RankOf(guest.Vcm), guest.Root, guest.Frames.Length, world.IsGone(guest), _keepsNames ? id.Number : 0);
    }

    private int LabelOf(GuestKey key) => 1 + _guests.FindIndex(guest => guest.Key == key);

    private void WriteGuests(World world, ref FormWriter writer)
    {
        writer.Put(_guests.Count);
        foreach ((GuestKey key, ObjectId id) in _guests)
        {
            GuestState guest = world.Guests[id];
            WriteName(id, ref writer);
            writer.Put(key.Region);
            writer.PutPages(key.Root);
            writer.Put((key.Tables << 1) | (key.IsGone ? 1 : 0));
            if (key.IsGone) continue;
            foreach (ulong frame in guest.Frames) WriteTablePage(world, guest, frame, ref writer);
            foreach (GuestEntry? entry in guest.Entries) WriteEntry(entry, ref writer);
        }
    }

    /// <summary>As a page of memory, since it need not be the first of a chunk.</summary>
    private void WriteTablePage(World world, GuestState guest, ulong frame, ref FormWriter writer)
    {
        foreach (ObjectId memory in guest.Memories)
        {
            ulong offset = 0;
            foreach (AddressRange chunk in world.Memories[memory].Segments)
            {
                if (chunk.Contains(frame))
                {
                    writer.Put(LabelOf(memory));
                    writer.PutPages(offset + (frame - chunk.First));
                    return;
                }

                offset += chunk.Last - chunk.First + 1;
            }
        }

        throw new InvalidOperationException($"0x{frame:x} is in no memory of a guest's");
    }

    private static void WriteEntry(GuestEntry? said, ref FormWriter writer)
    {
        writer.Put(said is { } entry ? entry.MayWrite ? 2 : 1 : 0);
        if (said is { Target: var target }) writer.PutPages(target);
    }

    /// <summary>What devices were not told of, but for what the table says now: that they see anyway, and it is kept when it changes.</summary>
    private void WriteUntold(World world, AssociationState association, ref FormWriter writer)
    {
        _untold.Clear();
        if (association is { IsDropped: false, Guest: { } id } && world.Guests[id] is var guest && !world.IsGone(guest))
        {
            foreach (UntoldEntry untold in association.Untold)
            {
                if (guest.Entries[untold.Page] != untold.Entry) _untold.Add(untold);
            }

            _untold.Sort(static (one, other) => OrderOf(one).CompareTo(OrderOf(other)));
        }

        writer.Put(_untold.Count);
        foreach (UntoldEntry untold in _untold)
        {
            writer.Put(untold.Page);
            WriteEntry(untold.Entry, ref writer);
        }

        static (int, bool, ulong, bool) OrderOf(UntoldEntry untold) => (untold.Page, untold.Entry is not null, untold.Entry?.Target ?? 0, untold.Entry?.MayWrite ?? false);
    }

    /// <summary>Whether it matters that an association that was dropped had a guest: hardware may have set flags in the tables, and notes that as use.</summary>
    private static bool HasLeftFlags(World world, AssociationState association) =>
        association is { IsDropped: true, Guest: not null } && world.TableModelOf(association.Kind).NotesUse;

    private ObjectMap<GuestState> ReadGuests(ref FormReader reader, World world)
    {
        List<KeyValuePair<ObjectId, GuestState>> guests = [.. _blank.Guests];
        for (int left = reader.Get(); left > 0; left--) guests.Add(new(new(ObjectKind.Guest, guests.Count), ReadGuest(ref reader, world)));
        return ObjectMap<GuestState>.Of(guests);
    }

    private GuestState ReadGuest(ref FormReader reader, World world)
    {
        int region = reader.Get();
        ObjectId vcm = region == 0 ? _blank.Vcms.Keys[0] : VcmAt(region - 1);
        ulong root = reader.GetPages();
        int bits = reader.Get();
        var frames = new ulong[bits >> 1];
        // Of memory that has ended any will do.
        if ((bits & 1) != 0) return new(vcm, root, ImmutableArray.Create(frames), [_blank.Memories.Keys[0]]);
        List<ObjectId> memories = [];
        for (int i = 0; i < frames.Length; i++)
        {
            ObjectId memory = MemoryAt(reader.Get());
            frames[i] = AddressAt(world.Memories[memory], reader.GetPages());
            if (!memories.Contains(memory)) memories.Add(memory);
        }

        var entries = new GuestEntry?[World.GuestPages];
        for (int page = 0; page < entries.Length; page++) entries[page] = ReadEntry(ref reader);
        return new(vcm, root, ImmutableArray.Create(frames), [.. memories]) { Entries = ImmutableArray.Create(entries) };
    }

    private static ulong AddressAt(MemoryState memory, ulong offset)
    {
        foreach (AddressRange chunk in memory.Segments)
        {
            ulong length = chunk.Last - chunk.First + 1;
            if (offset < length) return chunk.First + offset;
            offset -= length;
        }

        throw new InvalidOperationException("it reaches beyond the memory");
    }

    private static GuestEntry? ReadEntry(ref FormReader reader) => reader.Get() is var written && written == 0 ? null : new GuestEntry(reader.GetPages(), written == 2);

    private static ImmutableArray<UntoldEntry> ReadUntold(ref FormReader reader)
    {
        var untold = new UntoldEntry[reader.Get()];
        for (int i = 0; i < untold.Length; i++)
        {
            int page = reader.Get();
            untold[i] = new(page, ReadEntry(ref reader));
        }

        return ImmutableArray.Create(untold);
    }

    private ObjectId GuestAt(int label) => new(ObjectKind.Guest, _blank.Guests.Count + label - 1);

    /// <summary>By what guests are told apart.</summary>
    /// <param name="Region">Which is its region, from 1 on; 0: one that has ended.</param>
    /// <param name="Root">Where its tables are.</param>
    /// <param name="Tables">In how many pages.</param>
    /// <param name="IsGone">Whether those are others' by now.</param>
    /// <param name="Number">Its name, where names are kept.</param>
    private readonly record struct GuestKey(int Region, ulong Root, int Tables, bool IsGone, int Number) : IComparable<GuestKey>
    {
        public int CompareTo(GuestKey other) => (Region, Root, Tables, IsGone, Number).CompareTo((other.Region, other.Root, other.Tables, other.IsGone, other.Number));
    }
}
