using System.Globalization;
using CsCheck;
using IommuSim;
using Platform;

namespace Harness.Hostile;

/// <summary>What a world has seen.</summary>
internal sealed class HostileCounts
{
    public long Accesses { get; set; }

    public long Stores { get; set; }

    public long RegisterWrites { get; set; }

    public long Commands { get; set; }

    public long Stalled { get; set; }

    public Dictionary<VtdFaultReason, long> Reasons { get; } = [];

    /// <summary>Of what hardware does, how often it did.</summary>
    public Dictionary<string, long> Sometimes { get; } = [];

    public void Meet(string what, long count)
    {
        if (count != 0) Sometimes[what] = Sometimes.GetValueOrDefault(what) + count;
    }
}

/// <summary>
/// One simulated unit of some kind, memory that anybody writes anything to, registers likewise, and devices that go anywhere. Each
/// access must end in a transfer or in a fault that is recorded, counted as lost, or silenced; nothing may throw, run for ever or
/// grow; and once software has put everything right the unit must work as if nothing had been.
/// </summary>
internal sealed partial class HostileWorld : IDisposable
{
    /// <summary>Accesses of one world.</summary>
    public const int Accesses = 2000;

    private const int AccessesPerRepair = 20;
    private const int AccessTouches = 4000, CommandTouches = 4_000_000;

    // A word that no entry, register or descriptor leads to: what would, is not stored.
    private const ulong Canary = (6UL << 20) + 8, CanaryValue = 0xC0FF_EE00_C0FF_EE00;

    private readonly PCG _pcg;

    // What came later draws from a stream of its own, so that the worlds of a seed stay what they were.
    private readonly PCG _later;
    private readonly HostileCounts _counts;
    private readonly VtdOptions _options;
    private readonly RamBlock _ram;
    private readonly TouchLimit _limit = new();
    private readonly GuardedMemory _memory;
    private readonly VtdIommu<GuardedMemory, NoSteps> _unit;
    private readonly BusMaster<GuardedMemory, NoSteps>[] _masters;
    private readonly AtsDevice<GuardedMemory, NoSteps>[] _atsDevices;
    private readonly ulong[] _hot;
    private readonly List<string>? _log;
    private readonly byte[] _buffer = new byte[64];
    private readonly uint _sweepBase;
    private uint _sweep;
    private bool _isScalable;
    private bool _isEnd;
    private ulong _tail;

    /// <param name="seed">Of the run.</param>
    /// <param name="index">Which world of the run.</param>
    /// <param name="ram">Memory to use, 8 MiB from 0.</param>
    /// <param name="counts">Added to.</param>
    /// <param name="log">What is done, if somebody wants to know.</param>
    public HostileWorld(ulong seed, uint index, RamBlock ram, HostileCounts counts, List<string>? log = null)
    {
        _pcg = new(index, seed);
        _later = new(index, unchecked(seed + 0x9E37_79B9_7F4A_7C15));
        _sweepBase = index * 977;
        _counts = counts;
        _log = log;
        _ram = ram;
        _memory = new(ram.Port, _limit);
        _options = AnyOptions();
        _hot = IsNesting ? [.. Hot, .. NestedHot] : Hot;
        _unit = new(_memory, _options);
        _masters = [.. Sources.Select(source => new BusMaster<GuardedMemory, NoSteps>(_unit, _memory, new(source)))];
        var ats = new AtsDeviceOptions
        {
            TlbEntries = (int)_pcg.Next(5), PageRequests = _pcg.Next(4) != 0, OutstandingGroups = 1 + (int)_pcg.Next(4), PagesInGroup = 1 + (int)_pcg.Next(4),
        };
        AtsTlbEntries = ats.TlbEntries;
        _atsDevices = [.. AtsSources.Select(source => new AtsDevice<GuardedMemory, NoSteps>(_unit, _memory, new(source), ats))];
    }

    private int AtsTlbEntries { get; }

    private bool IsNesting => _options is { ScalableMode: true, FirstStage: true, SecondStage: true, Nesting: true };

    /// <summary>The unit's kind in a few words.</summary>
    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"VT-d {(_options.ScalableMode ? "with" : "without")} scalable mode, IOTLB {_options.IotlbSets}x{_options.IotlbWays}, walk cache {_options.WalkCacheEntriesPerLevel}, context cache {_options.ContextCacheEntries}, {_options.FaultRecordCount} fault records{(_options.QueuedInvalidation ? "" : ", no invalidation queue")}{(_options.CachingMode ? ", caching mode" : "")}{(IsNesting ? ", nesting" : "")}{(_options.DeviceTlbs ? ", device TLBs" : "")}{(_options.PageRequests ? ", page requests" : "")}");

    /// <summary>Lets everything happen.</summary>
    /// <exception cref="BrokenMachineException">Something was seen that may not be. So says any other exception.</exception>
    public void Run()
    {
        byte[] zeros = new byte[(int)LastTable];
        _ram.Port.Write(new(0), zeros);
        _ram.Port.Write64(new(Canary), CanaryValue);
        for (int i = 0; i < Accesses; i++)
        {
            if (i % AccessesPerRepair == 0) Repair();
            Mischief();
            Access();
        }

        CheckEnd();
    }

    public void Dispose() => _ram.Port.Write64(new(Canary), 0);

    private void Note(FormattableString what) => _log?.Add(FormattableString.Invariant(what));

    private void Expect(bool holds, FormattableString otherwise)
    {
        if (!holds) throw new BrokenMachineException(FormattableString.Invariant(otherwise));
    }

    private VtdOptions AnyOptions()
    {
        bool hasSnoop = _pcg.Next(4) != 0, hasTlbs = _pcg.Next(2) == 0;
        var any = new VtdOptions
        {
            ScalableMode = _pcg.Next(3) != 0,
            IotlbSets = _pcg.Next(4) == 0 ? 0 : 1 << (int)_pcg.Next(3),
            IotlbWays = (int)_pcg.Next(3),
            WalkCacheEntriesPerLevel = (int)_pcg.Next(4),
            ContextCacheEntries = (int)_pcg.Next(4),
            PasidCacheEntries = (int)_pcg.Next(4),
            CachingMode = _pcg.Next(4) == 0,
            FaultRecordCount = _pcg.Next(3) == 0 ? 222 : 1 + (int)_pcg.Next(4),
            HostAddressWidth = 40 + (int)_pcg.Next(13),
            ThreeLevelTables = true,
            FourLevelTables = _pcg.Next(8) != 0,
            Pages2M = _pcg.Next(4) != 0,
            Pages1G = _pcg.Next(4) != 0,
            PassThrough = _pcg.Next(4) != 0,
            MaximumAddressMask = (int)_pcg.Next(64),
            FirstStage = _pcg.Next(8) != 0,
            FirstStageFiveLevels = _pcg.Next(4) != 0,
            FirstStagePages1G = _pcg.Next(2) == 0,
            RequestsWithPasid = _pcg.Next(8) != 0,
            PasidBits = _pcg.Next(3) == 0 ? 1 + (int)_pcg.Next(20) : 20,
            RidPasid = _pcg.Next(8) != 0,
            RidPrivilege = _pcg.Next(2) == 0,
            SupervisorRequests = _pcg.Next(4) != 0,
            ExecuteRequests = _pcg.Next(2) == 0,
            ScalableWalkSnoop = hasSnoop,
            SecondStageAccessedDirty = _pcg.Next(2) == 0,
            ExtendedAccessed = _pcg.Next(2) == 0,
            SnoopControl = _pcg.Next(2) == 0,
            DeviceTlbs = hasTlbs,
            PageRequests = hasTlbs && _pcg.Next(4) != 0,
            Commands = _pcg.Next(8) == 0 ? CommandMode.Manual : CommandMode.OnDoorbell,
            Nesting = _later.Next(3) == 0,
            IotlbLines2M = _later.Next(4) != 0,
            IotlbLines1G = _later.Next(4) != 0,
            FiveLevelTables = _later.Next(8) == 0,
            // The good tables are in domains up to 11.
            DomainIdBits = _later.Next(2) == 0 ? 16 : 4 + 2 * (int)_later.Next(7),
            MemoryTypes = _later.Next(4) == 0,
            AbortDma = _later.Next(4) == 0,
        };
        // In scalable mode, and of devices with TLBs, it cannot be done without.
        return any.ScalableMode || any.DeviceTlbs || any.AbortDma ? any : any with { QueuedInvalidation = _later.Next(2) == 0 };
    }

    /// <summary>Nothing has grown beyond its size, nothing is left in flight, and with good tables good accesses go through.</summary>
    private void CheckEnd()
    {
        Expect(_unit.Iotlb.Count <= _options.IotlbSets * _options.IotlbWays, $"the IOTLB has {_unit.Iotlb.Count} entries of {_options.IotlbSets}x{_options.IotlbWays}");
        Expect(_unit.WalkCache.Count <= 8 * _options.WalkCacheEntriesPerLevel, $"the walk caches have {_unit.WalkCache.Count} entries");
        foreach (AtsDevice<GuardedMemory, NoSteps> device in _atsDevices) Expect(device.Tlb.Count <= AtsTlbEntries, $"a device TLB has {device.Tlb.Count} entries of {AtsTlbEntries}");
        Expect(_ram.Port.Read64(new(Canary)) == CanaryValue, $"something wrote where no entry and no register points");

        _isEnd = true;
        for (int scalable = 0; scalable < (_options.ScalableMode ? 2 : 1); scalable++)
        {
            Repair(scalable == 1);
            DmaResult read = _masters[0].Read(new(GoodPage), _buffer.AsSpan(0, 8));
            Expect(read.Ok, $"with everything put right a read is blocked by {read.Reason}");
            Expect(BitConverter.ToUInt64(_buffer) == FrameMark, $"with everything put right a read sees 0x{BitConverter.ToUInt64(_buffer):x}");
            Expect(_unit.Read32(FSTS) == 0, $"with everything put right the fault status is 0x{_unit.Read32(FSTS):x}");
            if (!_options.QueuedInvalidation) continue;
            _ram.Port.Write64(new(Status), 0);
            Submit(0x25 | 0x5AUL << 32, Status);
            Expect(_ram.Port.Read64(new(Status)) == 0x5A, $"with everything put right a wait does not complete");
        }

        VtdStatistics statistics = _unit.Statistics;
        _counts.Meet("IOTLB hits", statistics.IotlbHits);
        _counts.Meet("walk cache hits", statistics.WalkCacheHits);
        _counts.Meet("PASID cache hits", statistics.PasidCacheHits);
        _counts.Meet("flag updates", statistics.FlagUpdates);
        _counts.Meet("queue errors", statistics.QueueErrors);
        if (!_options.QueuedInvalidation) _counts.Meet("invalidations by registers", statistics.ContextInvalidations + statistics.IotlbGlobalInvalidations);
        _counts.Meet("waits", statistics.Waits);
        _counts.Meet("invalidation time-outs", statistics.InvalidationTimeouts);
        _counts.Meet("interrupt messages", statistics.InterruptMessages);
        _counts.Meet("faults lost", statistics.FaultsLost);
        _counts.Meet("faults silenced", statistics.FaultsSilenced);
        _counts.Meet("device TLB hits", statistics.DeviceTlbHits);
        _counts.Meet("page requests", statistics.PageRequests);
        _counts.Meet("page requests lost", statistics.PageRequestsLost);
        _counts.Meet("page group responses", statistics.PageGroupResponses);
        _counts.Meet("device TLB invalidations", statistics.DeviceTlbInvalidations);
        _counts.Meet("PASID-based IOTLB invalidations", statistics.PasidIotlbInvalidations);
        _counts.Meet("page-selective IOTLB invalidations", statistics.IotlbPageInvalidations);
    }
}
