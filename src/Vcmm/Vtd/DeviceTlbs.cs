using Platform;

namespace Vcmm.Vtd;

/// <summary>The TLB of a device, as far as it is for one of the device's address spaces.</summary>
/// <param name="Device">Whose.</param>
/// <param name="Pasid">Of which requests; 0: of those without a PASID.</param>
/// <param name="QueueDepth">How many invalidations it takes at once.</param>
internal readonly record struct DeviceTlb(StreamId Device, uint Pasid, int QueueDepth);

/// <summary>Which devices have a TLB of their own, and which of them may hold what of a domain.</summary>
/// <remarks>
/// <b>Threads.</b> Any number at once. <see cref="Of"/> and <see cref="All"/> take no lock: they read arrays that are replaced
/// and never changed.
/// </remarks>
internal sealed class DeviceTlbs
{
    [LockRank(LockRank.DeviceTlbs)]
    private readonly object _gate = new();
    private readonly Dictionary<StreamId, AtsCapability> _devices = [];
    // Survives as `[default]`: equivalent, of a domain whose place is empty there is as little as of one that has no place
    private DeviceTlb[]?[] _ofDomain = [];
    private DeviceTlb[] _all = [];

    /// <summary>All that may hold something.</summary>
    public ReadOnlySpan<DeviceTlb> All => Volatile.Read(ref _all);

    /// <summary>Those that may hold something of the domain.</summary>
    public ReadOnlySpan<DeviceTlb> Of(DomainId domain)
    {
        DeviceTlb[]?[] all = Volatile.Read(ref _ofDomain);
        return domain.Value < all.Length ? Volatile.Read(ref all[domain.Value]) : null;
    }

    /// <summary>The device has a TLB. False if that is known.</summary>
    public bool TryEnable(StreamId device, AtsCapability capability)
    {
        lock (_gate) return _devices.TryAdd(device, capability);
    }

    /// <summary>What is known of the device's TLB; null: it has none.</summary>
    public AtsCapability? Find(StreamId device)
    {
        lock (_gate) return _devices.GetValueOrDefault(device);
    }

    /// <summary>An attachment begins: from here on an invalidation of the domain reaches the TLB.</summary>
    public void Add(DomainId domain, DeviceTlb tlb)
    {
        lock (_gate)
        {
            if (_ofDomain.Length <= domain.Value)
            {
                DeviceTlb[]?[] larger = _ofDomain;
                Array.Resize(ref larger, Math.Max((int)domain.Value + 1, 2 * larger.Length));
                Volatile.Write(ref _ofDomain, larger);
            }

            Volatile.Write(ref _ofDomain[domain.Value], [.. _ofDomain[domain.Value] ?? [], tlb]);
            Volatile.Write(ref _all, [.. _all, tlb]);
        }
    }

    /// <summary>One has ended: the TLB holds nothing of it.</summary>
    public void Remove(DomainId domain, DeviceTlb tlb)
    {
        lock (_gate)
        {
            Volatile.Write(ref _ofDomain[domain.Value], Without(_ofDomain[domain.Value]!, tlb));
            Volatile.Write(ref _all, Without(_all, tlb));
        }
    }

    private static DeviceTlb[] Without(DeviceTlb[] all, DeviceTlb one)
    {
        int index = Array.IndexOf(all, one);
        return [.. all.AsSpan(0, index), .. all.AsSpan(index + 1)];
    }
}
