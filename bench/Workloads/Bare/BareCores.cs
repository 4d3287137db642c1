using System.Runtime.CompilerServices;
using Platform;
using Workloads.Fixtures;

namespace Workloads.Bare;

/// <summary>A TLB of which everything is taken away that makes it one: an array of tags and targets, one line for each page, no rights.</summary>
public sealed class BareTlb : IWorkload
{
    private const int Pages = 64;

    private readonly ulong[] _tags = new ulong[Pages];
    private readonly ulong[] _targets = new ulong[Pages];

    /// <summary>Full.</summary>
    public BareTlb()
    {
        for (int page = 0; page < Pages; page++)
        {
            _tags[page] = SimulatedCores.PageAt(page).Value;
            _targets[page] = SimulatedCores.FrameAt(page).Value;
        }
    }

    /// <inheritdoc/>
    public int OperationsPerBatch => CoreTranslations.Operations;

    /// <inheritdoc/>
    public void Batch()
    {
        for (int i = 0; i < CoreTranslations.Operations; i++) Require.That(Find(SimulatedCores.PageAt(i * 37 % Pages).Value) != 0, "the page is there");
    }

    /// <inheritdoc/>
    public void Check()
    {
        for (int page = 0; page < Pages; page++) Require.That(Find(SimulatedCores.PageAt(page).Value + 8) == SimulatedCores.FrameAt(page).Value + 8, "each page has its frame");
        Require.That(Find(SimulatedCores.PageAt(Pages).Value) == 0, "no other has one");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private ulong Find(ulong address)
    {
        ulong offset = address % SimulatedCores.PageBytes;
        int line = (int)(address / SimulatedCores.PageBytes % Pages);
        return Volatile.Read(ref _tags[line]) == address - offset ? _targets[line] | offset : 0;
    }
}

/// <summary>Four reads of a core's tables, each of which needs the one before, and no check of what was read but that it is present.</summary>
public sealed class BareCoreWalk : IWorkload
{
    private readonly SimulatedCores _cores = new(IommuSim.Cpu.CpuOptions.Default with { CoreCount = 1 });

    /// <inheritdoc/>
    public int OperationsPerBatch => CoreTranslations.Operations;

    /// <inheritdoc/>
    public void Batch()
    {
        for (int i = 0; i < CoreTranslations.Operations; i++) Require.That(Walk(SimulatedCores.PageAt(i * 37 % SimulatedCores.PageCount).Value) != 0, "the page is mapped");
    }

    /// <inheritdoc/>
    public void Check()
    {
        for (int page = 0; page < SimulatedCores.PageCount; page++)
            Require.That(Walk(SimulatedCores.PageAt(page).Value + 8) == SimulatedCores.FrameAt(page).Value + 8, "each page has its frame");
    }

    /// <inheritdoc/>
    public void Dispose() => _cores.Dispose();

    [MethodImpl(MethodImplOptions.NoInlining)]
    private ulong Walk(ulong address)
    {
        Ram memory = _cores.Memory;
        ulong table = SimulatedCores.Root.Value;
        for (int shift = 12 + 9 * (SimulatedCores.Levels - 1); shift >= 12; shift -= 9)
        {
            if (!memory.TryRead64(new(table | (address >> shift & 0x1FF) * 8), out ulong entry) || (entry & 1) == 0) return 0;
            table = entry & ~(ulong)(SimulatedCores.PageBytes - 1);
        }

        return table | address % SimulatedCores.PageBytes;
    }
}

/// <summary>For each core a lock is taken, a word is stored and the lock is let go: the least that it takes to tell each of them something.</summary>
public sealed class BareShootdowns : IWorkload
{
    private readonly Core[] _cores;
    private ulong _told;

    /// <summary>For a number of cores.</summary>
    /// <param name="coreCount">1 and up.</param>
    public BareShootdowns(int coreCount) => _cores = [.. Enumerable.Range(0, coreCount).Select(static _ => new Core())];

    /// <inheritdoc/>
    public int OperationsPerBatch => Shootdowns.Operations;

    /// <inheritdoc/>
    public void Batch()
    {
        for (int i = 0; i < Shootdowns.Operations; i++) Tell();
    }

    /// <inheritdoc/>
    public void Check()
    {
        Tell();
        Require.That(_cores.All(core => core.Told == _told), "every core was told");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
    }

    private void Tell()
    {
        _told++;
        foreach (Core core in _cores)
        {
            lock (core.Gate) core.Told = _told;
        }
    }

    private sealed class Core
    {
        public readonly object Gate = new();
        public ulong Told;
    }
}
