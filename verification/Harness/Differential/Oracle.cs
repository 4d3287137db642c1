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
/// <param name="IsQuiet">In scalable mode, fault processing is disabled for the device or its PASID, whether there is a fault or not.</param>
internal readonly record struct Expected(VtdFaultReason Fault, ulong Address, bool IsSilent, bool LacksPermission = false, bool IsPassThrough = false, bool OtherHalfIsReserved = false, bool IsQuiet = false)
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

    private readonly Overlay _overlay;
    private readonly Ram _memory;
    private readonly VtdIommu<OverlaidMemory, NoSteps> _unit, _snooping;
    private readonly Dictionary<ulong, List<ulong>> _stale = [];
    private readonly bool _isScalable, _hasFirstStage;
    private readonly Laxity _known;
    private ulong _root;

    /// <param name="memory">Both machines' memory.</param>
    /// <param name="options">The unit that the other machine is.</param>
    /// <param name="known">What it is known not to look at.</param>
    public Oracle(Ram memory, VtdOptions options, Laxity known)
    {
        _memory = memory;
        _known = known;
        _isScalable = options.ScalableMode;
        _hasFirstStage = options.ScalableMode && options.FirstStage;
        _overlay = new(_hasFirstStage);
        VtdOptions plain = options with
        {
            IotlbSets = 0, IotlbWays = 0, WalkCacheEntriesPerLevel = 0, ContextCacheEntries = 0, PasidCacheEntries = 0, CachingMode = false, FaultRecordCount = 1,
        };
        _unit = new(new(memory, _overlay), plain);
        _snooping = new(new(memory, _overlay), plain with { SnoopControl = true });
        _unit.Write32(Reg.GCMD, Reg.TE);
        _snooping.Write32(Reg.GCMD, Reg.TE);
    }

    public void SetRoot(ulong root)
    {
        _root = root;
        _overlay.Lax.Settle();
        Point(root);
    }

    private void Point(ulong root)
    {
        foreach (VtdIommu<OverlaidMemory, NoSteps> unit in (VtdIommu<OverlaidMemory, NoSteps>[])[_unit, _snooping])
        {
            unit.Write64(Reg.RTADDR, root);
            unit.Write32(Reg.GCMD, Reg.TE | Reg.SRTP);
        }

        _overlay.IsScalable = (root & LaxReading.ScalableRoot) != 0;
    }

    /// <summary>Software is about to store a word.</summary>
    public void Change(ulong address, ulong value)
    {
        ulong old = _memory.Read64(new(address));
        _overlay.Lax.Replace(address, old);
        if (old == value && !_stale.ContainsKey(address)) return;
        if (!_stale.TryGetValue(address, out List<ulong>? values)) _stale.Add(address, values = []);
        if (!values.Contains(old)) values.Add(old);
    }

    /// <summary>Everything was invalidated.</summary>
    public void Settle()
    {
        _stale.Clear();
        _overlay.Lax.Settle();
    }

    public void Settle(IEnumerable<ulong> addresses)
    {
        foreach (ulong address in addresses) _stale.Remove(address);
    }

    /// <summary>What may come of an access; null: too much for it to be worth a look, or it depends on memory in which the machines are not alike.</summary>
    public List<Expected>? Of(uint source, ulong iova, bool isWrite) => Of(source, iova, isWrite, Laxity.None);

    /// <summary>
    /// What more may come of it on a unit that does not look at what stands in the way, nor at what then does; each with all that
    /// was not looked at. Null: too much.
    /// </summary>
    public List<LaxOutcome>? Otherwise(uint source, ulong iova, bool isWrite, List<Expected> may)
    {
        var found = new List<LaxOutcome>();
        if (_known.HasFlag(Laxity.PassThroughEnd) && _overlay.Lax.MayLinger && !AddOf(Laxity.PassThroughEnd | Laxity.PasidReserved)) return null;
        Laxity laxity = Laxity.None;
        List<Expected> last = may;
        while (true)
        {
            Laxity next = last.Aggregate(laxity, (sum, outcome) => sum | InTheWay(outcome));
            if (next == laxity) return found;
            laxity = next;
            if (!AddOf(laxity)) return null;
            // By tables of a depth that there is not such a unit goes on as well; where to nobody says.
            if (_overlay.Lax.IsUnheeded && last.Exists(static outcome => outcome.Fault == VtdFaultReason.PasidEntryInvalid)) return null;
        }

        bool AddOf(Laxity laxity)
        {
            if (Of(source, iova, isWrite, laxity) is not { } more) return false;
            last = more;
            foreach (Expected outcome in more)
            {
                if (!may.Contains(outcome) && !found.Exists(one => one.What == outcome)) found.Add(new(outcome, laxity));
            }

            return true;
        }
    }

    private Laxity InTheWay(in Expected outcome) => _known & outcome.Fault switch
    {
        VtdFaultReason.RootTableAddressMisprogrammed => Laxity.RootBits,
        VtdFaultReason.ScalableContextEntryInvalid => Laxity.DirectorySize,
        VtdFaultReason.PasidDirectoryEntryReserved or VtdFaultReason.PasidEntryReserved => Laxity.PasidReserved,
        VtdFaultReason.PasidEntryNotPresent => Laxity.PasidPresent | Laxity.PasidTypeFirst,
        VtdFaultReason.PasidEntryInvalid => Laxity.Types | (outcome.IsSilent ? Laxity.PasidType : Laxity.None),
        VtdFaultReason.FirstStageFlagsNotSnooped => Laxity.WalkSnoop,
        VtdFaultReason.SecondStageEntryReserved or VtdFaultReason.PagingEntryReserved when _isScalable => Laxity.Snoop,
        _ => Laxity.None,
    };

    private List<Expected>? Of(uint source, ulong iova, bool isWrite, Laxity laxity)
    {
        var found = new List<Expected>();
        int left = MostChoices;
        _overlay.Words.Clear();
        _overlay.Lax.Laxity = laxity;
        _overlay.Lax.IsUnheeded = false;
        if (laxity.HasFlag(Laxity.RootBits)) Point(LaxReading.Root(_root, _isScalable));
        _overlay.IsUnlike = false;
        bool isWhole = Collect(source, iova, isWrite, found, ref left) && !_overlay.IsUnlike;
        if (laxity.HasFlag(Laxity.RootBits)) Point(_root);
        return isWhole ? found : null;
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
        VtdIommu<OverlaidMemory, NoSteps> unit = _overlay.Lax.Laxity.HasFlag(Laxity.Snoop) ? _snooping : _unit;
        TranslationResult result = unit.Translate(new(source), new(iova), isWrite ? DeviceAccess.Write : DeviceAccess.Read);
        bool isRecorded = (unit.Read32(Reg.FSTS) & Reg.PPF) != 0;
        if (isRecorded) unit.Write64(Reg.FRCD + 8, 1UL << 63);
        // The first words read are the two halves of the root entry: bits 11:1 are reserved, and those above the host's width.
        bool isReserved = _overlay.IsScalable && _overlay.Read.Count >= 2 && (Value(_overlay.Read[(source & 0x80) == 0 ? 1 : 0]) & ~0xFFFF_FFFF_F001UL) != 0;
        bool isQuiet = _overlay.IsScalable && (IsDisabledBy(LaxReading.ContextEntry) || IsDisabledBy(LaxReading.DirectoryEntry) || IsDisabledBy(LaxReading.PasidEntry));
        if (result.Ok) return new(VtdFaultReason.None, result.Address.Value, false, OtherHalfIsReserved: isReserved, IsQuiet: isQuiet);

        // Which words were read: see LegacyStructures and ScalableStructures. Whatever comes after them are entries of tables.
        (int before, int translationType, ulong passThrough) = _overlay.IsScalable ? (LaxReading.Tables, LaxReading.PasidEntry, 4UL << 6) : (6, 3, 2UL << 2);
        ulong needed = _hasFirstStage ? isWrite ? 6UL : 4UL : isWrite ? 2UL : 1UL;
        bool lacks = _overlay.Read.Skip(before).Any(word => (Value(word) & needed) != needed);
        bool passes = _overlay.Read.Count == before
            && (_overlay.Seen(translationType, _overlay.Read[translationType], Value(_overlay.Read[translationType])) & (_overlay.IsScalable ? 7UL << 6 : 3UL << 2)) == passThrough;
        return new(result.Reason, 0, !isRecorded, lacks, passes, isReserved, isQuiet);
    }

    // FPD is bit 1 of each.
    private bool IsDisabledBy(int place) => place < _overlay.Read.Count && (Value(_overlay.Read[place]) & 2) != 0;

    private ulong Value(ulong word) => _overlay.Words.TryGetValue(word, out ulong other) ? other : _memory.Read64(new(word));

    /// <summary>Words that are read as if they were others, and which words were read.</summary>
    private sealed class Overlay(bool hasFirstStage)
    {
        public Dictionary<ulong, ulong> Words { get; } = [];

        public List<ulong> Read { get; } = [];

        public LaxReading Lax { get; } = new() { HasFirstStage = hasFirstStage };

        /// <summary>Whether a word was read where the machines are not alike.</summary>
        public bool IsUnlike { get; set; }

        /// <summary>In which mode the unit is.</summary>
        public bool IsScalable { get; set; }

        public ulong Seen(int place, ulong address, ulong value) => IsScalable ? Lax.Read(place, address, value) : value;
    }

    private readonly struct OverlaidMemory(Ram memory, Overlay overlay) : IPhysicalMemory
    {
        public bool Contains(PhysRange range) => memory.Contains(range);

        public bool TryRead64(PhysAddr address, out ulong value)
        {
            overlay.IsUnlike |= !Ground.IsReadable(address.Value);
            if (!memory.TryRead64(address, out value)) return false;
            if (overlay.Words.TryGetValue(address.Value, out ulong other)) value = other;
            value = overlay.Seen(overlay.Read.Count, address.Value, value);
            overlay.Read.Add(address.Value);
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
