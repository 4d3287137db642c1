using Harness.Passing;
using IommuSim;
using Platform;

namespace Harness.Running;

/// <summary>An address space that the hardware can translate in.</summary>
/// <param name="Device">Whose.</param>
/// <param name="Prefix">The PASID of its requests; null: those without.</param>
public readonly record struct HardwareSpace(StreamId Device, PasidPrefix? Prefix);

/// <summary>
/// What an IOMMU does of its own accord, as the architecture lets it at any time: it fetches translations that it can reach before
/// anybody asks for them, drops some of what it caches, and, where its walks are not coherent, sees some of what was written early.
/// </summary>
/// <remarks>
/// What it does in an operation follows from the operation's text, so that it stays the same when others are left out.
/// <b>Threads.</b> Any number at once; while one is at it, the others' steps pass.
/// </remarks>
/// <param name="memory">The memory that tables are in.</param>
/// <param name="options">What the IOMMU can do.</param>
/// <param name="caches">What keeps the driver's writes from it; null: nothing.</param>
/// <param name="percent">Of 100 steps, after how many it does something.</param>
public sealed class EagerHardware(Ram memory, VtdOptions options, NonCoherentMemory<Ram>? caches, int percent)
{
    // Before each operation, where nobody is at work: what is fetched here is there when the operation begins.
    private const int FetchesBetween = 8;
    private const int EntriesPerTable = 512;
    private const ulong Frame = 0x000F_FFFF_FFFF_F000, LeafBit = 1 << 7;
    private const uint RootTableAddress = 0x20;

    private VtdIommu<NonCoherentPort<Ram>, EagerSteps>? _iommu;
    private IReadOnlyList<HardwareSpace> _spaces = [];
    private IReadOnlyList<ulong> _places = [];
    private ulong _state;
    private int _isAtIt;

    /// <summary>Which IOMMU it is.</summary>
    public void Drive(VtdIommu<NonCoherentPort<Ram>, EagerSteps> iommu) => _iommu = iommu;

    /// <summary>How often a translation was there to be fetched.</summary>
    public long Fetched { get; private set; }

    /// <summary>An operation begins.</summary>
    /// <param name="operation">Its text.</param>
    /// <param name="spaces">Where there may be translations.</param>
    /// <param name="places">Addresses that are worth a look.</param>
    public void Begin(string operation, IReadOnlyList<HardwareSpace> spaces, IReadOnlyList<ulong> places)
    {
        (_spaces, _places) = (spaces, places);
        // FNV-1a: the runtime's own hash differs from run to run.
        _state = 0xCBF2_9CE4_8422_2325;
        foreach (char c in operation) _state = unchecked((_state ^ c) * 0x0000_0100_0000_01B3);
        _isAtIt = 1;
        for (int i = 0; i < FetchesBetween; i++) Fetch();
        Volatile.Write(ref _isAtIt, 0);
    }

    /// <summary>A step of the IOMMU comes, or a word was written.</summary>
    public void Step()
    {
        // Its own fetches are made of steps, too.
        if (Interlocked.Exchange(ref _isAtIt, 1) != 0) return;
        try
        {
            if (_spaces.Count != 0 && Next(100) < percent) Act();
        }
        finally
        {
            Volatile.Write(ref _isAtIt, 0);
        }
    }

    /// <summary>Memory as the driver uses it: each word that is written is a step.</summary>
    public IPhysicalMemory Watch(IPhysicalMemory inner) => new Watched(inner, this);

    private void Act()
    {
        switch (Next(16))
        {
            case 0:
                _iommu!.Evict(NextSeed());
                break;
            case 1 when caches is not null:
                caches.WriteBack(NextSeed());
                break;
            default:
                Fetch();
                break;
        }
    }

    private void Fetch()
    {
        if (_spaces.Count == 0) return;
        HardwareSpace space = _spaces[Next(_spaces.Count)];
        Iova? page = _places.Count != 0 && Next(2) == 0 ? new(_places[Next(_places.Count)]) : FindMapped(space);
        if (page is { } address && _iommu!.Prefetch(space.Device, address, space.Prefix)) Fetched++;
    }

    /// <summary>A page that the table of an address space maps; null: there is no table, or nothing on the way that was taken.</summary>
    private Iova? FindMapped(HardwareSpace space)
    {
        PhysAddr root = new(_iommu!.Read64(RootTableAddress));
        VtdFaultReason reason = VtdTables.FindTranslation(memory, root, space.Device, space.Prefix?.Pasid, out DecodedTranslation found, options);
        if (reason != VtdFaultReason.None || found.Stage is TranslationStage.PassThrough or TranslationStage.Nested) return null;
        ulong present = found.Stage == TranslationStage.FirstStage ? 1UL : 3UL, address = 0;
        PhysAddr table = found.Root;
        for (int level = found.Levels; level > 0; level--)
        {
            if (!memory.TryGetWords(table, EntriesPerTable, out Span<ulong> entries)) return null;
            int index = Next(EntriesPerTable), last = index;
            while ((entries[index] & present) == 0)
            {
                index = (index + 1) % EntriesPerTable;
                if (index == last) return null;
            }

            int shift = 12 + 9 * (level - 1);
            address |= (ulong)index << shift;
            if (level == 1 || (entries[index] & LeafBit) != 0) return new(address | (NextSeed() & ((1UL << shift) - 1) & ~0xFFFUL));
            table = new(entries[index] & Frame);
        }

        return null;
    }

    private int Next(int end) => (int)(NextSeed() >> 33) % end;

    // SplitMix64.
    private ulong NextSeed()
    {
        unchecked
        {
            ulong mixed = _state += 0x9E37_79B9_7F4A_7C15;
            mixed = (mixed ^ (mixed >> 30)) * 0xBF58_476D_1CE4_E5B9;
            mixed = (mixed ^ (mixed >> 27)) * 0x94D0_49BB_1331_11EB;
            return mixed ^ (mixed >> 31);
        }
    }

    private sealed class Watched(IPhysicalMemory inner, EagerHardware eager) : PassingMemory(inner)
    {
        public override void Write64(PhysAddr address, ulong value)
        {
            Inner.Write64(address, value);
            eager.Step();
        }

        public override ulong CompareExchange64(PhysAddr address, ulong value, ulong comparand)
        {
            ulong found = Inner.CompareExchange64(address, value, comparand);
            eager.Step();
            return found;
        }
    }
}

/// <summary>The simulator's steps, told to what the hardware does of its own accord.</summary>
/// <param name="hardware">Told; null: nothing is.</param>
public readonly struct EagerSteps(EagerHardware? hardware) : ISteps
{
    /// <inheritdoc/>
    public void At(SimStep step, ulong detail) => hardware?.Step();
}
