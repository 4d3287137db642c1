using IommuSim;
using Platform;

namespace Harness.Differential;

/// <summary>What may come of an access, as the tables in memory say.</summary>
/// <param name="Fault">The fault; none: it goes on.</param>
/// <param name="Address">Where it goes.</param>
/// <param name="IsSilent">Fault processing is disabled: the fault is not recorded.</param>
/// <param name="LacksPermission">An entry of the tables that was read on the way does not permit the access.</param>
/// <param name="IsPassThrough">The requests of the device are let through untranslated.</param>
/// <param name="OtherHalfIsReserved">The half of the scalable-mode root entry that is not for the device has reserved bits set.</param>
internal readonly record struct Expected(VtdFaultReason Fault, ulong Address, bool IsSilent, bool LacksPermission = false, bool IsPassThrough = false, bool OtherHalfIsReserved = false)
{
    public bool GoesOn => Fault == VtdFaultReason.None;

    public override string ToString() => GoesOn
        ? $"reaches 0x{Address:x}"
        : $"is blocked by {Fault} (0x{(int)Fault:x}){(IsSilent ? ", not recorded" : "")}";
}

/// <summary>
/// Says what a unit without any cache would do; and, of words that software has changed and not yet invalidated, with each value
/// that they had since: a unit with caches may have kept any of them.
/// </summary>
internal sealed class Oracle
{
    // Of words that count either way; what then is possible is more than anybody would notice a mistake in.
    private const int MostChoices = 64;

    private readonly Overlay _overlay = new();
    private readonly Ram _memory;
    private readonly VtdIommu<OverlaidMemory, NoSteps> _unit;
    private readonly Dictionary<ulong, List<ulong>> _stale = [];
    private readonly bool _isScalable;

    public Oracle(Ram memory, VtdOptions options)
    {
        _memory = memory;
        _isScalable = options.ScalableMode;
        _unit = new(new(memory, _overlay), options with
        {
            IotlbSets = 0, IotlbWays = 0, WalkCacheEntriesPerLevel = 0, ContextCacheEntries = 0, PasidCacheEntries = 0, CachingMode = false, FaultRecordCount = 1,
        });
        _unit.Write32(Reg.GCMD, Reg.TE);
    }

    /// <summary>Whether every change counts by now.</summary>
    public bool IsSettled => _stale.Count == 0;

    public void SetRoot(ulong root)
    {
        _unit.Write64(Reg.RTADDR, root);
        _unit.Write32(Reg.GCMD, Reg.TE | Reg.SRTP);
    }

    /// <summary>Software is about to store a word.</summary>
    public void Change(ulong address, ulong value)
    {
        ulong old = _memory.Read64(new(address));
        if (old == value && !_stale.ContainsKey(address)) return;
        if (!_stale.TryGetValue(address, out List<ulong>? values)) _stale.Add(address, values = []);
        if (!values.Contains(old)) values.Add(old);
    }

    public void Settle() => _stale.Clear();

    public void Settle(IEnumerable<ulong> addresses)
    {
        foreach (ulong address in addresses) _stale.Remove(address);
    }

    /// <summary>What may come of an access; null: too much for it to be worth a look.</summary>
    public List<Expected>? Of(uint source, ulong iova, bool isWrite)
    {
        var found = new List<Expected>();
        int left = MostChoices;
        _overlay.Words.Clear();
        return Collect(source, iova, isWrite, found, ref left) ? found : null;
    }

    private bool Collect(uint source, ulong iova, bool isWrite, List<Expected> found, ref int left)
    {
        if (left-- == 0) return false;
        _overlay.Read.Clear();
        Expected outcome = Look(source, iova, isWrite);
        ulong open = _overlay.Read.Find(word => _stale.ContainsKey(word) && !_overlay.Words.ContainsKey(word));
        if (open == 0)
        {
            if (!found.Contains(outcome)) found.Add(outcome);
            return true;
        }

        foreach (ulong value in _stale[open].Prepend(_memory.Read64(new(open))).Distinct().ToArray())
        {
            _overlay.Words[open] = value;
            if (!Collect(source, iova, isWrite, found, ref left)) return false;
        }

        return _overlay.Words.Remove(open);
    }

    private Expected Look(uint source, ulong iova, bool isWrite)
    {
        TranslationResult result = _unit.Translate(new(source), new(iova), isWrite ? DeviceAccess.Write : DeviceAccess.Read);
        bool isRecorded = (_unit.Read32(Reg.FSTS) & Reg.PPF) != 0;
        if (isRecorded) _unit.Write64(Reg.FRCD + 8, 1UL << 63);
        // The first words read are the two halves of the root entry: bits 11:1 are reserved, and those above the host's width.
        bool isReserved = _isScalable && _overlay.Read.Count >= 2 && (Value(_overlay.Read[(source & 0x80) == 0 ? 1 : 0]) & ~0xFFFF_FFFF_F001UL) != 0;
        if (result.Ok) return new(VtdFaultReason.None, result.Address.Value, false, OtherHalfIsReserved: isReserved);

        // Which words were read: see LegacyStructures and ScalableStructures. Whatever comes after them are entries of tables.
        (int before, int translationType, ulong passThrough) = _isScalable ? (28, 12, 4UL << 6) : (6, 3, 2UL << 2);
        bool lacks = _overlay.Read.Skip(before).Any(word => (Value(word) & (isWrite ? 2UL : 1UL)) == 0);
        bool passes = _overlay.Read.Count == before && (Value(_overlay.Read[translationType]) & (_isScalable ? 7UL << 6 : 3UL << 2)) == passThrough;
        return new(result.Reason, 0, !isRecorded, lacks, passes, isReserved);
    }

    private ulong Value(ulong word) => _overlay.Words.TryGetValue(word, out ulong other) ? other : _memory.Read64(new(word));

    /// <summary>Words that are read as if they were others, and which words were read.</summary>
    private sealed class Overlay
    {
        public Dictionary<ulong, ulong> Words { get; } = [];

        public List<ulong> Read { get; } = [];
    }

    private readonly struct OverlaidMemory(Ram memory, Overlay overlay) : IPhysicalMemory
    {
        public bool Contains(PhysRange range) => memory.Contains(range);

        public bool TryRead64(PhysAddr address, out ulong value)
        {
            if (!memory.TryRead64(address, out value)) return false;
            overlay.Read.Add(address.Value);
            if (overlay.Words.TryGetValue(address.Value, out ulong other)) value = other;
            return true;
        }

        public ulong Read64(PhysAddr address) => TryRead64(address, out ulong value) ? value : throw new BusErrorException(address, sizeof(ulong));

        public uint Read32(PhysAddr address) => memory.Read32(address);

        // A look changes nothing.
        public void Write64(PhysAddr address, ulong value)
        {
        }

        public void Write32(PhysAddr address, uint value)
        {
        }

        public ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand) => comparand;

        public uint CompareExchange32(PhysAddr address, uint value, uint comparand) => comparand;

        public void Read(PhysAddr address, Span<byte> destination) => memory.Read(address, destination);

        public void Write(PhysAddr address, ReadOnlySpan<byte> source)
        {
        }

        public void Clean(PhysRange range)
        {
        }

        public void Fence()
        {
        }
    }
}
