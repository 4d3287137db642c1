using IommuSim;
using Platform;
using Vcmm;

namespace Properties.Library.Regions;

/// <summary>
/// Devices that look at the same region, each through what it has: tables of one format or another, or nothing. What one of them may is
/// found out by accesses alone.
/// </summary>
internal sealed class Sight(ScalableSystem system)
{
    private const ulong Page = VcmManager.PageBytes;

    private readonly List<Viewer> _viewers = [];
    private ulong _token = 0x5EE0_0000_0000_0000;

    /// <summary>How many accesses were let through, and how many were not.</summary>
    public (int Done, int Blocked) Accesses { get; private set; }

    /// <summary>A device behind the IOMMU.</summary>
    public void Add(StreamId device, Pasid? pasid = null) =>
        _viewers.Add(new($"{device}{(pasid is { } named ? $" {named}" : "")}", system.Master(device), pasid is { } space ? new PasidPrefix(new(space.Value)) : null));

    /// <summary>A device whose addresses are physical ones. It reaches everything; what is granted it must find like the others.</summary>
    public void AddUntranslated() => _viewers.Add(new("the device without an IOMMU", null, null));

    public void RemoveUntranslated() => Assert.Equal(1, _viewers.RemoveAll(viewer => viewer.Master is null));

    /// <summary>Every device gets what is granted, from that very frame, with those rights, and nothing else in the pages looked at.</summary>
    public void AssertGranted(IReadOnlyDictionary<ulong, (PhysAddr Frame, Access Access)> granted, IEnumerable<ulong> pages)
    {
        foreach (ulong page in pages)
        {
            ulong offset = page / Page * sizeof(ulong) % Page;
            foreach (Viewer viewer in _viewers)
            {
                if (granted.TryGetValue(page, out (PhysAddr Frame, Access Access) what)) AssertReaches(viewer, new(page + offset), what.Frame + offset, what.Access);
                else AssertBlocked(viewer, new(page + offset));
            }
        }
    }

    private void AssertReaches(Viewer viewer, Iova at, PhysAddr frame, Access access)
    {
        ulong before = ++_token;
        system.Memory.Write64(frame, before);
        Assert.True(Read(viewer, at, out ulong seen), $"{viewer.Name} cannot read {at}");
        Assert.True(seen == before, $"{viewer.Name} reads another frame than {frame} at {at}");
        ulong after = ++_token;
        bool isWritten = Write(viewer, at, after);
        Assert.True(isWritten == ((access & Access.Write) != 0), $"{viewer.Name} {(isWritten ? "writes" : "cannot write")} {at}, which is {access}");
        Assert.Equal(isWritten ? after : before, system.Memory.Read64(frame));
        Accesses = (Accesses.Done + (isWritten ? 2 : 1), Accesses.Blocked + (isWritten ? 0 : 1));
    }

    private void AssertBlocked(Viewer viewer, Iova at)
    {
        if (viewer.Master is null) return;
        Assert.False(Read(viewer, at, out _), $"{viewer.Name} reads {at}, where nothing is");
        Assert.False(Write(viewer, at, 0xBAD), $"{viewer.Name} writes {at}, where nothing is");
        Accesses = (Accesses.Done, Accesses.Blocked + 2);
    }

    private bool Read(Viewer viewer, Iova at, out ulong value)
    {
        if (viewer.Master is null)
        {
            value = system.Memory.Read64(new(at.Value));
            return true;
        }

        Span<byte> word = stackalloc byte[sizeof(ulong)];
        bool isDone = viewer.Master.Read(at, word, viewer.Prefix).Ok;
        value = BitConverter.ToUInt64(word);
        return isDone;
    }

    private bool Write(Viewer viewer, Iova at, ulong value)
    {
        if (viewer.Master is not null) return viewer.Master.Write(at, BitConverter.GetBytes(value), viewer.Prefix).Ok;
        system.Memory.Write64(new(at.Value), value);
        return true;
    }

    /// <summary>Without a master the memory itself is asked.</summary>
    private sealed record Viewer(string Name, BusMaster<Ram, NoSteps>? Master, PasidPrefix? Prefix);
}
