using IommuSim.Cpu;
using Platform;
using Vcmm.Cpu;

namespace Harness.Running;

/// <summary>What a core holds, at one instant.</summary>
/// <param name="Number">Which core: 0 ….</param>
/// <param name="Cr3">The table that it runs on, and the tag; null: one that maps nothing.</param>
/// <param name="Tlb">What its TLB holds.</param>
/// <param name="PagingStructures">What its paging-structure caches hold.</param>
public sealed record CoreState(int Number, (PhysAddr Root, Pcid Pcid)? Cr3, IReadOnlyList<TlbEntry> Tlb, IReadOnlyList<PagingStructureEntry> PagingStructures);

/// <summary>The library's CPUs, the processes that they run, and what is in them.</summary>
public interface ICores : ICpuPort
{
    /// <summary>What the cores can do.</summary>
    CpuOptions Options { get; }

    /// <summary>What all cores have done so far.</summary>
    CpuStatistics Statistics { get; }

    /// <summary>The tables that processes have now, and their tags.</summary>
    IReadOnlyDictionary<uint, (Pcid Tag, PhysAddr Root)> Loaded { get; }

    /// <summary>A core enters a process, unless it is in it.</summary>
    /// <returns>False if the process has no table.</returns>
    bool Enter(int core, uint process);

    /// <summary>A core has nothing to do.</summary>
    void GoIdle(int core);

    /// <summary>A core reads, or fetches.</summary>
    CpuResult Load(int core, Iova address, Span<byte> destination, bool fetches);

    /// <summary>A core writes.</summary>
    CpuResult Store(int core, Iova address, ReadOnlySpan<byte> source);

    /// <summary>What each core holds.</summary>
    IEnumerable<CoreState> Look();

    /// <summary>Whether a core forgets what it has cached under a tag before it uses it again.</summary>
    bool OwesFlush(int core, Pcid tag);
}
