using Harness.Foreign;
using IommuSim;
using Platform;
using Vcmm.Spec;

namespace Harness.Differential;

/// <summary>QEMU and the simulator side by side, with the same in the memory of both.</summary>
internal sealed class DifferentialBench : IDisposable
{
    private static readonly int TableBytes = (int)(Ground.EndOfTables - Ground.FirstTable);
    private readonly bool _isScalable, _hasFirstStage;
    private readonly Func<VtdOptions, VtdOptions> _otherwise;
    private readonly RamBlock _ram = new(SimulatedVtd.MemoryRange);
    private readonly SortedSet<ulong> _changed = [];
    private readonly byte[] _zeros = new byte[TableBytes];
    private readonly HashSet<ulong> _dirtyPages = [];
    private QemuVtd? _qemu;

    /// <param name="isScalable">In which mode.</param>
    /// <param name="otherwise">Makes the simulator otherwise than its oracle, to see it found.</param>
    /// <param name="hasFirstStage">In scalable mode, whether with first-stage tables, of which QEMU's unit then has no second-stage ones.</param>
    public DifferentialBench(bool isScalable, Func<VtdOptions, VtdOptions>? otherwise = null, bool hasFirstStage = false)
    {
        _isScalable = isScalable;
        _hasFirstStage = hasFirstStage;
        _otherwise = otherwise ?? (static options => options);
        byte[] data = Data();
        _ram.Port.Write(new(Ground.Data), data);
    }

    public Ram Memory => _ram.Port;

    /// <summary>Invariants under which no difference is told.</summary>
    public InvariantSet Muted { get; init; }

    public SimulatedSide Simulator { get; private set; } = null!;

    public Software Other { get; private set; } = null!;

    public ParallelDma Devices => _qemu!.Parallel;

    public Oracle Oracle { get; private set; } = null!;

    public long Transfers => _ended.Transfers + (_qemu?.Transfers ?? 0);

    public long Commands => _ended.Commands + (_qemu?.Commands ?? 0);

    private (long Transfers, long Commands) _ended;

    /// <summary>Both machines with empty tables; software has begun.</summary>
    public void Begin(CacheSizes caches)
    {
        if (_qemu is null)
        {
            _qemu = QemuVtd.Start(Ground.Slots, Ground.Tokens, _isScalable, _hasFirstStage);
            _qemu.Memory.Write(new(Ground.Data), Data());
            Other = new(_qemu, _isScalable);
        }

        _changed.Clear();
        _ram.Port.Write(new(Ground.FirstTable), _zeros);
        foreach (ulong page in _dirtyPages) _qemu.Memory.Write(new(page), _zeros.AsSpan(0, (int)Ground.PageBytes));
        _dirtyPages.Clear();
        VtdOptions options = Ground.UnitOf(Other.Registers.Read64(Reg.CAP), Other.Registers.Read64(Reg.ECAP), caches.Options);
        // QEMU sets flags, and has no coherent walks to choose: PWSNP is reserved there, and not looked at.
        if (_hasFirstStage) options = options with { ScalableWalkSnoop = true };
        Simulator?.Dispose();
        Simulator = new(_ram, _otherwise(options), _isScalable);
        Oracle = new(_ram.Port, options, QemuDeviations.LaxityOf(QemuVtd.MajorVersion));
        Other.Begin();
        Simulator.Software.Begin();
        Oracle.SetRoot(Other.RootValue);
        _dirtyPages.Add(Ground.Queue);
        _dirtyPages.Add(Ground.Status);
    }

    /// <summary>Stores a word, in the other machine's memory when <see cref="Flush"/> is called.</summary>
    public void Set(ulong address, ulong value)
    {
        Oracle.Change(address, value);
        _ram.Port.Write64(new(address), value);
        _changed.Add(address);
    }

    /// <summary>Brings what was stored to the other machine: of pages with many changes the whole page.</summary>
    public void Flush()
    {
        byte[] page = new byte[Ground.PageBytes];
        foreach (IGrouping<ulong, ulong> words in _changed.GroupBy(word => word & ~(Ground.PageBytes - 1)))
        {
            _dirtyPages.Add(words.Key);
            if (words.Count() < 4)
            {
                foreach (ulong word in words) _qemu!.Memory.Write64(new(word), _ram.Port.Read64(new(word)));
                continue;
            }

            _ram.Port.Read(new(words.Key), page);
            _qemu!.Memory.Write(new(words.Key), page);
        }

        _changed.Clear();
    }

    /// <summary>Words in the other machine's memory.</summary>
    public Dictionary<ulong, uint> ReadOther(IReadOnlyCollection<ulong> addresses)
    {
        ulong[] places = [.. addresses.Distinct()];
        ulong[] words = _qemu!.Port.Read32(places);
        return places.Zip(words).ToDictionary(pair => pair.First, pair => (uint)pair.Second);
    }

    /// <summary>Puts the mark of a word of data where a device wrote.</summary>
    public void Restore(ulong address)
    {
        _ram.Port.Write32(new(address), Ground.Mark(address));
        _qemu!.Memory.Write32(new(address), Ground.Mark(address));
    }

    /// <summary>The first address at which tables and frames are not alike; null if they are.</summary>
    public ulong? FirstUnlike()
    {
        foreach ((ulong first, int length) in ((ulong, int)[])[(Ground.FirstTable, (int)(Ground.Queue - Ground.FirstTable)), (Ground.Data, Ground.FrameCount * (int)Ground.PageBytes)])
        {
            byte[] own = new byte[length], other = new byte[length];
            _ram.Port.Read(new(first), own);
            _qemu!.Memory.Read(new(first), other);
            if (_hasFirstStage) ForgetFlags(first, own, other);
            int same = own.AsSpan().CommonPrefixLength(other);
            if (same != length) return first + (ulong)same;
        }

        return null;
    }

    /// <summary>Accessed and dirty flags of first-stage entries, which each machine sets at its time: rows hold them.</summary>
    private static void ForgetFlags(ulong first, params ReadOnlySpan<byte[]> memories)
    {
        const byte flags = 3 << 5;
        foreach (byte[] memory in memories)
        {
            for (int at = 0; at < memory.Length; at += sizeof(ulong))
            {
                if (Ground.HasFlags(first + (ulong)at)) memory[at] &= unchecked((byte)~flags);
            }
        }
    }

    /// <summary>Ends the case: QEMU goes off, for the next one. One that does not is ended.</summary>
    public void End()
    {
        // It turns its queue off only after a wait descriptor as the last one.
        Other.Put(new(Words.Wait | Words.StatusWrite, Ground.Status));
        Other.Ring();
        try
        {
            _qemu!.Reset();
        }
        catch (QemuException)
        {
            // What a hostile case has done to it cannot be put right: a new one is as good, and the case has been judged.
            Drop();
        }
    }

    /// <summary>Ends QEMU; the next case starts a new one.</summary>
    public void Drop()
    {
        _ended = (Transfers, Commands);
        _qemu?.Dispose();
        _qemu = null;
        _dirtyPages.Clear();
    }

    public void Dispose()
    {
        Drop();
        Simulator?.Dispose();
        _ram.Dispose();
    }

    private static byte[] Data()
    {
        byte[] data = new byte[Ground.EndOfData - Ground.Data];
        for (int at = 0; at < data.Length; at += sizeof(uint)) BitConverter.TryWriteBytes(data.AsSpan(at), Ground.Mark(Ground.Data + (ulong)at));
        return data;
    }
}
